"""A search of trials that only take time, in a process of its own, as each Experiment's is.

`python -m tests.train.sleeping_search STORE` says `ready`, waits for a line, and prints what it took as JSON.
"""

from __future__ import annotations

import json
import sys
import time

from modelyard.api.experiment import Search
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.store import open_store

from tests.bench.searches import Simulated, search

TRIALS, PLACES, SECONDS = 400, 100, 5.0
DECLARED = Search(trials=TRIALS, learners=["LightGBM", "Linear", "ExtraTrees"])


class Staggered(Simulated):
    """As many places as trials may run at once.

    The first trial of each place takes a part of the time only, so that trials end all the time
    and not all at once: each place is done with its last one by the same moment at the latest.

    Attributes:
        started: Numbers of the trials that ran here.
    """

    def __init__(self) -> None:
        super().__init__(SECONDS)
        self.started: list[int] = []

    def seconds(self, number: int) -> float:
        """Return how long a trial takes."""
        self.started.append(number)
        return SECONDS * (number + 1) / PLACES if number < PLACES else SECONDS


def main(store: str) -> None:
    """Search and tell how it went."""
    places = Staggered()
    opened = open_store(StoreConfig(uri=store))
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    search(opened, places, DECLARED, PLACES)
    print(json.dumps({"seconds": time.perf_counter() - start, "started": places.started}))


if __name__ == "__main__":
    main(sys.argv[1])
