"""Where time is short a candidate is fitted once, and judged on one fold that the fit never saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.runs import Measured, TrainConfig
from modelyard.judge.replay import measured
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import load
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.declared_space import Space
from modelyard_runtimes.train.learners.base import Parameters
from modelyard_runtimes.train.one_fold import (
    VALUES_A_TEXT,
    first_fold,
    haste,
    judges_one_fold,
    most_members,
)
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.space import LEARNER
from modelyard_runtimes.train.task import ONLY_FITTED, SearchData
from modelyard_runtimes.train.trial import FitTime, Trial, validation_rows

from tests.train.problems import GOALS, make_data

MakeConfig = Callable[..., TrainConfig]
Mixed = tuple[pa.Table, dict[str, str]]

PARTS = 3
LIGHTGBM: Parameters = {
    LEARNER: "LightGBM",
    "learning_rate": 0.1,
    "num_leaves": 7,
    "min_child_samples": 5,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "lambda_l2": 1.0,
    "categories": "Ordinal",
    "interactions": "None",
}
BOOSTERS = {
    "LightGBM": LIGHTGBM,
    "XGBoost": {
        LEARNER: "XGBoost",
        "learning_rate": 0.1,
        "max_depth": 3,
        "min_child_weight": 1.0,
        "colsample_bynode": 0.8,
        "subsample": 0.8,
        "reg_lambda": 1.0,
        "categories": "OneHot",
    },
    "CatBoost": {
        LEARNER: "CatBoost",
        "learning_rate": 0.1,
        "depth": 3,
        "l2_leaf_reg": 1.0,
        "subsample": 0.8,
        "categories": "OneHot",
    },
}


def one_fold(goal: str = "three classes", rows: int = 600) -> SearchData:
    data = make_data(GOALS[goal], rows)
    return replace(data, folds=first_fold(data, PARTS, 1))


def trial(parameters: Parameters = LIGHTGBM, fit_time: FitTime | None = None) -> Trial:
    return Trial(0, dict(parameters), (None,), fit_time)


@pytest.mark.parametrize("goal", GOALS)
def test_the_parts_of_the_first_fold_are_alike_and_all_else_is_only_fitted(goal: str) -> None:
    whole, data = make_data(GOALS[goal], 600), one_fold(goal)
    np.testing.assert_array_equal(data.folds == ONLY_FITTED, whole.folds != 0)
    assert (data.fit_count, data.fold_count) == (1, PARTS)
    for part in range(PARTS):
        rows = data.folds == part
        assert rows.sum() == pytest.approx(200 / PARTS, abs=1)
        assert set(data.target[rows]) == set(data.target) or data.goal.classes == 0
    judged = data.judged
    assert (len(judged.inputs), len(judged.target), judged.folds.min()) == (200, 200, 0)


@pytest.mark.parametrize("parameters", BOOSTERS.values(), ids=BOOSTERS)
def test_a_fit_never_sees_the_rows_it_is_judged_by(parameters: Parameters) -> None:
    data = one_fold("two classes")
    other = np.where(data.left_out(0), 1 - data.target, data.target)
    (result, outputs), (turned, same) = (
        trial(parameters).run(one) for one in (data, replace(data, target=other))
    )
    assert outputs is not None
    assert same is not None
    np.testing.assert_array_equal(outputs, same)
    assert outputs.shape == (200, 1)
    assert len(result.folds) == len(turned.folds) == PARTS
    assert result.value == pytest.approx(1 - turned.value)


def test_iterations_are_found_on_a_tenth_of_the_rows_that_the_fit_sees() -> None:
    data = one_fold()
    valid = validation_rows(data, 0)
    assert not (valid & data.left_out(0)).any()
    assert valid.sum() == 40
    assert set(data.target[valid]) == {0, 1, 2}


@pytest.mark.parametrize("parameters", BOOSTERS.values(), ids=BOOSTERS)
def test_a_fit_ends_in_its_time_and_comes_again_by_its_iterations(parameters: Parameters) -> None:
    data = one_fold()
    result, outputs = trial(parameters, FitTime(seconds=0.0)).run(data)
    assert result.state == "Complete"
    assert result.ended_by_time == 1
    again, same = trial(parameters, FitTime(60.0, iterations=1)).run(data)
    assert again == result
    np.testing.assert_array_equal(outputs, same)
    unhurried, _ = trial(parameters, FitTime(seconds=600.0)).run(data)
    assert unhurried.ended_by_time is None


AUTO: dict[str, tuple[dict[str, Any], bool]] = {
    "time is not bounded": ({}, False),
    "time is short": ({"budget": {"wallClock": "1s"}}, True),
    "time is enough": ({"budget": {"wallClock": "10m"}}, False),
    "a stretch of time": (
        {"budget": {"wallClock": "1s"}, "validation": {"timeColumn": "since"}},
        False,
    ),
    "too few rows of a class": (
        {"budget": {"wallClock": "1s"}, "validation": {"folds": 20}},
        False,
    ),
    "declared": ({"validation": {"method": "OneFold"}}, True),
    "declared otherwise": (
        {"budget": {"wallClock": "1s"}, "validation": {"method": "AllFolds"}},
        False,
    ),
}


@pytest.mark.parametrize(("spec", "expected"), AUTO.values(), ids=AUTO)
def test_one_fold_judges_where_time_is_short_for_the_data(
    make_config: MakeConfig, mixed_table: Mixed, spec: dict[str, Any], expected: bool
) -> None:
    config = make_config(*mixed_table, {"task": CHURN, **spec})
    assert judges_one_fold(config, make_data(GOALS["two classes"], 3_000)) is expected


CHURN = {"type": "Classification", "target": "churn"}
ONE_FOLD = {"task": CHURN, "validation": {"method": "OneFold"}}


def test_a_run_judged_on_one_fold_is_repeatable_and_has_all_evidence(
    make_config: MakeConfig, mixed_table: Mixed, store: Store
) -> None:
    spec = {
        **ONE_FOLD,
        "features": {"selection": {"method": "Importance", "maxFeatures": 4}},
        "evaluation": {"calibration": "Platt", "intervals": {"coverage": 0.9}},
        "fairness": {"sensitive": ["region"]},
    }
    first, again = (
        train(make_config(*mixed_table, spec, name=name), store) for name in ("first", "again")
    )
    assert first.artifact.digest == again.artifact.digest
    assert first.replayable
    assert first.leaderboard == again.leaderboard
    assert load(store.open_artifact(first.artifact.uri).folder()).classes == ["no", "yes"]
    card = store.read_bytes(first.card_uri).decode()
    assert "one fold of 3" in card


def test_too_few_rows_for_the_parts_of_a_fold_are_refused_by_the_field(
    make_config: MakeConfig, mixed_table: Mixed, store: Store
) -> None:
    spec = {"task": CHURN, "validation": {"method": "OneFold", "folds": 20}}
    with pytest.raises(RunFailure, match=r"spec\.validation\.method: .* set AllFolds") as refused:
        train(make_config(*mixed_table, spec), store)
    assert refused.value.reason == "TooFewRows"


def test_a_replay_is_given_the_iterations_that_the_time_came_to(
    make_config: MakeConfig, mixed_table: Mixed, store: Store
) -> None:
    spec = {**ONE_FOLD, "budget": {"wallClock": "1s"}, "search": {"learners": ["LightGBM"]}}
    record = train(make_config(*mixed_table, spec), store)
    trials = {
        0: {"state": "Complete", "ended_by_time": 7},
        1: {"state": "Failed", "reason": "it took longer than spec.budget.wallClock allows"},
        2: {"state": "Complete", "ended_by_time": None},
    }
    assert measured(trials, record.model_copy(update={"replayable": False})) == Measured(
        failed={1: "it took longer than spec.budget.wallClock allows"},
        started=3,
        iterations={0: 7},
    )


def make_short(data: SearchData, burden: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have so many times the values that leave time for all folds within a minute of two workers."""
    inputs = data.inputs
    width = inputs.numbers.shape[1] + inputs.codes.shape[1] + VALUES_A_TEXT * len(inputs.texts)
    values = len(inputs) * width
    monkeypatch.setattr("modelyard_runtimes.train.one_fold.VALUES_A_SECOND", values / 120 / burden)


@pytest.mark.parametrize(
    ("burden", "budget", "expected"),
    [
        pytest.param(0.5, "60s", 1.0, id="by choice, in ample time"),
        pytest.param(9.0, None, 1.0, id="by choice, without a budget"),
        pytest.param(9.0, "60s", 3.0, id="too many rows"),
        pytest.param(100.0, "60s", 4.0, id="far too many rows"),
    ],
)
def test_trees_learn_faster_where_time_is_short(
    make_config: MakeConfig,
    mixed_table: Mixed,
    monkeypatch: pytest.MonkeyPatch,
    burden: float,
    budget: str | None,
    expected: float,
) -> None:
    data = one_fold("two classes")
    make_short(data, burden, monkeypatch)
    spec = {"task": {"type": "Classification", "target": "churn"}}
    config = make_config(*mixed_table, {**spec, "budget": {"wallClock": budget} if budget else {}})
    assert haste(config, data) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ensemble", "burden", "expected"),
    [
        pytest.param({}, 0.5, 5, id="ample time"),
        pytest.param({}, 9.0, 2, id="short time, two fits at once"),
        pytest.param({"maxModels": 1}, 9.0, 1, id="short time, fewer declared"),
        pytest.param({"type": "None"}, 0.5, 1, id="no ensemble"),
    ],
)
def test_an_ensemble_has_as_many_members_as_are_fitted_at_once_where_time_is_short(
    make_config: MakeConfig,
    mixed_table: Mixed,
    monkeypatch: pytest.MonkeyPatch,
    ensemble: dict[str, Any],
    burden: float,
    expected: int,
) -> None:
    data = one_fold("two classes")
    make_short(data, burden, monkeypatch)
    spec = {"task": CHURN, "ensemble": ensemble, "budget": {"wallClock": "60s"}}
    assert most_members(make_config(*mixed_table, spec), data) == expected


def test_haste_is_in_the_range_that_is_searched_and_for_boosted_trees_only() -> None:
    space = Space(["LightGBM", "Linear"], None)
    for usual, hasty in zip(space.portfolio(), space.portfolio(haste=3.0), strict=True):
        if usual[LEARNER] == "Linear":
            assert hasty == usual
        else:
            rate = min(0.2, 3 * float(usual["learning_rate"]))
            assert hasty == {**usual, "learning_rate": pytest.approx(rate)}
