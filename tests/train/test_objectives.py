"""Objectives and constraints: what is on the front, what a rule picks, and what is measured."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.artifacts import MODEL_FILE, TRIALS, run_key
from modelyard.api.experiment import Constraints, ExperimentSpec, LeaderboardEntry, Objective
from modelyard.api.records import TrainRecord
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import InputSchema, read
from modelyard_runtimes.model.rows import RowPredictor
from modelyard_runtimes.store import Store
from modelyard_runtimes.store.files import path_of
from modelyard_runtimes.train.executor import Job, ProcessPool
from modelyard_runtimes.train.measure import Measurement, latency, size_mb
from modelyard_runtimes.train.objectives import most_refits
from modelyard_runtimes.train.pareto import Point, choose, feasible, front
from modelyard_runtimes.train.problem import prepare
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.trial import Trial

from tests.train.candidates import DEEP_TREES, many_classes

ALL = [Objective(type=kind) for kind in ("Metric", "Latency", "ModelSize")]


def point(name: str, loss: float, latency: float, size: float) -> Point:
    return Point(name, loss, Measurement(latency, size))


BEST = point("best", 0.10, 9.0, 8.0)
SMALL = point("small", 0.30, 1.0, 1.0)
MIDDLE = point("middle", 0.15, 3.0, 2.0)
BEATEN = point("beaten", 0.20, 4.0, 2.0)
POINTS = [BEST, MIDDLE, BEATEN, SMALL]


def test_a_front_holds_no_dominated_point_and_leaves_out_no_other() -> None:
    assert front(POINTS, ALL) == [BEST, MIDDLE, SMALL]
    assert front(POINTS, ALL[:1]) == [BEST]
    assert front([BEST, point("equal", 0.10, 9.0, 8.0)], ALL)[1].name == "equal"


@pytest.mark.parametrize(
    ("declared", "refits"),
    [
        pytest.param({}, 3, id="the members of the winner"),
        pytest.param({"objectives": [{"type": "Latency"}]}, 10, id="objectives choose"),
        pytest.param({"constraints": {"maxModelMB": 1}}, 10, id="constraints choose"),
    ],
)
def test_all_candidates_are_fitted_where_they_are_measured(
    declared: dict[str, Any], refits: int
) -> None:
    search = {"learners": ["LightGBM", "Linear"]}
    spec = ExperimentSpec.model_validate(
        {"datasetRef": {"name": "d"}, "task": {"type": "Classification", "target": "y"}}
        | {"search": search}
        | declared
    )

    assert most_refits(spec, members=3) == refits


@pytest.mark.parametrize(
    ("rule", "weights", "expected"),
    [
        pytest.param("Lexicographic", (1, 1, 1), BEST, id="the first objective decides"),
        pytest.param("ClosestToIdeal", (1, 1, 1), MIDDLE, id="a bit of everything"),
        pytest.param("Weighted", (1, 9, 1), SMALL, id="latency counts most"),
        pytest.param("Weighted", (9, 1, 1), BEST, id="the metric counts most"),
    ],
)
def test_another_rule_picks_another_point_of_the_same_front(
    rule: str, weights: tuple[int, ...], expected: Point
) -> None:
    weighted = [
        one.model_copy(update={"weight": weight}) for one, weight in zip(ALL, weights, strict=True)
    ]
    assert choose(front(POINTS, weighted), weighted, rule) == expected


def test_points_beyond_a_limit_are_left_out() -> None:
    assert feasible(POINTS, Constraints(latency_ms_p95=3.5)) == [MIDDLE, SMALL]
    assert feasible(POINTS, Constraints()) == POINTS


def test_no_feasible_model_names_the_nearest_candidate_and_what_it_lacks() -> None:
    with pytest.raises(
        RunFailure,
        match=r"none of 4 .* nearest is small: spec\.constraints\.maxModelMB is 0\.5, it has 1\.",
    ) as end:
        feasible(POINTS, Constraints(latency_ms_p95=2, max_model_mb=0.5))
    assert end.value.reason == "NoFeasibleModel"


def folder_of(store: Store, name: str, identity: str) -> Path:
    return path_of(store.uri) / run_key("team", "Experiment", name, identity)


def measured_of(entry: LeaderboardEntry) -> dict[str, float]:
    """Return what limits bind of a candidate, by their fields."""
    assert entry.latency_ms_p95 is not None
    assert entry.model_mb is not None
    return {"latencyMsP95": entry.latency_ms_p95, "maxModelMB": entry.model_mb}


def dominated(entry: LeaderboardEntry, others: Iterable[LeaderboardEntry]) -> bool:
    """Return whether another candidate is as good in everything, and better in something."""
    own, *losses = (np.array([-one.metric, *measured_of(one).values()]) for one in (entry, *others))
    return any((other <= own).all() and (other < own).any() for other in losses)


def train_without_trials(
    config: TrainConfig, store: Store, monkeypatch: pytest.MonkeyPatch
) -> TrainRecord:
    """Return the record of a run in which no trial may start."""

    def refuse(self: ProcessPool, key: int, job: Job, submit: Any = ProcessPool.submit) -> None:
        assert not isinstance(job, Trial)
        submit(self, key, job)

    with monkeypatch.context() as patch:
        patch.setattr(ProcessPool, "submit", refuse)
        return train(config, store)


def test_the_winner_keeps_the_constraints_and_no_trial_runs_for_another_rule(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = {
        "task": {"type": "Classification", "target": "churn"},
        "search": {"trials": 5},
        "objectives": [{"type": "ModelSize"}, {"type": "Metric"}, {"type": "Latency"}],
        "constraints": {"latencyMsP95": 60_000, "maxModelMB": 100},
        "explain": {"permutationRepeats": 0, "shapRows": 0},
    }
    record = train(make_config(*mixed_table, spec), store)
    measured = {e.trial: e for e in record.leaderboard if e.latency_ms_p95 is not None}
    assert len(measured) >= 4
    sizes = [entry.model_mb for entry in measured.values()]
    smallest = min(size for size in sizes if size is not None)
    assert record.artifact.size_bytes / 1e6 == pytest.approx(smallest)
    marked = [entry for entry in measured.values() if entry.pareto]
    assert marked
    for entry in measured.values():
        assert dominated(entry, marked) is not entry.pareto
    told = (folder_of(store, "experiment", record.identity) / TRIALS).read_text()

    another = {**spec, "objectives": [{"type": "Metric"}], "ensemble": {"type": "None"}}
    best = train_without_trials(make_config(*mixed_table, another), store, monkeypatch)
    assert (folder_of(store, "experiment", best.identity) / TRIALS).read_text() == told
    assert best.identity != record.identity
    assert best.artifact.digest != record.artifact.digest
    recorded = dict.fromkeys(measured, 7.5)
    again = train(
        make_config(*mixed_table, spec, name="again", measured={"latencies": recorded}), store
    )
    assert {e.latency_ms_p95 for e in again.leaderboard if e.model_mb is not None} == {7.5}
    assert again.artifact.digest == record.artifact.digest


def milliseconds(folder: Path, table: pa.Table) -> float:
    """Return within which time this process predicts 95 of 100 single rows, at its quietest."""
    predictor = RowPredictor(read(folder))
    columns = (table.column(name).to_pylist() for name in predictor.names)
    rows = list(zip(*columns, strict=True))
    turns = []
    for _ in range(5):
        taken = []
        for row in rows:
            started = time.perf_counter()
            predictor.values([row])
            taken.append(time.perf_counter() - started)
        turns.append(float(np.quantile(taken, 0.95)))
    return 1000 * min(turns)


@pytest.mark.parametrize(
    "field",
    [
        pytest.param("maxModelMB", id="size"),
        # Latencies of several runs are compared, which takes an idle machine.
        pytest.param("latencyMsP95", id="latency", marks=pytest.mark.soak),
    ],
)
def test_a_limit_between_two_models_takes_the_lesser_one_which_keeps_it_when_measured_again(
    make_config: Callable[..., TrainConfig],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
) -> None:
    table, types = many_classes()
    spec = {
        "task": {"type": "Classification", "target": "kind", "metric": "accuracy"},
        "validation": {"folds": 2},
        "search": {"trials": 2, "learners": ["ExtraTrees", "Linear"], "space": DEEP_TREES},
        "objectives": [{"type": "Metric"}, {"type": "Latency"}, {"type": "ModelSize"}],
        "ensemble": {"type": "None"},
        "explain": {"permutationRepeats": 0, "shapRows": 0},
    }
    config = make_config(table, types, spec)
    record = train(config, store)
    large, small = record.leaderboard
    assert (large.learner, small.learner) == ("ExtraTrees", "Linear")
    assert large.metric > small.metric + 0.05
    assert record.artifact.size_bytes > 1e6 * measured_of(small)["maxModelMB"]
    assert not any(dominated(one, record.leaderboard) for one in (large, small))

    limit = math.sqrt(measured_of(small)[field] * measured_of(large)[field])
    bound = make_config(table, types, {**spec, "constraints": {field: limit}})
    chosen = train_without_trials(bound, store, monkeypatch)
    assert [one.trial for one in chosen.leaderboard if one.pareto] == [small.trial]
    packed = store.open_artifact(chosen.artifact.uri)
    files = {entry.path: packed.read(entry.path) for entry in packed.manifest.files}
    assert json.loads(files[MODEL_FILE])["members"][0]["learner"] == "Linear"
    if field == "maxModelMB":
        assert size_mb(files) <= limit
    else:
        problem = prepare(Snapshot(table, types), config)
        schema = InputSchema(problem.choice.features)
        assert latency(files, schema, problem.search.inputs) <= limit
        assert milliseconds(packed.folder(), table) <= limit
