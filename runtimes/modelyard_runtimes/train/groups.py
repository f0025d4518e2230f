"""The groups that fairness is measured between."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.model.schema import Floats

MAX_GROUPS = 10
"""Numbers with more different values than this are compared by quarters."""

MISSING = "(missing)"


def groups_of(values: list[Any]) -> list[str]:
    """Return the group of each row: its value, or for many numbers the quarter it lies in."""
    present = [value for value in values if value is not None]
    numeric = all(isinstance(value, int | float) for value in present)
    if numeric and len(set(present)) > MAX_GROUPS:
        edges = np.unique(np.quantile(np.array(present, np.float64), [0, 0.25, 0.5, 0.75, 1]))
        names = _names(edges)
        return [
            MISSING if value is None else names[_quarter(float(value), edges)] for value in values
        ]
    return [MISSING if value is None else category_text(value) for value in values]


def _names(edges: Floats) -> list[str]:
    """Return the name of each quarter, in few digits where these tell all edges apart."""
    texts = [f"{edge:g}" for edge in edges]
    if len(set(texts)) < len(edges):
        texts = [category_text(edge) for edge in edges]
    # Integers that are all one float have one edge, and are one group.
    return [f"{low} to {high}" for low, high in zip(texts, texts[1:] or texts, strict=False)]


def _quarter(value: float, edges: Floats) -> int:
    return min(int(np.searchsorted(edges, value, side="right")) - 1, len(edges) - 2)
