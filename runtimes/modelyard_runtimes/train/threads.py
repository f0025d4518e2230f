"""One thread a process: parallelism is between trials, and sums have one order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

SINGLE_THREADED = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


@contextmanager
def single_threaded() -> Iterator[None]:
    """Make processes that are started meanwhile single-threaded."""
    before = {name: os.environ.get(name) for name in SINGLE_THREADED}
    os.environ.update(SINGLE_THREADED)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
