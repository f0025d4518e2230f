"""Bags: the fits that trials were judged by are kept, and their mean is what is served."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import read
from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.model.format import MemberDocument
from modelyard_runtimes.model.members import Member, open_member
from modelyard_runtimes.store import Store
from modelyard_runtimes.train import winner
from modelyard_runtimes.train.learners.registry import LEARNERS
from modelyard_runtimes.train.refit import FoldRefit, Refitted
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.space import portfolio
from modelyard_runtimes.train.task import Goal
from modelyard_runtimes.train.trial import Trial

from tests.train.conftest import MakeConfig
from tests.train.packed import check_packed
from tests.train.problems import GOALS, make_data

FOLDS = 3
SPEC = {
    "task": {"type": "Classification", "target": "churn"},
    "features": {"exclude": ["note", "since"]},
    "validation": {"folds": FOLDS, "method": "AllFolds"},
    "search": {"trials": 3, "learners": ["LightGBM", "Linear", "ExtraTrees"]},
    "evaluation": {"calibration": "Platt", "intervals": {}},
    "explain": {"permutationRepeats": 0, "shapRows": 20},
}


def opened(refitted: Refitted, task: str) -> Member:
    packed = refitted.packed
    document = MemberDocument(
        type=packed.type, learner="", trial=0, weight=1, encoder=0,
        link=packed.link, votes=packed.votes, file="",
    )  # fmt: skip
    return open_member(document, packed.content, Encoder(refitted.encoder).width, task)


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())
@pytest.mark.parametrize("learner", [name for name in LEARNERS if name != "TorchMLP"])
def test_a_kept_fit_predicts_the_fold_that_it_never_saw_as_it_was_judged(
    goal: Goal, learner: str
) -> None:
    data = make_data(goal)
    limits = (None,) * data.fit_count
    result, outputs = Trial(4, portfolio([learner])[0], limits).run(data)
    assert outputs is not None
    for fold in range(data.fit_count):
        kept = FoldRefit(result, fold).run(data)
        rows = np.flatnonzero(data.folds == fold)
        columns = Encoder(kept.encoder).transform(data.inputs.take(rows))
        predicted = opened(kept, goal.task).predict(columns)
        # XGBoost adds up in float32, a packed member in float64.
        np.testing.assert_allclose(predicted, outputs[rows], rtol=1e-4, atol=1e-9)


def bagged(ensemble: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {**SPEC, "ensemble": {**ensemble, "bagging": "Folds"}, **changes}


@pytest.mark.parametrize("kind", ["None", "Weighted", "Stacked"])
def test_a_run_packs_the_fits_on_the_folds_of_each_trial_that_was_chosen(
    kind: str,
    make_config: MakeConfig,
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(winner, "_pays", lambda *_: True)
    record = train(make_config(*mixed_table, bagged({"type": kind})), store)
    packed = read(store.open_artifact(record.artifact.uri).folder())
    members = packed.document.members
    by_trial = {one.trial: [other.weight for other in members if other.trial == one.trial]
                for one in members}  # fmt: skip
    assert (len(by_trial) == 1) == (kind == "None")
    for weights in by_trial.values():
        assert weights == [weights[0]] * FOLDS
    assert len({packed.files[one.file] for one in members}) == len(members)
    check_packed(packed, mixed_table[0].slice(0, 20))

    evidence = store.open_artifact(record.evidence.uri)
    shares = [one["share"] for one in json.loads(evidence.read("shap.json"))["importance"]]
    assert sum(shares) == pytest.approx(1)
    report = evidence.read("report.html").decode()
    told = "1 trial" if len(by_trial) == 1 else f"{len(by_trial)} trials"
    assert f"{told}, each kept as its fits on {FOLDS} folds" in report


def test_a_bag_is_of_the_trials_of_the_last_run_and_all_its_fits_count_in_a_limit(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    search = {"trials": 1, "learners": ["LightGBM"]}
    alone = {**SPEC, "search": search, "ensemble": {"type": "None"}}
    once = train(make_config(*mixed_table, {**alone, "constraints": {"maxModelMB": 50}}), store)
    size = once.leaderboard[0].model_mb
    assert size is not None

    enough = bagged({"type": "None"}, search=search, constraints={"maxModelMB": 2 * FOLDS * size})
    bag = train(make_config(*mixed_table, enough, name="bag"), store)
    assert [one.metric for one in bag.leaderboard] == [one.metric for one in once.leaderboard]
    assert bag.leaderboard[0].model_mb == pytest.approx(FOLDS * size, rel=0.3)

    short = bagged({"type": "None"}, search=search, constraints={"maxModelMB": 2 * size})
    with pytest.raises(RunFailure, match=r"spec\.constraints\.maxModelMB") as failure:
        train(make_config(*mixed_table, short, name="short"), store)
    assert failure.value.reason == "NoFeasibleModel"


def test_trials_of_another_engine_are_bagged_alike(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    search = {"engine": "FLAML", "trials": 2, "learners": ["LightGBM"]}
    spec = bagged({"type": "None"}, search=search)
    record = train(make_config(*mixed_table, spec), store)
    packed = read(store.open_artifact(record.artifact.uri).folder())
    assert len(packed.document.members) == FOLDS
    check_packed(packed, mixed_table[0].slice(0, 20))
