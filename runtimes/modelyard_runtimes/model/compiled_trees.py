"""One row through the trees of a file that `compile_trees` wrote: code and tables, no arrays.

The file is mapped: what it holds is read where it is looked up, and costs no memory that could not
be had back. A row gets the numbers that LightGBM gives it, to the last bit: leaves are added up in
the same order, and what comes after is computed by the same C library.
"""

from __future__ import annotations

import ctypes
import json
import math
import mmap
import os
import struct
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

from modelyard_runtimes.model.kernel import Arguments

TABLES = ("tests", "thresholds", "table", "first", "leaves")
"""Tables of `forest.Forest`, which are arguments of the code by the same names."""
HEADER_BYTES = 1024
"""Where the tables begin; the JSON before them is padded with spaces."""

_Link = Callable[[Sequence[float]], Sequence[float]]


class Header(NamedTuple):
    """What a file holds. Places are counted in bytes from its start.

    Attributes:
        columns: Numbers in a row.
        outputs: Numbers that it gets.
        objective: What becomes of the sums of leaves, by LightGBM's name.
        sigmoid: The slope of two classes' logistic function.
        divisor: What the sums are divided by, if anything.
        places: Places of the tables by their name in TABLES.
        test_count: Number of tests.
        words: Words in a row of the table.
        trees: Number of trees.
        code: Place of the code, which begins a page and ends the file.
        size: Bytes of the file.
    """

    columns: int
    outputs: int
    objective: str
    sigmoid: float
    divisor: float | None
    places: dict[str, int]
    test_count: int
    words: int
    trees: int
    code: int
    size: int

    def to_bytes(self) -> bytes:
        """Return it as it stands in the file."""
        return json.dumps(self._asdict()).encode().ljust(HEADER_BYTES)


class CompiledTrees:
    """The trees of a LightGBM model text, compiled; several threads may use them."""

    def __init__(self, path: Path) -> None:
        """Map a file that `compile_trees` wrote, which nobody changes any more.

        Args:
            path: The file; it may be removed afterwards.

        Raises:
            OSError: it cannot be read, or its code may not be run.
        """
        with path.open("rb") as file:
            header = Header(**json.loads(file.read(HEADER_BYTES)))
            tables = self._map(file.fileno(), 0, header.code, mmap.PROT_READ)
            runnable = mmap.PROT_READ | mmap.PROT_EXEC
            code = self._map(file.fileno(), header.code, header.size - header.code, runnable)
        self._row = (ctypes.c_double * header.columns)()
        self._sums = (ctypes.c_double * header.outputs)()
        self._found = (ctypes.c_int64 * header.test_count)()
        self._left = (ctypes.c_uint32 * header.words)()
        self._arguments = Arguments(
            rows=ctypes.addressof(self._row),
            count=1,
            width=header.columns,
            test_count=header.test_count,
            words=header.words,
            trees=header.trees,
            outputs=header.outputs,
            **{name: tables + place for name, place in header.places.items()},
            found=ctypes.addressof(self._found),
            left=ctypes.addressof(self._left),
            sums=ctypes.addressof(self._sums),
        )
        self._place = ctypes.addressof(self._arguments)
        # It keeps the interpreter's lock, which would cost more to get back.
        self._evaluate = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(code)
        self._pack = struct.Struct(f"{header.columns}d").pack_into
        self._unpack = struct.Struct(f"{header.outputs}d").unpack
        self._link = _link(header)
        self._one = threading.Lock()

    def predict_one(self, row: Sequence[float]) -> Sequence[float]:
        """Return the `outputs` numbers of one row."""
        with self._one:
            self._pack(self._row, 0, *row)
            self._evaluate(self._place)
            sums = self._unpack(self._sums)
        return self._link(sums)

    def _map(self, descriptor: int, start: int, size: int, access: int) -> int:
        """Return where a part of a file is mapped, for as long as this object is there."""
        libc = _libc()
        address = libc.mmap(None, size, access, mmap.MAP_PRIVATE, descriptor, start)
        if address == ctypes.c_void_p(-1).value:
            number = ctypes.get_errno()
            raise OSError(number, f"its code cannot be mapped: {os.strerror(number)}")
        weakref.finalize(self, libc.munmap, address, size)
        return cast(int, address)


@cache
def _libc() -> ctypes.CDLL:
    """Return the C library; the module `mmap` does not tell where it maps what is only read."""
    libc = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_long]
    libc.mmap.restype = pointer
    libc.munmap.argtypes = [pointer, size]
    return libc


def _link(header: Header) -> _Link:
    """Return what makes a row's numbers of the sums of its leaves, as `forest.Link` does."""
    linked: _Link = tuple
    if header.objective == "binary":
        linked = _logistic(header.sigmoid)
    elif header.objective == "multiclass":
        linked = _softmax
    divisor = header.divisor
    if divisor is None:
        return linked
    return lambda sums: linked([total / divisor for total in sums])


def _logistic(slope: float) -> _Link:
    def probability(sums: Sequence[float]) -> Sequence[float]:
        try:
            return (1.0 / (1.0 + math.exp(-slope * sums[0])),)
        except OverflowError:  # where C's is infinite
            return (0.0,)

    return probability


def _softmax(sums: Sequence[float]) -> Sequence[float]:
    highest = max(sums)
    exponentials = [math.exp(one - highest) for one in sums]
    total = 0.0
    for one in exponentials:  # `sum` corrects for what is rounded off, which LightGBM does not
        total += one
    return [one / total for one in exponentials]
