"""The same search on Ray: same leaderboard, same bytes, and trials end in the same ways.

Without RAY_ADDRESS a pool starts a cluster of its own on this machine and ends it in the end.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.problem import prepare
from modelyard_runtimes.train.run import open_pool, open_ray_pool, train_with
from modelyard_runtimes.train.snapshot import read_snapshot
from modelyard_runtimes.train.task import SearchData

from .conftest import MakeConfig

pytest.importorskip("ray", reason="ray is not installed; modelyard-runtimes[ray] brings it")
pytestmark = pytest.mark.filterwarnings("ignore")  # ray's own
SPEC = {
    "task": {"type": "Classification", "target": "churn", "positiveLabel": "yes"},
    "search": {"trials": 4},
    "execution": {"backend": "Ray", "parallelism": 2},
}


@dataclass(frozen=True)
class Ending:
    """A job that takes some seconds, or ends its process at once."""

    seconds: float

    def load(self) -> None:
        """Need nothing."""

    def run(self, data: SearchData) -> Any:
        if self.seconds == 0:
            os._exit(7)
        time.sleep(self.seconds)
        return len(data.target)


def test_a_search_gives_the_same_leaderboard_and_the_same_bytes(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    config = make_config(*mixed_table, SPEC)
    here = train_with(config, store, open_pool)
    there = train_with(config.model_copy(update={"identity": "b" * 64}), store, open_ray_pool)
    assert there.leaderboard == here.leaderboard
    assert there.artifact.digest == here.artifact.digest


def test_trials_end_as_they_do_in_processes_and_the_pool_goes_on(
    make_config: MakeConfig,
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
    tmp_path: Path,
) -> None:
    from modelyard_runtimes.train.ray_pool import RayPool  # noqa: PLC0415

    config = make_config(*mixed_table, SPEC)
    snapshot = read_snapshot(store, config.snapshot_uri, config.snapshot_digest)
    prepare(snapshot, config).search.save(tmp_path)
    pool = RayPool(1, tmp_path, timeout=10)
    try:
        found = {}
        for key, seconds in enumerate((0, 60, 0.1)):
            pool.submit(key, Ending(seconds))
        while len(found) < 3:
            found.update({outcome.key: outcome for outcome in pool.wait()})
    finally:
        pool.close()
    assert [found[key].status for key in range(3)] == ["Died", "TimedOut", "Done"]
    assert "spec.search.trialTimeout" in found[1].reason
    assert found[2].value > 0
