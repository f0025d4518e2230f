"""Objectives and constraints: what is on the front, what a rule picks, and what is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from modelyard.api.artifacts import TRIALS, run_key
from modelyard.api.experiment import Constraints, Objective
from modelyard.api.records import TrainRecord
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import Store
from modelyard_runtimes.store.files import path_of
from modelyard_runtimes.train.executor import Job, ProcessPool
from modelyard_runtimes.train.measure import Measurement
from modelyard_runtimes.train.pareto import Point, choose, feasible, front
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.trial import Trial

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
    assert any(entry.pareto for entry in measured.values())
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
