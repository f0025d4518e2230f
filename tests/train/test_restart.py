"""A search that is killed goes on from its log, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.artifacts import FAILURE, PROGRESS, RECORD, TRIALS, run_key
from modelyard.api.records import TrainRecord
from modelyard.api.runs import TrainConfig
from modelyard.api.runtime import CONFIG_VARIABLE
from modelyard_runtimes.store import Store
from modelyard_runtimes.store.files import path_of
from modelyard_runtimes.train.trial import TrialResult
from modelyard_runtimes.train.trial_log import open_log

COMMAND = [sys.executable, "-m", "modelyard_runtimes.train"]


def start(config: TrainConfig) -> subprocess.Popen[bytes]:
    environment = {**os.environ, CONFIG_VARIABLE: config.model_dump_json(by_alias=True)}
    return subprocess.Popen(COMMAND, env=environment, stderr=subprocess.DEVNULL)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for sockets, whose whole path the kernel limits to 108 characters."""
    with tempfile.TemporaryDirectory(prefix="modelyard-") as name:
        yield Path(name)


def folder_of(config: TrainConfig, store: Store) -> Path:
    key = run_key(config.namespace, "Experiment", config.name, config.identity)
    return path_of(store.uri) / key


def logged_numbers(folder: Path) -> list[int]:
    log = folder / TRIALS
    lines = log.read_bytes().splitlines(keepends=True)[1:] if log.exists() else []
    return [json.loads(line)["number"] for line in lines if line.endswith(b"\n")]


def workers_of(folder: str) -> list[int]:
    """Return the processes that have a file of this run's temporary folder mapped."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            maps = (process / "maps").read_text()
        except OSError:
            continue
        if folder in maps:
            found.append(int(process.name))
    return found


def stop_after(config: TrainConfig, folder: Path, trials: int, stop: signal.Signals) -> int:
    """Start the search, send it a signal once so many trials are logged, return its status."""
    process = start(config)
    while len(logged_numbers(folder)) < trials:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(stop)
    return process.wait()


def test_a_search_that_is_killed_ends_like_an_undisturbed_one(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
    short_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = short_path
    monkeypatch.setenv("TMPDIR", str(temporary))
    spec = {"task": {"type": "Classification", "target": "churn"}, "search": {"trials": 12}}
    undisturbed = make_config(*mixed_table, spec, name="undisturbed")
    killed = make_config(*mixed_table, spec, name="killed")
    folder = folder_of(killed, store)
    logged: list[int] = []
    for trials, stop, status in ((3, signal.SIGKILL, -9), (7, signal.SIGTERM, 143)):
        assert stop_after(killed, folder, trials, stop) == status
        assert not (folder / RECORD).exists()
        assert not (folder / FAILURE).exists()
        assert logged_numbers(folder)[: len(logged)] == logged
        logged = logged_numbers(folder)
        while workers_of(str(temporary)) or list(temporary.glob("modelyard-train-*")):
            time.sleep(0.01)
    assert start(killed).wait() == 0
    assert start(undisturbed).wait() == 0
    assert logged_numbers(folder)[: len(logged)] == logged
    assert sorted(logged_numbers(folder)) == list(range(12))
    records = [
        TrainRecord.model_validate_json((folder_of(config, store) / RECORD).read_bytes())
        for config in (undisturbed, killed)
    ]
    assert records[0].artifact.digest == records[1].artifact.digest
    assert records[0].leaderboard == records[1].leaderboard
    progress = json.loads((folder / PROGRESS).read_bytes())
    assert (progress["done"], progress["total"]) == (12, 12)


def trial(number: int) -> TrialResult:
    return TrialResult(number, {"learner": "Linear", "knots": 0}, "Complete", (0.5, 0.25), 7)


def test_a_logged_trial_comes_back_as_it_was(store: Store) -> None:
    log, _ = open_log(store, "run", {"identity": "a"})
    log.record([(trial(0), np.array([[0.1], [0.2]]))])
    log.record([(trial(1), None)])
    log.close()
    log, trials = open_log(store, "run", {"identity": "a"})
    log.close()
    assert trials == {0: trial(0), 1: trial(1)}
    np.testing.assert_array_equal(log.outputs(0), [[0.1], [0.2]])
    with pytest.raises(FileNotFoundError):
        log.outputs(1)


def test_a_line_cut_by_a_kill_does_not_count(store: Store) -> None:
    log, _ = open_log(store, "run", {"identity": "a"})
    log.record([(trial(0), None)])
    log.record([(trial(1), None)])
    log.close()
    path = path_of(store.uri) / "run" / TRIALS
    path.write_bytes(path.read_bytes()[:-5])
    log, trials = open_log(store, "run", {"identity": "a"})
    assert trials == {0: trial(0)}
    log.record([(trial(2), None)])
    log.close()
    assert open_log(store, "run", {"identity": "a"})[1] == {0: trial(0), 2: trial(2)}


def test_a_log_of_something_else_is_begun_anew(store: Store) -> None:
    log, _ = open_log(store, "run", {"codeVersion": "1"})
    log.record([(trial(0), None)])
    log.close()
    assert open_log(store, "run", {"codeVersion": "2"})[1] == {}
