"""The contract of engines: whatever proposes and fits, a search ends in the same things.

AutoGluon is installed in an environment of its own: `make engines` runs these tests there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.artifacts import TRIALS, run_key
from modelyard.api.experiment import Search
from modelyard.api.records import CARD_FILE, TrainRecord
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import load
from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.model.format import MemberDocument
from modelyard_runtimes.model.members import open_member
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.columns import fit_columns
from modelyard_runtimes.train.engines.base import ENGINE, Engine
from modelyard_runtimes.train.engines.registry import ENGINES, engine_of, learner_of
from modelyard_runtimes.train.executor import Job, Outcome
from modelyard_runtimes.train.learners.base import FitRequest, Fitted
from modelyard_runtimes.train.metrics import fold_scores
from modelyard_runtimes.train.run import check_installed, train, train_with
from modelyard_runtimes.train.sampler import NO_START
from modelyard_runtimes.train.search import Plan, SearchRun
from modelyard_runtimes.train.task import Goal, SearchData
from modelyard_runtimes.train.trial import TrialResult
from modelyard_runtimes.train.trial_log import open_log, parse_trial

from tests.train.in_process import InProcess
from tests.train.problems import GOALS, make_data

ROWS = 120
TRIALS_OF_A_RUN = 4


def installed(*names: str) -> list[Any]:
    return [
        pytest.param(
            ENGINES[name],
            id=name,
            marks=pytest.mark.skipif(
                not ENGINES[name].installed,
                reason=f"{name} is not installed (modelyard-runtimes[{ENGINES[name].extra}])",
            ),
        )
        for name in names
    ]


every_engine = pytest.mark.parametrize("engine", installed(*ENGINES))
every_goal = pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())


def declared(engine: Engine, **changes: Any) -> Search:
    fields = {"engine": engine.name, "learners": ["LightGBM", "Linear"], "trials": 4}
    return Search.model_validate({**fields, **changes})


class Counting(InProcess):
    """Counts what it is given."""

    submitted = 0

    def submit(self, key: int, job: Job, deadline: float = inf) -> None:
        self.submitted += 1
        super().submit(key, job, deadline)


class Failing(InProcess):
    """Every other trial dies of its machine."""

    def wait(self) -> Sequence[Outcome]:
        (found,) = super().wait()
        return [Outcome(found.key, "TimedOut", reason="it took longer") if found.key % 2 else found]


@pytest.fixture
def search(store: Store) -> Callable[..., SearchRun]:
    """Return a function that runs a search, or goes on with it."""

    def run(
        declared: Search, executor: InProcess, data: SearchData, folder: str = "run", **plan: Any
    ) -> SearchRun:
        log, logged = open_log(store, folder, {})
        shape = len(data.target), 7
        made = Plan(data.goal, declared, data.fold_count, 2, shape=shape, **plan)
        found = SearchRun(made, executor, log, logged, lambda progress: None)
        try:
            found.run()
        finally:
            log.close()
        return found

    return run


@every_engine
@every_goal
def test_what_is_fitted_can_be_packed_and_predicts_the_same(engine: Engine, goal: Goal) -> None:
    data = make_data(goal, ROWS)
    sampler = engine.sampler(
        declared(engine, learners=list(engine.learners), trials=6),
        goal,
        (len(data.target), 7),
        NO_START,
    )
    tried = set()
    unseen = data.folds == 1
    for number in range(sampler.trials):
        configuration = sampler.ask()
        sampler.tell(TrialResult(number, configuration, "Failed"))
        learner, parameters = learner_of(configuration)
        columns = fit_columns(data, 1, learner.encoding(parameters))
        rows = Encoder(columns.document).transform(data.inputs.take(np.flatnonzero(unseen)))
        request = FitRequest(goal, columns.document, columns.rows, parameters, 1)
        if learner.iterative:
            searched = learner.fit(replace(request, valid=columns.rows.take(np.arange(20))))
            assert searched.best_iterations() >= 1
            assert_packed_as_fitted(searched, rows, goal)
            request = replace(request, iterations=30)
        assert_packed_as_fitted(learner.fit(request), rows, goal)
        tried.add(configuration["learner"])
    assert tried <= set(engine.learners)
    assert len(tried) >= 3


def assert_packed_as_fitted(fitted: Fitted, rows: Floats, goal: Goal) -> None:
    packed = fitted.pack()
    document = MemberDocument(
        type=packed.type, learner="", trial=0, weight=1, encoder=0, votes=packed.votes, file=""
    )
    member = open_member(document, packed.content, rows.shape[1], goal.task)
    expected = fitted.predict(rows)
    assert expected.shape == (len(rows), goal.outputs)
    np.testing.assert_allclose(
        member.predict(rows), expected, rtol=fitted.parity, atol=fitted.parity
    )


@every_engine
def test_trials_are_judged_out_of_fold_on_the_folds_of_the_search(
    engine: Engine, store: Store, search: Callable[..., SearchRun]
) -> None:
    data = make_data(GOALS["three classes"], ROWS)
    run = search(declared(engine), InProcess(data), data)
    log, logged = open_log(store, "run", {})
    assert [logged[number] for number in sorted(logged)] == list(run.results.values())
    for result in run.results.values():
        assert result.state == "Complete"
        outputs = log.outputs(result.number)
        np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-5)
        own = fold_scores("log_loss", data.target, outputs, data.folds)
        assert result.folds == own
    log.close()


@every_engine
def test_equal_seeds_propose_and_fit_the_same_and_others_do_not(
    engine: Engine, search: Callable[..., SearchRun]
) -> None:
    data, other = (
        make_data(Goal("Classification", 2, "roc_auc", "None", seed), ROWS) for seed in (1, 2)
    )
    first, again, differing = (
        list(search(declared(engine), InProcess(one), one, folder).results.values())
        for folder, one in (("first", data), ("again", data), ("other", other))
    )
    assert first == again
    assert [one.folds for one in first] != [one.folds for one in differing]


@every_engine
def test_no_more_trials_run_than_declared_and_none_after_the_time(
    engine: Engine, search: Callable[..., SearchRun]
) -> None:
    data = make_data(GOALS["values"], ROWS)
    counted, timed = Counting(data), Counting(data)
    assert not search(declared(engine, trials=3), counted, data, "counted").cut
    assert counted.submitted == 3
    assert search(declared(engine), timed, data, "timed", wall_clock=0).cut
    assert timed.submitted == 1


@every_engine
def test_trials_that_fail_cost_only_themselves(
    engine: Engine, search: Callable[..., SearchRun]
) -> None:
    data = make_data(GOALS["values"], ROWS)
    run = search(declared(engine), Failing(data), data)
    assert [one.state for _, one in sorted(run.results.items())] == ["Complete", "Failed"] * 2
    with pytest.raises(RunFailure, match="1 trials failed") as end:
        search(declared(engine, maxFailedTrials=0), Failing(data), data, "strict")
    assert end.value.reason == "TooManyFailedTrials"


@every_engine
def test_a_search_goes_on_after_the_last_trial_that_ended(
    engine: Engine, search: Callable[..., SearchRun]
) -> None:
    data = make_data(GOALS["values"], ROWS)
    undisturbed = search(declared(engine, trials=4), InProcess(data), data, "undisturbed")
    search(declared(engine, trials=2), InProcess(data), data, "stopped")
    rest = Counting(data)
    resumed = search(declared(engine, trials=4), rest, data, "stopped")
    assert rest.submitted == 2
    assert resumed.results == undisturbed.results


@every_engine
def test_a_run_is_repeatable_and_its_model_is_served_without_the_engine(
    engine: Engine,
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
) -> None:
    """The one run has processes of its own and two workers, the other has none."""
    spec = {
        "task": {"type": "Classification", "target": "churn"},
        "search": declared(engine, trials=TRIALS_OF_A_RUN).to_json(),
        "explain": {"permutationRepeats": 0, "shapRows": 0},
    }
    table, types = mixed_table[0].slice(0, ROWS), mixed_table[1]
    first = train(make_config(table, types, spec, name="first"), store)
    again = train_with(
        make_config(table, types, spec, name="again"),
        store,
        lambda config, data, folder: InProcess(data),
    )
    assert first.artifact.digest == again.artifact.digest
    assert first.replayable
    card = store.open_artifact(first.evidence.uri).read(CARD_FILE).decode()
    assert (f"LightGBM, Linear by {engine.name}." in card) == (engine.name != "Native")
    assert names_of_engines(first, store) == [engine.name] * TRIALS_OF_A_RUN
    assert [entry.rank for entry in first.leaderboard] == list(range(1, len(first.leaderboard) + 1))
    folder = store.open_artifact(first.artifact.uri).folder()
    row = {name: [table.column(name)[0].as_py()] for name in load(folder).schema.names}
    row["since"] = [str(row["since"][0])]
    np.testing.assert_allclose(
        predicted_without(engine.package.partition(".")[0], folder, row),
        load(folder).predict(row),
        rtol=1e-12,
    )


def names_of_engines(record: TrainRecord, store: Store) -> list[str]:
    folder = run_key(record.namespace, "Experiment", record.name, record.identity)
    lines = store.read_bytes(f"{folder}/{TRIALS}").splitlines()[1:]
    return [str(parse_trial(line).parameters.get(ENGINE, "Native")) for line in lines]


def predicted_without(package: str, folder: Path, row: dict[str, Any]) -> list[Any]:
    """Return what a process predicts that cannot import a package."""
    code = (
        f"import json, sys; sys.modules[{package!r}] = None\n"
        "from pathlib import Path; from modelyard_runtimes.model import load\n"
        f"print(load(Path({str(folder)!r})).predict(json.loads({json.dumps(row)!r})).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", ["FLAML", "AutoGluon"])
def test_an_engine_that_is_not_installed_is_never_replaced(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search.model_validate({"engine": name})
    monkeypatch.setattr(type(engine_of(search)), "package", "nowhere.at_all")
    with pytest.raises(
        RunFailure, match=rf"^spec\.search\.engine: {name} .*modelyard-runtimes\[{name.lower()}\]"
    ) as end:
        check_installed(search)
    assert end.value.reason == "BackendMissing"
