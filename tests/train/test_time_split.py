"""Where a column tells time, the holdout is the latest rows and a fold is a stretch of time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.train.problem import prepare
from modelyard_runtimes.train.snapshot import Snapshot

ROWS = 200
TYPES = {"when": "Datetime", "x": "Numeric", "y": "Categorical"}
MakeConfig = Callable[..., TrainConfig]


def table_of(days: Any, classes: Any = None) -> pa.Table:
    chance = np.random.default_rng(0)
    start = np.datetime64("2026-01-01T00:00:00", "us")
    when = pa.array([None if day is None else start + np.timedelta64(day, "D") for day in days])
    classes = chance.choice(["a", "b"], len(days)) if classes is None else classes
    return pa.table({"when": when, "x": chance.normal(size=len(days)), "y": classes})


def config_of(make_config: MakeConfig, table: pa.Table, column: str = "when") -> TrainConfig:
    validation = {"folds": 4, "holdout": 0.25, "timeColumn": column}
    spec = {"task": {"type": "Classification", "target": "y"}, "validation": validation}
    return make_config(table, TYPES, spec)


@pytest.mark.parametrize(
    "rows_a_day", [pytest.param(1, id="each row its own day"), pytest.param(7, id="weeks of rows")]
)
def test_what_is_later_is_never_learned_from_and_moments_stay_together(
    make_config: MakeConfig, rows_a_day: int
) -> None:
    days = np.random.default_rng(1).permutation(np.arange(ROWS) // rows_a_day)
    table = table_of([int(day) for day in days])
    problem = prepare(Snapshot(table, TYPES), config_of(make_config, table))
    held = np.zeros(ROWS, dtype=bool)
    held[problem.holdout.rows] = True
    assert days[held].min() > days[~held].max()
    assert abs(held.sum() - ROWS // 4) < rows_a_day
    folds = [set(days[~held][problem.search.folds == fold]) for fold in range(4)]
    assert all(max(one) < min(other) for one, other in pairwise(folds))


@pytest.mark.parametrize(
    ("table", "column", "said"),
    [
        pytest.param(table_of([*range(ROWS - 1), None]), "when", "1 rows have none", id="a gap"),
        pytest.param(table_of(range(ROWS)), "then", "no such column", id="no such column"),
        pytest.param(table_of([0] * ROWS), "when", "too many rows", id="one moment"),
        pytest.param(table_of([0] * 100 + [1] * 100), "when", "do not suffice", id="two moments"),
        pytest.param(
            table_of(range(ROWS), ["a"] * 50 + ["b"] * 150), "when", "lacks a class", id="classes"
        ),
    ],
)
def test_a_time_that_cannot_split_is_refused(
    make_config: MakeConfig, table: pa.Table, column: str, said: str
) -> None:
    with pytest.raises(RunFailure, match=f"spec.validation.timeColumn.*{said}") as ended:
        prepare(Snapshot(table, TYPES), config_of(make_config, table, column))
    assert ended.value.reason == "InvalidTimeColumn"
