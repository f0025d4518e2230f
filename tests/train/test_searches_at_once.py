"""Five searches at once on one machine: none is held up, none starves, none loses what it knows."""

from __future__ import annotations

import json
import math
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from modelyard.api.artifacts import TRIALS as LOG
from modelyard_runtimes.train.trial_log import parse_trial

from tests.bench.searches import disk_folder

from .sleeping_search import PLACES, SECONDS, TRIALS

SEARCHES = 5
COMMAND = [sys.executable, "-m", "tests.train.sleeping_search"]
ROOT = Path(__file__).parents[2]
MOST_OVERHEAD = 0.05


class Searching:
    """A search in a process of its own, with a durable log in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "run" / LOG
        pipe = subprocess.PIPE
        command = [*COMMAND, folder.as_uri()]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)

    def until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def logged(self) -> list[bytes]:
        """Return the whole lines of the log, each of which is a trial that counts."""
        lines = self._log.read_bytes().splitlines(keepends=True)[1:] if self._log.exists() else []
        return [line for line in lines if line.endswith(b"\n")]

    def results(self) -> dict[int, Any]:
        return {trial.number: trial for trial in map(parse_trial, self.logged())}

    def ended(self) -> dict[str, Any]:
        """Return what it tells of itself in the end."""
        told, _ = self.process.communicate()
        assert self.process.returncode == 0
        found: dict[str, Any] = json.loads(told)
        return found


@contextmanager
def searches(folders: Sequence[Path]) -> Iterator[list[Searching]]:
    """Start searches at the same moment, and leave none behind."""
    with ExitStack() as stack:
        found = [Searching(folder) for folder in folders]
        for one in found:
            stack.enter_context(one.process)
            stack.callback(one.process.kill)
            one.until_ready()
        for one in found:
            one.go()
        yield found


def fairness(progress: Sequence[int]) -> float:
    """Return Jain's index: 1 where all got as far, 1/n where one of n got everything."""
    squares = sum(done**2 for done in progress)
    return sum(progress) ** 2 / (len(progress) * squares) if squares else 1.0


def fairness_of(running: Sequence[Searching], until: int) -> float:
    """Watch searches until each has ended so many trials; return the least of Jain's index.

    The first tenth is left out, where a single trial more weighs as much as many do later.
    """
    least = 1.0
    progress = [0]
    while min(progress) < until:
        assert not any(one.process.poll() for one in running)
        progress = [len(one.logged()) for one in running]
        if sum(progress) >= len(running) * TRIALS / 10:
            least = min(least, fairness(progress))
        time.sleep(0.1)
    return least


def overhead(told: dict[str, Any]) -> float:
    """Return by what part it took longer than its trials on the places that it has."""
    ideal = math.ceil(len(told["started"]) / PLACES) * SECONDS
    return float(told["seconds"]) / ideal - 1


def test_the_index_says_how_equal_the_progress_is() -> None:
    assert fairness([7, 7, 7, 7, 7]) == 1
    assert fairness([10, 0, 0, 0, 0]) == pytest.approx(0.2)
    assert fairness([100, 100, 100, 100, 50]) == pytest.approx(0.953, abs=0.001)


@pytest.mark.soak
def test_five_searches_on_five_hundred_places_are_not_held_up_and_get_on_equally() -> None:
    with disk_folder() as disk, searches([disk / str(n) for n in range(SEARCHES)]) as running:
        least = fairness_of(running, TRIALS)
        told = [one.ended() for one in running]
        overheads = [overhead(one) for one in told]
        shown = ", ".join(f"{one:.2%}" for one in overheads)
        print(f"overhead {shown}; Jain's index of the progress at least {least:.4f}")
        assert [len(one["started"]) for one in told] == [TRIALS] * SEARCHES
        assert least >= 0.95
        assert max(overheads) < MOST_OVERHEAD


@pytest.mark.soak
def test_a_search_killed_amid_four_others_goes_on_and_loses_no_trial() -> None:
    moments = random.Random(7)
    with disk_folder() as disk, searches([disk / str(n) for n in range(SEARCHES)]) as running:
        *others, killed = running
        least = fairness_of(running, moments.randrange(PLACES, TRIALS - PLACES))
        time.sleep(moments.uniform(0, 0.1))
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        before = killed.logged()
        assert PLACES <= len(before) < TRIALS

        with searches([disk / str(SEARCHES - 1)]) as (resumed,):
            again = resumed.ended()
        told = [*(one.ended() for one in others), again]
        overheads = [overhead(one) for one in told]
        shown = ", ".join(f"{one:.2%}" for one in overheads)
        print(f"killed after {len(before)} trials; overhead {shown}, the last of the resumed")

        assert resumed.logged()[: len(before)] == before
        known = {parse_trial(line).number for line in before}
        assert sorted(again["started"]) == sorted(set(range(TRIALS)) - known)
        assert resumed.results() == others[0].results()
        assert least >= 0.95
        assert max(overheads) < MOST_OVERHEAD
