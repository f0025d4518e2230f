"""How far a search is, as it reaches the store and a person's screen."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from statistics import quantiles
from threading import Thread
from typing import Any

import pytest
from modelyard.api.artifacts import PROGRESS, run_key
from modelyard.api.experiment import Progress
from modelyard.api.runtime import StoreConfig
from modelyard.cli.layout import Layout
from modelyard.cli.session import VIEW_SECONDS
from modelyard.cli.state import View, progress_of
from modelyard_runtimes.store import Store, StoreUnavailable, open_store
from modelyard_runtimes.train.progress import ProgressFile

IDENTITY = "0123456789abcdef"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def store(layout: Layout) -> Store:
    return open_store(StoreConfig(uri=layout.store.as_uri()))


@pytest.fixture
def folder() -> str:
    return run_key("n", "Experiment", "tumor", IDENTITY)


def told(layout: Layout, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((layout.store / folder / PROGRESS).read_text())
    return found


def test_the_last_trial_of_a_burst_is_told_while_the_next_one_runs(
    layout: Layout, store: Store, folder: str
) -> None:
    with closing(ProgressFile(store, folder)) as progress:
        for done in range(8):
            progress.report(Progress(done=done, total=100))
        end = time.monotonic() + 30
        while not (layout.store / folder / PROGRESS).exists() or told(layout, folder)["done"] != 7:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_what_was_reported_last_is_there_in_the_end(
    layout: Layout, store: Store, folder: str
) -> None:
    with closing(ProgressFile(store, folder)) as progress:
        for done in range(200):
            progress.report(Progress(done=done, total=200))
    assert told(layout, folder)["done"] == 199


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(StoreUnavailable("away"), id="a store that is away"),
        pytest.param(OSError("no space left"), id="a full disk"),
    ],
)
def test_a_store_that_does_not_take_it_ends_the_search(
    store: Store, folder: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(key: str, data: bytes) -> None:
        raise error

    monkeypatch.setattr(store, "write_record", refuse)

    def search(progress: ProgressFile) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            progress.report(Progress(done=1, total=2))
            time.sleep(0.01)

    progress = ProgressFile(store, folder)
    with pytest.raises(type(error), match=str(error)):
        search(progress)
    with pytest.raises(type(error), match=str(error)):
        progress.close()


@pytest.mark.soak
def test_at_twenty_trials_a_second_each_is_on_the_screen_within_a_second(
    layout: Layout, store: Store, folder: str
) -> None:
    view = View(
        {
            "kind": "Experiment",
            "metadata": {"namespace": "n", "name": "tumor"},
            "status": {"run": {"identity": IDENTITY}, "progress": {"done": 0, "total": 400}},
        }
    )
    happened: dict[int, float] = {}

    def search() -> None:
        with closing(ProgressFile(store, folder)) as progress:
            for done in range(1, 401):
                happened[done] = time.monotonic()
                progress.report(Progress(done=done, total=400))
                time.sleep(1 / 20)

    searching = Thread(target=search)
    searching.start()
    lags: list[float] = []
    seen = 0
    while seen < 400:
        shown = int(progress_of(view, layout).partition("/")[0])
        now = time.monotonic()
        lags.extend(now - happened[done] for done in range(seen + 1, shown + 1))
        seen = shown
        time.sleep(VIEW_SECONDS)
    searching.join()
    print(f"from a trial's end to the screen, 95th percentile: {quantiles(lags, n=20)[-1]:.2f} s")
    assert quantiles(lags, n=20)[-1] < 1
