"""Evaluates trees through LightGBM's C API, straight from its shared library.

Importing the `lightgbm` package takes seconds, since it brings scikit-learn and pandas along;
predicting needs none of them. One row takes the C API's single-row path, which costs microseconds:
its buffers are made once, and it keeps the interpreter's lock, which would cost more to get back.
"""

from __future__ import annotations

import ctypes
import struct
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from modelyard_runtimes.model.errors import ModelError

if TYPE_CHECKING:
    from modelyard_runtimes.model.schema import Floats

# Constants of LightGBM's c_api.h.
_FLOAT64 = 1
_NORMAL = 0
_RAW = 1
_CONTRIBUTIONS = 3
_SPLITS = 0
_ALL_ITERATIONS = -1
CACHED_TREES = 500
"""So many trees at a time predict all rows: of thousands, as many classes have, each row would
find none in the processor's cache, which takes five times as long."""

_ROW_MAJOR = 1
_PARAMETERS = b"num_threads=1 verbosity=-1"

_DOUBLES = ctypes.POINTER(ctypes.c_double)


@cache
def library() -> ctypes.CDLL:
    """Return LightGBM's shared library.

    Raises:
        ModelError: LightGBM is not installed.
    """
    loaded = ctypes.CDLL(_library_path())
    loaded.LGBM_GetLastError.restype = ctypes.c_char_p
    return loaded


@cache
def _predict_single() -> Callable[..., int]:
    """Return the function that predicts one row while it keeps the interpreter's lock."""
    function = ctypes.PyDLL(_library_path()).LGBM_BoosterPredictForMatSingleRowFast
    function.argtypes = [ctypes.c_void_p] * 4
    function.restype = ctypes.c_int
    return cast(Callable[..., int], function)


def _library_path() -> str:
    spec = find_spec("lightgbm")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("lib/lib_lightgbm.*")):
            return str(path)
    raise ModelError("LightGBM's shared library is not installed; install the package lightgbm")


def _call(function: str, *arguments: object) -> None:
    if getattr(library(), function)(*arguments):
        raise _error()


def _error() -> ModelError:
    return ModelError(f"LightGBM: {library().LGBM_GetLastError().decode()}")


def parts(iterations: int, outputs: int) -> list[tuple[int, int]]:
    """Return first iteration and number of iterations of each part of at most `CACHED_TREES`."""
    step = max(1, CACHED_TREES // outputs)
    return [(start, min(step, iterations - start)) for start in range(0, max(iterations, 1), step)]


class Booster:
    """What LightGBM made of a model text.

    It is always asked for all of its trees: which of them predict is a state of the booster itself,
    and whoever asked for some would change what other threads get at the same time.

    Attributes:
        handle: The C API's.
        iterations: Trees for each output.
    """

    def __init__(self, text: bytes, columns: int) -> None:
        """Parse the text.

        Args:
            text: The model text.
            columns: Number of columns that rows have.

        Raises:
            ModelError: it is not a model text.
        """
        self._columns = columns
        self.handle = ctypes.c_void_p()
        iterations = ctypes.c_int()
        _call(
            "LGBM_BoosterLoadModelFromString",
            ctypes.c_char_p(text),
            ctypes.byref(iterations),
            ctypes.byref(self.handle),
        )
        weakref.finalize(self, library().LGBM_BoosterFree, self.handle)
        self.iterations = iterations.value

    def text(self, start: int, count: int) -> bytes:
        """Return the model text of some of its iterations."""
        length = ctypes.c_int64(1)
        for _ in range(2):  # the first answer tells how long the text is
            buffer = ctypes.create_string_buffer(length.value)
            _call(
                "LGBM_BoosterSaveModelToString",
                self.handle,
                ctypes.c_int(start),
                ctypes.c_int(count),
                ctypes.c_int(_SPLITS),
                ctypes.c_int64(len(buffer)),
                ctypes.byref(length),
                buffer,
            )
        return buffer.value

    def predict(self, rows: Floats, kind: int, width: int) -> Floats:
        """Return rows x `width`: predictions, raw scores or SHAP values."""
        import numpy as np  # noqa: PLC0415 - whoever has arrays has it loaded

        rows = np.ascontiguousarray(rows, dtype=np.float64)
        result = np.zeros((len(rows), width), dtype=np.float64)
        written = ctypes.c_int64()
        if len(rows):
            _call(
                "LGBM_BoosterPredictForMat",
                self.handle,
                rows.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(len(rows)),
                ctypes.c_int32(self._columns),
                ctypes.c_int(_ROW_MAJOR),
                ctypes.c_int(kind),
                ctypes.c_int(0),
                ctypes.c_int(_ALL_ITERATIONS),
                ctypes.c_char_p(_PARAMETERS),
                ctypes.byref(written),
                result.ctypes.data_as(_DOUBLES),
            )
        return result


class Trees:
    """The trees of a LightGBM model text; any number of threads may ask at once.

    Attributes:
        outputs: Numbers that a row gets: 1, or the number of classes.
        iterations: Trees for each output.
    """

    def __init__(self, text: bytes, columns: int) -> None:
        """Parse the text.

        Args:
            text: The model text.
            columns: Number of columns that rows have.

        Raises:
            ModelError: it is not a model text.
        """
        self._columns = columns
        self._booster = Booster(text, columns)
        self.iterations = self._booster.iterations
        classes = ctypes.c_int()
        _call("LGBM_BoosterGetNumClasses", self._booster.handle, ctypes.byref(classes))
        self.outputs = classes.value
        # Raw scores and SHAP values are those of the sum of trees, whatever the prediction is.
        averaged = b"\naverage_output\n" in text.partition(b"\nTree=")[0]
        self._terms = self.iterations if averaged else 1
        self._single = ctypes.c_void_p()
        _call(
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            self._booster.handle,
            ctypes.c_int(_NORMAL),
            ctypes.c_int(0),
            ctypes.c_int(_ALL_ITERATIONS),
            ctypes.c_int(_FLOAT64),
            ctypes.c_int32(columns),
            ctypes.c_char_p(_PARAMETERS),
            ctypes.byref(self._single),
        )
        weakref.finalize(self, library().LGBM_FastConfigFree, self._single)
        self._pack = struct.Struct(f"{columns}d").pack_into
        self._unpack = struct.Struct(f"{self.outputs}d").unpack
        self._row = (ctypes.c_double * columns)()
        self._written = ctypes.c_int64()
        self._result = (ctypes.c_double * self.outputs)()
        buffers = (self._row, self._written, self._result)
        self._arguments = (self._single.value, *map(ctypes.addressof, buffers))
        self._function = _predict_single()
        self._one = threading.Lock()
        self._parting = threading.Lock()
        self._parts: list[Booster] = []

    def predict(self, rows: Floats) -> Floats:
        """Return rows x `outputs` for rows x columns."""
        import numpy as np  # noqa: PLC0415 - whoever has arrays has it loaded

        if len(rows) == 1:
            return np.array([self.predict_one(rows[0].tolist())])
        return self._booster.predict(rows, _NORMAL, self.outputs)

    def predict_one(self, row: Sequence[float]) -> Sequence[float]:
        """Return the `outputs` numbers of one row."""
        with self._one:
            self._pack(self._row, 0, *row)
            if self._function(*self._arguments):
                raise _error()
            return self._unpack(self._result)

    def raw(self, rows: Floats) -> Floats:
        """Return rows x `outputs` before any link function."""
        first, *others = self._in_parts()
        total = first.predict(rows, _RAW, self.outputs)
        for part in others:
            total += part.predict(rows, _RAW, self.outputs)
        return total / self._terms

    def _in_parts(self) -> list[Booster]:
        """Return the trees in parts that predict all rows one after the other."""
        with self._parting:
            if not self._parts:
                self._parts = self._parted()
            return self._parts

    def _parted(self) -> list[Booster]:
        spans = parts(self.iterations, self.outputs)
        if len(spans) == 1:
            return [self._booster]
        return [Booster(self._booster.text(*span), self._columns) for span in spans]

    def contributions(self, rows: Floats) -> Floats:
        """Return SHAP values, rows x outputs x (columns + 1), the last the expected value.

        They add up to the output before any link function (Lundberg et al., "Consistent
        individualized feature attribution for tree ensembles", 2018; LightGBM's own).
        """
        width = self.outputs * (self._columns + 1)
        flat = self._booster.predict(rows, _CONTRIBUTIONS, width) / self._terms
        return flat.reshape(len(rows), self.outputs, self._columns + 1)
