"""Reads the arrays that members of a packed model are made of."""

from __future__ import annotations

from tokenize import TokenError
from typing import BinaryIO

import numpy as np

from modelyard_runtimes.model.errors import ModelError
from modelyard_runtimes.model.schema import Floats

_UNREADABLE = (ValueError, TypeError, SyntaxError, TokenError, EOFError, OSError)
"""What NumPy raises at bytes that are no array, or the head of none."""
_NO_NUMBERS = "it does not hold the numbers of a member"


def read_array(stream: BinaryIO) -> Floats:
    """Return the next array of a stream in NumPy's own format.

    Raises:
        ModelError: there is none, or one of something else, or larger than memory.
    """
    try:
        found = np.lib.format.read_array(stream, allow_pickle=False)
    except (*_UNREADABLE, MemoryError) as error:
        raise ModelError(_NO_NUMBERS) from error
    if found.dtype.kind != "f":
        raise ModelError(_NO_NUMBERS)
    return np.asarray(found, dtype=np.float64)
