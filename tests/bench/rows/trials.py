"""24 trials of LightGBM: two workers against the plain loop in one process."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TRIALS, WORKERS, ROWS = 24, 2, 600
DECLARED = {"trials": TRIALS, "learners": ["LightGBM"], "earlyStopping": {"type": "None"}}


def modelyard() -> dict[str, Any]:
    """Search with two warm processes and the trial log on the disk."""
    from modelyard.api.experiment import Search
    from modelyard_runtimes.train.executor import ProcessPool
    from searches import NoOp, disk_store, rows, search

    with disk_store() as store, tempfile.TemporaryDirectory() as folder:
        rows(ROWS).save(Path(folder))
        pool = ProcessPool(WORKERS, Path(folder), 600)
        for number in range(WORKERS):
            pool.submit(number, NoOp(number, {}))
        for _ in range(WORKERS):
            pool.wait()
        declared = Search.model_validate(DECLARED)
        found, numbers = timed(lambda: search(store, pool, declared, WORKERS))
        pool.close()
    return {**numbers, "values": [found.results[number].value for number in range(TRIALS)]}


def loop() -> dict[str, Any]:
    """Run the same trials one after another in this process, and keep nothing."""
    from modelyard.api.experiment import Search
    from modelyard_runtimes.train.sampler import open_sampler
    from modelyard_runtimes.train.search import lag_of
    from modelyard_runtimes.train.trial import Trial, TrialResult
    from searches import FOLDS, GOAL, rows

    data = rows(ROWS)

    def run() -> list[float]:
        declared = Search.model_validate(DECLARED)
        sampler = open_sampler(declared, GOAL)
        lag = lag_of(WORKERS, TRIALS)
        results: list[TrialResult] = []
        for number in range(TRIALS):
            if number >= lag:
                sampler.tell(results[number - lag])
            trial = Trial(number, sampler.ask(), (None,) * FOLDS)
            results.append(trial.run(data)[0])
        return [result.value for result in results]

    values, numbers = timed(run)
    return {**numbers, "values": values}


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return the result, and the seconds of the wall and of all processes."""
    start, cpu = time.perf_counter(), used()
    found = work()
    return found, {"seconds": time.perf_counter() - start, "cpuSeconds": used() - cpu}


def used() -> float:
    """Return the CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def equal(ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Check that both ran the same trials to the same values."""
    assert ours["values"] == peers["loop"]["values"]
    return f"All {TRIALS} trials have the same values on both sides."


if __name__ == "__main__":
    print(json.dumps({"modelyard": modelyard, "loop": loop}[sys.argv[1]]()))
elif __name__ != "__mp_main__":
    from frame import Goal, Row

    ROW = Row(
        title="24 trials on two workers",
        work=f"{TRIALS} trials of LightGBM over five folds of {ROWS} rows: ours on {WORKERS} warm "
        "processes of one thread each, with its log on the disk; the plain loop in one process of "
        "one thread.",
        peers={"loop": []},
        goals=[Goal("loop", 1.75)],
        check=equal,
        figures={"seconds": "seconds", "cpuSeconds": "CPU seconds of the searching process"},
    )
