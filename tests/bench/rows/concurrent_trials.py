"""500 trials at once that only take time: ours, durable, against plain Optuna."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

TRIALS, CONCURRENT, SECONDS = 2000, 500, 5.0
LEARNERS = ("LightGBM", "Linear", "ExtraTrees")


def modelyard() -> dict[str, float]:
    """Search with the model-based sampler and the trial log on the disk."""
    from modelyard.api.experiment import Search
    from searches import Simulated, disk_store, search

    declared = Search(trials=TRIALS, learners=list(LEARNERS))
    with disk_store() as store:
        return timed(lambda: search(store, Simulated(SECONDS), declared, CONCURRENT))


def optuna_alone() -> dict[str, float]:
    """Ask and tell one study over all families; nothing is kept."""
    import optuna
    from modelyard_runtimes.train.trial import Trial
    from searches import Simulated, suggest

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=1)
    study = optuna.create_study(sampler=sampler)
    places = Simulated(SECONDS)
    asked: list[optuna.Trial] = []

    def start() -> None:
        trial = study.ask()
        suggest(trial, LEARNERS)
        places.submit(len(asked), Trial(len(asked), trial.params, ()))
        asked.append(trial)

    def run() -> None:
        for _ in range(CONCURRENT):
            start()
        told = 0
        while told < TRIALS:
            for outcome in places.wait():
                study.tell(asked[outcome.key], outcome.value[0].value)
                told += 1
                if len(asked) < TRIALS:
                    start()

    return timed(run)


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Return how much longer than the trials themselves it took, and the processor's time."""
    ideal = TRIALS / CONCURRENT * SECONDS
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return {
        "overheadPercent": ((time.perf_counter() - start) / ideal - 1) * 100,
        "cpuSeconds": time.process_time() - cpu,
    }


def equal(ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Say what the sides have in common."""
    return f"Both propose {TRIALS} trials over the same families and are told the same losses."


if __name__ == "__main__":
    print(json.dumps({"modelyard": modelyard, "optuna": optuna_alone}[sys.argv[1]]()))
else:
    from frame import Goal, Limit, Row

    ROW = Row(
        title="500 trials at once",
        work=f"{TRIALS} simulated trials of {SECONDS:g} s each, {CONCURRENT} at once, proposed by "
        "TPE in one process. Ours keeps every ended trial on the disk, synced, before it counts; "
        "Optuna has its default TPESampler and keeps nothing.",
        peers={"optuna": []},
        goals=[Goal("optuna", 20, "overheadPercent")],
        limits=[Limit(5, "overheadPercent")],
        check=equal,
        figures={
            "overheadPercent": "% of wall time more than the trials take",
            "cpuSeconds": "CPU seconds of the searching process",
        },
    )
