"""What cannot work is told with its reason, the field and the remedy; what can goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.artifacts import TRIALS, run_key
from modelyard.api.experiment import Search
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.executor import NOT_READY, Executor, Job, Outcome
from modelyard_runtimes.train.learners.registry import LEARNERS
from modelyard_runtimes.train.run import check_installed, open_pool, train, train_with
from modelyard_runtimes.train.search import remedy
from modelyard_runtimes.train.target import columns_told
from modelyard_runtimes.train.task import SearchData
from modelyard_runtimes.train.trial import Trial

MakeConfig = Callable[..., TrainConfig]
CHURN = {"type": "Classification", "target": "churn"}


class Sabotage:
    """An executor whose workers are killed, or whose trials are spoiled, at chosen trials."""

    def __init__(self, inner: Executor, kills: Sequence[int], spoiled: Sequence[int]) -> None:
        self._inner = inner
        self._kills = list(kills)
        self._spoiled = spoiled

    def submit(self, key: int, job: Job, deadline: float = inf) -> None:
        if isinstance(job, Trial) and key in self._spoiled:
            job = replace(job, parameters={**job.parameters, "learner": "Unheard"})
        self._inner.submit(key, job, deadline)
        if isinstance(job, Trial) and key in self._kills:
            self._kills.remove(key)
            for child in multiprocessing.active_children():
                assert child.pid
                os.kill(child.pid, signal.SIGKILL)

    def wait(self) -> Sequence[Outcome]:
        return self._inner.wait()

    def close(self) -> None:
        self._inner.close()


def sabotaged(
    kills: Sequence[int] = (), spoiled: Sequence[int] = ()
) -> Callable[[TrainConfig, SearchData, Path], Executor]:
    return lambda config, data, folder: Sabotage(open_pool(config, data, folder), kills, spoiled)


def test_a_killed_worker_is_replaced_and_its_trial_tried_again(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    spec = {"task": CHURN, "search": {"trials": 5}}
    calm = train(make_config(*mixed_table, spec, name="calm"), store)
    killed = train_with(
        make_config(*mixed_table, spec, name="killed"), store, sabotaged(kills=[1, 3])
    )
    assert killed.progress.failed == 0
    assert killed.artifact.digest == calm.artifact.digest


def test_a_trial_that_kills_its_worker_twice_fails_and_the_search_goes_on(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    spec = {"task": CHURN, "search": {"trials": 4}}
    config = make_config(*mixed_table, spec, parallelism=1)
    record = train_with(config, store, sabotaged(kills=[2, 2]))
    assert (record.progress.done, record.progress.failed) == (4, 1)
    assert "2" not in {entry.trial for entry in record.leaderboard}
    trials = store.open_artifact(record.evidence.uri).read("trials.json").decode()
    assert "killed by SIGKILL, perhaps for want of memory" in trials


def test_more_failed_trials_than_allowed_end_the_run_with_their_reasons(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    config = make_config(
        *mixed_table, {"task": CHURN, "search": {"trials": 6, "maxFailedTrials": 1}}
    )
    with pytest.raises(RunFailure, match=r"maxFailedTrials allows 1.*KeyError: 'Unheard'") as end:
        train_with(config, store, sabotaged(spoiled=[0, 3]))
    assert end.value.reason == "TooManyFailedTrials"


def test_as_many_failed_trials_as_allowed_do_no_harm(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    config = make_config(
        *mixed_table, {"task": CHURN, "search": {"trials": 6, "maxFailedTrials": 2}}
    )
    record = train_with(config, store, sabotaged(spoiled=[0, 3]))
    assert (record.progress.done, record.progress.failed) == (6, 2)


def sums(make_config: MakeConfig, shape: tuple[int, int], search: Mapping[str, Any]) -> TrainConfig:
    """Return a search for the noisy sums of so many rows and columns of numbers."""
    generator = np.random.default_rng(4)
    rows, columns = shape
    numbers = generator.normal(size=(columns, rows))
    table = pa.table({f"x{place}": values for place, values in enumerate(numbers)})
    table = table.append_column("y", [numbers.sum(axis=0) + generator.normal(size=rows)])
    spec = {"task": {"type": "Regression", "target": "y"}, "search": search}
    return make_config(table, dict.fromkeys(table.column_names, "Numeric"), spec)


def test_a_trial_that_takes_longer_than_is_declared_is_ended(
    make_config: MakeConfig, store: Store
) -> None:
    search = {"trials": 2, "learners": ["ExtraTrees"], "trialTimeout": "1s", "maxFailedTrials": 2}
    config = sums(make_config, (12_000, 20), search)
    with pytest.raises(RunFailure, match=r"than 1 s, spec.search.trialTimeout.*Raise spec") as end:
        train(config, store)
    assert end.value.reason == "NoTrialCompleted"


@pytest.mark.soak
def test_a_family_that_takes_longer_than_is_declared_leaves_the_others_alone(
    make_config: MakeConfig, store: Store
) -> None:
    search = {"trials": 2, "learners": ["Linear", "ExtraTrees"], "trialTimeout": "15s"}
    record = train(sums(make_config, (40_000, 60), search), store)
    assert [entry.learner for entry in record.leaderboard] == ["Linear"]
    assert (record.progress.done, record.progress.failed) == (2, 1)
    assert record.progress.failures is not None
    [told] = record.progress.failures
    assert re.search(r"\(ExtraTrees\): it took longer than 15 s, spec\.search\.trialTimeout", told)


LEFT, PIECE = 256 << 20, 16 << 20
"""Bytes that a process may take yet, and that it takes at once."""


@dataclass(frozen=True)
class Faulty:
    """A trial that brings its process into trouble."""

    fault: str

    def load(self) -> None:
        """Need nothing."""

    def run(self, data: SearchData) -> Any:
        if self.fault == "hang":
            time.sleep(3600)
        if self.fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        limits = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + LEFT, limits[1]))
        try:
            return [b"x" * PIECE for _ in count()]
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)


class Troubled(Sabotage):
    """An executor that puts faulty trials in the place of chosen ones."""

    def __init__(self, inner: Executor, faults: Mapping[int, str]) -> None:
        super().__init__(inner, [], [])
        self._faults = faults

    def submit(self, key: int, job: Job, deadline: float = inf) -> None:
        faulty = isinstance(job, Trial) and key in self._faults
        self._inner.submit(key, Faulty(self._faults[key]) if faulty else job, deadline)


REASONS = {
    "crash": "killed by SIGSEGV",
    "hang": "took longer than 20 s",
    "memory": "MemoryError",
    "killed": "killed by SIGKILL, perhaps for want of memory",
}


@pytest.mark.parametrize(
    "trials", [20, pytest.param(100, marks=pytest.mark.soak)], ids=lambda count: f"{count} trials"
)
def test_a_search_survives_that_every_fifth_trial_crashes_hangs_or_exhausts_memory(
    make_config: MakeConfig,
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
    trials: int,
) -> None:
    faults = {n: list(REASONS)[n // 5 % 4] for n in range(2, trials, 5)}
    search = {
        "trials": trials,
        "learners": ["Linear"],
        "trialTimeout": "20s",
        "maxFailedTrials": len(faults),
    }
    config = make_config(*mixed_table, {"task": CHURN, "search": search})

    def open_troubled(config: TrainConfig, data: SearchData, folder: Path) -> Executor:
        return Troubled(open_pool(config, data, folder), faults)

    record = train_with(config, store, open_troubled)
    assert (record.progress.done, record.progress.failed) == (trials, trials // 5)
    told = json.loads(store.open_artifact(record.evidence.uri).read("trials.json"))
    reasons = {one["number"]: one["reason"] for one in told if one["state"] == "Failed"}
    assert reasons.keys() == faults.keys()
    assert all(REASONS[faults[number]] in reason for number, reason in reasons.items())
    assert record.progress.failures is not None
    assert record.progress.failures[0].startswith("trial 2 (Linear): ")
    folder = run_key(config.namespace, "Experiment", config.name, config.identity)
    logged = store.read_bytes(f"{folder}/{TRIALS}").splitlines()[1:]
    assert sorted(json.loads(line)["number"] for line in logged) == list(range(trials))


def test_a_wall_clock_budget_stops_starting_trials_and_forbids_replay(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    spec = {"task": CHURN, "search": {"trials": 5000}, "budget": {"wallClock": "1s"}}
    record = train(make_config(*mixed_table, spec), store)
    assert not record.replayable
    assert 0 < record.progress.done < record.progress.total == 5000


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        pytest.param(
            "it took longer than 5 s, spec.search.trialTimeout",
            "Raise spec.search.trialTimeout; or remove",
            id="too slow",
        ),
        pytest.param(
            f"it took longer than 600 s, {NOT_READY}",
            "Lower spec.execution.parallelism, so that fewer processes start at once; or remove",
            id="never ready",
        ),
        pytest.param(
            "its process ended: killed by SIGKILL, perhaps for want of memory",
            "Lower spec.execution.parallelism or give the run more memory",
            id="killed",
        ),
        pytest.param("ValueError: no", "Remove the learners that fail", id="an exception"),
    ],
)
def test_the_remedy_is_that_of_the_reason(reason: str, expected: str) -> None:
    assert remedy([reason]).startswith(expected)
    assert "spec.search.learners" in remedy([reason])


@pytest.mark.skipif("TorchMLP" in LEARNERS, reason="torch is installed")
def test_a_learner_that_is_not_installed_is_never_skipped() -> None:
    with pytest.raises(
        RunFailure, match=r"search\.learners\[1\].*modelyard-runtimes\[torch\]"
    ) as end:
        check_installed(Search(learners=["Linear", "TorchMLP"]))
    assert end.value.reason == "BackendMissing"


def small_table(target: Any, rows: int = 60) -> pa.Table:
    return pa.table({"x": np.random.default_rng(1).normal(size=rows), "y": target})


def test_columns_that_are_not_named_are_counted() -> None:
    columns = [f"c{number}" for number in range(12)]
    assert columns_told("zebra", columns).endswith("'c9' and 2 more")


@pytest.mark.parametrize(
    ("target", "kind", "spec", "reason", "message"),
    [
        pytest.param(
            ["a"] * 60,
            "Categorical",
            {"target": "z"},
            "InvalidTarget",
            "spec.task.target.*'z'; it has 'x', 'y'$",
            id="no such target",
        ),
        pytest.param(
            ["a"] * 60,
            "Categorical",
            {"target": "yy"},
            "InvalidTarget",
            "no column 'yy'; did you mean 'y'",
            id="target with a typing error",
        ),
        pytest.param(
            ["a"] * 60, "Categorical", {}, "InvalidTarget", "same value in all rows", id="one class"
        ),
        pytest.param(
            [None] * 60, "Categorical", {}, "InvalidTarget", "has no values", id="empty target"
        ),
        pytest.param(
            ["a", "b"] * 30,
            "Categorical",
            {"positiveLabel": "c"},
            "InvalidTarget",
            "spec.task.positiveLabel.*'a' and 'b'",
            id="unknown positive label",
        ),
        pytest.param(
            ["a", "b", "c"] * 20,
            "Categorical",
            {"positiveLabel": "c"},
            "InvalidTarget",
            "3 classes",
            id="positive of three",
        ),
        pytest.param(
            [f"c{n}" for n in range(120)],
            "Categorical",
            {},
            "InvalidTarget",
            "120 classes.*Regression",
            id="too many classes",
        ),
        pytest.param(
            ["a"] * 57 + ["b"] * 3,
            "Categorical",
            {},
            "TooFewRows",
            "class 'b' has 3 rows.*spec.validation.folds",
            id="rare class",
        ),
        pytest.param(
            ["a", "b"] * 30,
            "Categorical",
            {"type": "Regression"},
            "InvalidTarget",
            "spec.task.type",
            id="regression of categories",
        ),
        pytest.param(
            [2.0] * 60,
            "Numeric",
            {"type": "Regression"},
            "InvalidTarget",
            "same value",
            id="constant value",
        ),
        pytest.param(
            [1.0, 2.0, 3.0, 4.0],
            "Numeric",
            {"type": "Regression"},
            "TooFewRows",
            "spec.validation.folds",
            id="four rows",
        ),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(
    make_config: MakeConfig,
    store: Store,
    target: list[Any],
    kind: str,
    spec: Mapping[str, Any],
    reason: str,
    message: str,
) -> None:
    table = small_table(target, len(target))
    task = {"type": "Classification", "target": "y", **spec}
    config = make_config(table, {"x": "Numeric", "y": kind}, {"task": task})
    with pytest.raises(RunFailure, match=message) as end:
        train(config, store)
    assert end.value.reason == reason


def test_a_regression_with_one_row_held_out_is_refused(
    make_config: MakeConfig, store: Store
) -> None:
    table = small_table([n / 3 for n in range(12)], 12)
    spec = {"task": {"type": "Regression", "target": "y"}, "validation": {"holdout": 0.05}}
    config = make_config(table, {"x": "Numeric", "y": "Numeric"}, spec)
    told = r"spec.validation.holdout: 0.05 of 12 rows with a target are 1,"
    with pytest.raises(RunFailure, match=told) as end:
        train(config, store)
    assert end.value.reason == "TooFewRows"


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        pytest.param(
            {"features": {"exclude": ["x", "q"]}},
            "UnknownColumn",
            r"spec\.features\.exclude\[1\].*'q'",
            id="unknown excluded column",
        ),
        pytest.param(
            {"fairness": {"sensitive": ["q"]}},
            "UnknownColumn",
            r"spec\.fairness\.sensitive\[0\].*'q'",
            id="unknown sensitive column",
        ),
        pytest.param(
            {"features": {"exclude": ["x"]}}, "NoFeatures", "'x': it is excluded", id="nothing left"
        ),
    ],
)
def test_columns_that_are_declared_wrongly_are_named(
    make_config: MakeConfig, store: Store, spec: Mapping[str, Any], reason: str, message: str
) -> None:
    table = small_table(["a", "b"] * 30)
    types = {"x": "Numeric", "y": "Categorical"}
    task = {"type": "Classification", "target": "y"}
    with pytest.raises(RunFailure, match=message) as end:
        train(make_config(table, types, {"task": task, **spec}), store)
    assert end.value.reason == reason


def test_infinite_values_name_the_column(make_config: MakeConfig, store: Store) -> None:
    table = small_table(["a", "b"] * 30).set_column(0, "x", [[float("inf")] * 30 + [1.0] * 30])
    config = make_config(
        table, {"x": "Numeric", "y": "Categorical"}, {"task": {**CHURN, "target": "y"}}
    )
    with pytest.raises(RunFailure, match="column 'x' must be finite") as end:
        train(config, store)
    assert end.value.reason == "InvalidFeature"
