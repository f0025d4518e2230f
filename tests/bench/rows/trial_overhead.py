"""What a trial costs besides its own work: ours, durable, against a plain pool under Optuna."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

TRIALS, WORKERS = 300, 2
LEARNERS = ("LightGBM", "Linear", "ExtraTrees")


def modelyard() -> dict[str, float]:
    """Search with the pool of warm processes and the trial log on the disk."""
    from modelyard.api.experiment import Search
    from modelyard_runtimes.train.executor import ProcessPool
    from searches import NoOp, WithoutWork, disk_store, rows, search

    with disk_store() as store, tempfile.TemporaryDirectory() as folder:
        rows(100).save(Path(folder))
        pool = ProcessPool(WORKERS, Path(folder), 600)
        for number in range(10 * WORKERS):
            pool.submit(number, NoOp(number, {}))
            pool.wait()
        declared = Search(trials=TRIALS, learners=list(LEARNERS))
        numbers = timed(lambda: search(store, WithoutWork(pool), declared, WORKERS))
        pool.close()
    return numbers


def nothing(number: int) -> float:
    """Do the work of a trial in a pool's process."""
    from searches import loss

    return loss(number)


def optuna_pool(storage: Any) -> dict[str, float]:
    """Ask and tell one study over all families, as Optuna's documentation has it."""
    import optuna
    from searches import suggest

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=1)
    study = optuna.create_study(sampler=sampler, storage=storage)

    def run() -> None:
        running: dict[Future[float], optuna.Trial] = {}
        for number in range(TRIALS):
            if len(running) == WORKERS:
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    study.tell(running.pop(future), future.result())
            trial = study.ask()
            suggest(trial, LEARNERS)
            running[pool.submit(nothing, number)] = trial
        for future, trial in running.items():
            study.tell(trial, future.result())

    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(nothing, range(10 * WORKERS)))
        return timed(run)


def optuna_journal() -> dict[str, float]:
    """Do the same with Optuna's journal on the disk."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from searches import disk_folder

    with disk_folder() as folder:
        return optuna_pool(JournalStorage(JournalFileBackend(str(folder / "journal"))))


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Return milliseconds a trial, of the wall and of this process."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return {
        "milliseconds": (time.perf_counter() - start) / TRIALS * 1000,
        "cpuMilliseconds": (time.process_time() - cpu) / TRIALS * 1000,
    }


def equal(ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Say what the sides have in common."""
    return (
        f"All sides run {TRIALS} trials, {WORKERS} at once, over the same families and "
        f"hyperparameters, told the same losses, under a load of {os.getloadavg()[0]:.1f}."
    )


SIDES: Mapping[str, Callable[[], dict[str, float]]] = {
    "modelyard": modelyard,
    "optuna": lambda: optuna_pool(None),
    "optuna-journal": optuna_journal,
}

if __name__ == "__main__":
    print(json.dumps(SIDES[sys.argv[1]]()))
elif __name__ != "__mp_main__":
    from frame import Goal, Limit, Row

    ROW = Row(
        title="Overhead of a trial",
        work=f"{TRIALS} trials that do nothing, {WORKERS} at once in warm processes, proposed by "
        "TPE. Ours keeps every ended trial on the disk, synced, before it counts. `optuna` is a "
        "`ProcessPoolExecutor` under ask and tell with Optuna's default TPESampler, and keeps "
        "nothing; `optuna-journal` the same with Optuna's journal file.",
        peers={"optuna": [], "optuna-journal": []},
        goals=[Goal("optuna", 2, "milliseconds"), Goal("optuna-journal", 2, "milliseconds")],
        limits=[Limit(5, "milliseconds")],
        check=equal,
        figures={
            "milliseconds": "ms a trial",
            "cpuMilliseconds": "CPU ms of the searching process",
        },
    )
