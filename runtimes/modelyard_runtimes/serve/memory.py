"""The memory of this process: how much it has, and which models have to leave for another one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

_PAGE = os.sysconf("SC_PAGE_SIZE")
Holder = TypeVar("Holder")


class Held(NamedTuple):
    """What holds memory.

    Attributes:
        size: Its bytes.
        used: When it was used last: the larger, the later.
    """

    size: int
    used: int


def leaving(held: Iterable[tuple[Holder, Held]], needed: int, budget: int) -> list[Holder]:
    """Return what has to leave so that as much as is needed fits: what was not used for longest.

    All leave where even that is not enough.
    """
    oldest_first = sorted(held, key=lambda found: found[1].used)
    excess = sum(found.size for _, found in oldest_first) + needed - budget
    leaves = []
    for holder, found in oldest_first:
        if excess <= 0:
            break
        leaves.append(holder)
        excess -= found.size
    return leaves


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def give_back() -> None:
    """Give memory that was freed back to the system, where the C library can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def shown(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / 2**20:.0f} MiB" if size >= 10 * 2**20 else f"{size / 2**20:.1f} MiB"
