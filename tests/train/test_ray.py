"""The same search on Ray: same leaderboard, same bytes, and trials end in the same ways.

Ray is installed in an environment of its own: `make ray` runs these tests there, on a cluster of
one node that they start and end. Pools join it as they do elsewhere, by RAY_ADDRESS.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from modelyard.api.records import ACTOR_ENDED, MEASURED_FAILURES
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.executor import KILLED, NOT_READY, TIMEOUT, Executor, Job, Outcome
from modelyard_runtimes.train.run import open_pool, open_ray_pool, train_with
from modelyard_runtimes.train.search import remedy
from modelyard_runtimes.train.space import LEARNER
from modelyard_runtimes.train.task import SearchData
from modelyard_runtimes.train.trial import Trial

from .conftest import MakeConfig
from .problems import GOALS, make_data

ray = pytest.importorskip("ray", reason="ray is not installed; modelyard-runtimes[ray] brings it")
from modelyard_runtimes.train import ray_pool  # noqa: E402
from ray import exceptions  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # ray's own
    pytest.mark.timeout(600),
]
SPEC = {
    "task": {"type": "Classification", "target": "churn", "positiveLabel": "yes"},
    "search": {"trials": 4},
    "execution": {"backend": "Ray", "parallelism": 2},
}
PLACES = 2
ROWS = 30
SHORT, LONG = 3.0, 6.0
"""Seconds that a job may take, and more than that."""


@dataclass(frozen=True)
class Slow:
    """A job that takes some seconds to load what it needs, or to run."""

    loading: float = 0.0
    running: float = 0.0

    def load(self) -> None:
        time.sleep(self.loading)

    def run(self, data: SearchData) -> int:
        time.sleep(self.running)
        return len(data.target)


@dataclass(frozen=True)
class Deadly:
    """A job that ends its process."""

    def load(self) -> None:
        """Need nothing."""

    def run(self, data: SearchData) -> None:
        os._exit(7)


@dataclass(frozen=True)
class Sealed:
    """A job that no other process can read."""

    def load(self) -> None:
        """Need nothing."""

    def run(self, data: SearchData) -> None:
        """Do nothing."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("sealed",)


class SlowToStart(ray_pool.TrialRunner):
    """An actor that starts for longer than a job may take."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        time.sleep(LONG)


def start_node(tries: int = 4) -> Cluster:
    """Start a cluster of one node; a loaded machine may need more than the 30 s that it is given."""
    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=PLACES, include_dashboard=False)
    except Exception:
        cluster.shutdown()
        if tries == 1:
            raise
        return start_node(tries - 1)
    return cluster


@contextmanager
def own_cluster() -> Iterator[None]:
    """Start a cluster, and name it to pools."""
    cluster = start_node()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with own_cluster():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_data(GOALS["values"], ROWS).save(tmp_path)
    return tmp_path


def endings(pool: Executor, jobs: Sequence[Job]) -> list[Outcome]:
    """Return how jobs end, in their order."""
    found: dict[int, Outcome] = {}
    for key, job in enumerate(jobs):
        pool.submit(key, job)
    while len(found) < len(jobs):
        found |= {outcome.key: outcome for outcome in pool.wait()}
    return [found[key] for key in range(len(jobs))]


@pytest.mark.usefixtures("cluster")
def test_a_search_gives_the_same_leaderboard_and_the_same_bytes(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    config = make_config(*mixed_table, SPEC)
    here = train_with(config, store, open_pool)
    there = train_with(config.model_copy(update={"identity": "b" * 64}), store, open_ray_pool)
    assert there.leaderboard == here.leaderboard
    assert there.artifact.digest == here.artifact.digest


ENDINGS = [
    (Slow(loading=LONG), "Done", ""),  # loading is none of its time
    (Deadly(), "Died", ACTOR_ENDED),
    (Slow(), "Done", ""),  # nor is the start of the actor that replaces the dead one
    (Slow(running=600), "TimedOut", f"it took longer than {SHORT:g} s, {TIMEOUT}"),
    (Trial(0, {LEARNER: "Unheard"}, ()), "Raised", "KeyError: 'Unheard'"),
    (Sealed(), "Raised", "ValueError: invalid literal for int() with base 10: 'sealed'"),
    (Slow(), "Done", ""),
]


@pytest.mark.usefixtures("cluster")
def test_trials_end_as_they_do_in_processes_and_the_pool_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "TrialRunner", SlowToStart)
    with closing(ray_pool.RayPool(1, folder, SHORT)) as pool:
        found = endings(pool, [job for job, _, _ in ENDINGS])
    for outcome, (job, status, reason) in zip(found, ENDINGS, strict=True):
        assert (outcome.status, job) == (status, job), outcome
        assert outcome.reason.startswith(reason)
        assert outcome.value == (ROWS if status == "Done" else None)


@pytest.mark.usefixtures("cluster")
def test_a_cluster_with_too_few_places_is_a_failure_that_names_the_field(folder: Path) -> None:
    with pytest.raises(RunFailure, match=r"\d of 3 actors did not start within 3 s") as failed:
        ray_pool.RayPool(PLACES + 1, folder, SHORT, ready_within=SHORT)
    assert failed.value.reason == "BackendMissing"
    assert "Lower spec.execution.parallelism" in failed.value.message
    assert failed.value.retryable
    assert not ray.is_initialized()


def test_an_actor_that_the_memory_monitor_kills_died_for_want_of_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")  # any machine uses more
    with own_cluster(), closing(ray_pool.RayPool(1, folder, 600)) as pool:
        found = endings(pool, [Slow(running=600)] * 2)
    assert {(outcome.status, outcome.reason) for outcome in found} == {("Died", OUT_OF_MEMORY)}


class Call:
    """A call of an actor; it ends with a value or an exception, or never where that is None."""

    def __init__(self, end: Any) -> None:
        self.end = end

    def remote(self, *_: Any) -> Call:
        return self


class Port:
    """Stands in for the module `ray`: not all that ends actors there can be brought about here."""

    def __init__(self, *loaded: Any) -> None:
        """Say how the first call of each actor ends, in the order in which actors start."""
        self.loaded = list(loaded)
        self.killed = 0

    def __getattr__(self, name: str) -> Any:
        assert name in {"init", "put", "shutdown"}
        return lambda *_, **__: None

    def remote(self, runner: type) -> Any:
        assert runner is ray_pool.TrialRunner
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self.start))

    def start(self, _: Any) -> Any:
        calls = {"__ray_ready__": Call(True), "run": Call(("Done", 1, ""))}
        return SimpleNamespace(**calls, load=Call(self.loaded.pop(0)))

    def wait(
        self, calls: list[Call], num_returns: int, timeout: float, **_: Any
    ) -> tuple[list[Call], list[Call]]:
        ended = [call for call in calls if call.end is not None][:num_returns]
        if not ended:
            time.sleep(timeout)
        return ended, [call for call in calls if call not in ended]

    def get(self, call: Call) -> Any:
        if isinstance(call.end, Exception):
            raise call.end
        return call.end

    def kill(self, _: Any) -> None:
        self.killed += 1


OUT_OF_MEMORY = f"{ACTOR_ENDED}{KILLED} for want of memory"
LOST = [
    (exceptions.OutOfMemoryError("1 worker was killed\nMemory"), OUT_OF_MEMORY),
    (exceptions.ActorDiedError(), f"{ACTOR_ENDED}The actor died unexpectedly before"),
    (exceptions.ActorUnschedulableError("no node"), f"{ACTOR_ENDED}The actor is not schedulable"),
    (exceptions.RuntimeEnvSetupError("no disk"), f"{ACTOR_ENDED}Failed to set up runtime env"),
    (exceptions.NodeDiedError("the node is gone"), f"{ACTOR_ENDED}the node is gone"),
]


@pytest.mark.parametrize(("error", "reason"), LOST, ids=[type(error).__name__ for error, _ in LOST])
def test_an_actor_that_is_lost_is_replaced_and_its_trial_may_be_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    port = Port(error, True)
    monkeypatch.setattr(ray_pool, "ray", port)
    lost, done = endings(ray_pool.RayPool(1, folder, LONG), [Slow(), Slow()])
    assert (lost.status, done) == ("Died", Outcome(1, "Done", 1))
    assert lost.reason.startswith(reason)
    assert lost.reason.startswith(MEASURED_FAILURES)
    assert ("more memory" in remedy([lost.reason])) is (reason == OUT_OF_MEMORY)
    assert port.killed == 1


def test_an_actor_that_never_begins_is_ended_by_a_bound_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "ray", Port(None, True))
    pool = ray_pool.RayPool(1, folder, LONG, ready_within=0.2)
    late, done = endings(pool, [Slow(), Slow()])
    assert late == Outcome(0, "TimedOut", reason=f"it took longer than 0.2 s, {NOT_READY}")
    assert late.reason.startswith(MEASURED_FAILURES)
    assert done == Outcome(1, "Done", 1)


def test_all_that_ended_is_told_at_once_so_none_gets_late_by_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "ray", Port(True, True, True))
    pool = ray_pool.RayPool(3, folder, LONG)
    for key in range(3):
        pool.submit(key, Slow())
    assert list(pool.wait()) == [Outcome(key, "Done", 1) for key in range(3)]
