"""Equal seeds and data give equal bytes, whatever finishes first; anything else gives others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from modelyard.api.records import TrainRecord
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.executor import Executor, Job, Outcome
from modelyard_runtimes.train.problem import prepare
from modelyard_runtimes.train.run import open_pool, train, train_with
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.task import SearchData

Pick = Callable[[list[int]], int]
SPEC: dict[str, dict[str, Any]] = {
    "task": {"type": "Classification", "target": "churn", "positiveLabel": "yes"},
    "search": {"trials": 11},
}


class Reordering:
    """An executor that hands results out one by one in the order of the test's choice."""

    def __init__(self, inner: Executor, pick: Pick) -> None:
        self._inner = inner
        self._pick = pick
        self._running = 0
        self._held: list[Outcome] = []
        self.order: list[int] = []

    def submit(self, key: int, job: Job, deadline: float = inf) -> None:
        self._running += 1
        self._inner.submit(key, job, deadline)

    def wait(self) -> Sequence[Outcome]:
        while len(self._held) < self._running:
            self._held += self._inner.wait()
        chosen = self._pick([outcome.key for outcome in self._held])
        outcome = next(one for one in self._held if one.key == chosen)
        self._held.remove(outcome)
        self._running -= 1
        self.order.append(chosen)
        return [outcome]

    def close(self) -> None:
        self._inner.close()


def run_in_order(config: TrainConfig, store: Store, pick: Pick) -> tuple[TrainRecord, list[int]]:
    opened: list[Reordering] = []

    def open_reordering(config: TrainConfig, data: SearchData, folder: Path) -> Executor:
        opened.append(Reordering(open_pool(config, data, folder), pick))
        return opened[0]

    return train_with(config, store, open_reordering), opened[0].order


@pytest.mark.parametrize(
    "search",
    [
        pytest.param({}, id="TPE"),
        pytest.param({"algorithm": "PBT", "learners": ["LightGBM"], "trials": 16}, id="PBT"),
    ],
)
def test_neither_the_order_of_ends_nor_fewer_workers_change_the_model(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
    search: dict[str, object],
) -> None:
    spec = {**SPEC, "search": {**SPEC["search"], **search}}
    configs = [
        make_config(*mixed_table, spec, parallelism=3, workers=workers, name=name)
        for name, workers in (("early", 3), ("late", 3), ("alone", 1))
    ]
    early, early_order = run_in_order(configs[0], store, min)
    late, late_order = run_in_order(configs[1], store, max)
    alone = train(configs[2], store)
    assert early_order != late_order
    assert early.artifact.digest == late.artifact.digest == alone.artifact.digest
    assert early.leaderboard == late.leaderboard == alone.leaderboard
    assert early.metrics == late.metrics == alone.metrics
    assert any(entry.trial == "ensemble" for entry in early.leaderboard)


def test_evidence_of_equal_runs_is_equal(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
) -> None:
    spec = {**SPEC, "search": {"trials": 3}}
    first = train(make_config(*mixed_table, spec), store)
    again = train(make_config(*mixed_table, spec, sourceRevision="abc"), store)
    assert first.evidence.digest == again.evidence.digest


@pytest.mark.parametrize("change", ["seed", "cell"])
def test_another_seed_or_cell_gives_another_model(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
    change: str,
) -> None:
    table, types = mixed_table
    spec = {**SPEC, "search": {"trials": 2}}
    before_config = make_config(table, types, spec, name="before")
    before = train(before_config, store)
    if change == "seed":
        spec = {**spec, "seed": 43}
    else:
        held_out = set(prepare(Snapshot(table, types), before_config).holdout.rows.tolist())
        row = next(row for row in range(table.num_rows) if row not in held_out)
        sizes = table.column("size [cm]").to_pylist()
        sizes[row] = 0.123
        table = table.set_column(1, "size [cm]", pa.array(sizes))
    after = train(make_config(table, types, spec, name="after"), store)
    assert before.artifact.digest != after.artifact.digest
