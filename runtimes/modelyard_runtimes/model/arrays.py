"""Reads the arrays that members of a packed model are made of."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from modelyard_runtimes.model.errors import ModelError
from modelyard_runtimes.model.schema import Floats


def read_array(stream: BinaryIO) -> Floats:
    """Return the next array of a stream in NumPy's own format.

    Raises:
        ModelError: there is none, or one of objects, or larger than memory.
    """
    try:
        return np.asarray(np.load(stream, allow_pickle=False), dtype=np.float64)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise ModelError("it does not hold the numbers of a member") from error
