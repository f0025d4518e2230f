"""Suspending stops the work and keeps what was done; going on loses one trial at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from modelyard.api.artifacts import TRIALS, run_key

from .conftest import NAMESPACE
from .test_kills import pids_running

TOTAL = 20


def logged(yard: Any) -> list[bytes]:
    """Return the complete lines of the log of trials."""
    identity = (yard.status("Experiment").get("run") or {}).get("identity")
    if not identity:
        return []
    key = run_key(NAMESPACE, "Experiment", "tumor", identity)
    log = yard.state / "artifacts" / key / TRIALS
    lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
    return [line for line in lines if line.endswith(b"\n")]


def done(yard: Any) -> int:
    """Return how many trials the status tells of."""
    return int((yard.status("Experiment").get("progress") or {}).get("done", 0))


def test_a_suspended_search_stops_and_goes_on_from_its_last_trial(
    make_yard: Callable[[], Any],
) -> None:
    yard = make_yard()
    (yard.directory / "deployment.yaml").unlink()
    (yard.directory / "monitor.yaml").unlink()
    search = {"trials": TOTAL, "learners": ["LightGBM"]}
    yard.change("experiment", search=search, execution={"parallelism": 1})
    yard.up()
    yard.until(lambda: len(logged(yard)) > 3, "some trials are done")
    run, told = yard.status("Experiment")["run"], done(yard)

    yard.change("experiment", suspend=True)
    start = time.monotonic()
    yard.until(
        lambda: yard.condition("Experiment", "Ready").get("reason") == "Suspended", "suspended"
    )
    yard.until(lambda: not pids_running("train", yard.state), "nothing trains any more")
    print(f"stopped {time.monotonic() - start:.1f} s after the edit")
    kept = logged(yard)
    assert 3 < len(kept) <= TOTAL, "it was stopped before its end"
    assert yard.get("Workflow", run["child"]) is None
    assert told <= done(yard) < len(kept), "what was told stands; the log begins with its header"

    yard.change("experiment", suspend=False)
    yard.until(lambda: yard.ready("Experiment"), "the search ends")
    after = logged(yard)
    assert after[: len(kept)] == kept, "what was done is not done again"
    assert done(yard) == TOTAL
    assert yard.status("Experiment")["run"]["identity"] == run["identity"]
    yard.down()
