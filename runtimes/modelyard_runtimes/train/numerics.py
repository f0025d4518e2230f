"""What numeric libraries read when they are loaded, set so that their sums have one order.

One thread a process: parallelism is between trials. And the same kernels of OpenBLAS on every
x86-64 processor of the last ten years: by itself it chooses them by the model of the processor, so
that a run would end in other bytes on another machine. On a Ray cluster the driver's processor
decides for all nodes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_SINGLE_THREADED = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}

_KERNELS = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512"}
"""Kernels that need `_INSTRUCTIONS`, and the kibibytes of cache that they are told of: where some
versions of OpenBLAS find 1024, these kernels take the blocks of others (its issue 6021)."""

_INSTRUCTIONS = frozenset({"avx2", "fma"})


@cache
def numerics(cpuinfo: Path = Path("/proc/cpuinfo")) -> Mapping[str, str]:
    """Return the variables to set, by what the processor can do.

    Args:
        cpuinfo: Where Linux tells of it.
    """
    return {**_SINGLE_THREADED, **(_KERNELS if _flags(cpuinfo) >= _INSTRUCTIONS else {})}


def _flags(cpuinfo: Path) -> frozenset[str]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    return next(
        (frozenset(line.split()) for line in lines if line.startswith("flags")), frozenset()
    )


def fix_numerics() -> None:
    """Have this process compute so; numeric libraries must not be loaded yet."""
    for name in _KERNELS:
        os.environ.pop(name, None)
    os.environ.update(numerics())


@contextmanager
def fixed_numerics() -> Iterator[None]:
    """Have processes that are started meanwhile compute so."""
    before = {name: os.environ.get(name) for name in numerics()}
    os.environ.update(numerics())
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
