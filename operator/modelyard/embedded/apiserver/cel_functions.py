"""The CEL functions that Kubernetes rules may call beyond the language's core.

`FUNCTIONS` maps a function's name to its implementation; receivers come as first arguments.
"""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from modelyard.embedded.apiserver.cel_engine import stdlib

NATIVE = frozenset(
    [
        "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string",
        "bytes", "timestamp", "duration", "dyn", "type", "has", "hasValue", "value", "orValue",
        "or", "of", "none", "ofNonZeroValue", "getFullYear", "getMonth", "getDate",
        "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds",
        "getMilliseconds", "@in", "@not_strictly_false", "_&&_", "_||_", "!_", "-_", "_?_:_",
        "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_", "_*_", "_/_", "_%_", "_[_]",
        "all", "exists", "exists_one", "map", "filter",
    ]
)  # fmt: skip
"""What the package evaluates by itself, operators included."""

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal("1e3"), "M": Decimal("1e6"), "G": Decimal("1e9"), "T": Decimal("1e12"),
    "P": Decimal("1e15"), "E": Decimal("1e18"),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(
    r"^([+-]?\d*\.?\d+(?:[eE][+-]?\d+)?|[+-]?\d+\.?)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?)$"
)


def quantity(text: str) -> float:
    """A resource quantity such as `500m` or `2Gi` as a number.

    Raises:
        ValueError: If it is not a quantity.
    """
    matched = _QUANTITY.match(text)
    if matched is None:
        raise ValueError(f"not a quantity: {text}")
    try:
        return float(Decimal(matched[1]) * _SUFFIXES[matched[2]])
    except InvalidOperation:
        raise ValueError(f"not a quantity: {text}") from None


def is_quantity(text: str) -> bool:
    """Whether `quantity` would accept the text."""
    return _QUANTITY.match(text) is not None


def is_url(text: str) -> bool:
    """Whether the text is an absolute URL or an absolute path."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) or text.startswith("/")


def is_sorted(items: list[Any]) -> bool:
    """Whether a list is in ascending order."""
    return all(a <= b for a, b in pairwise(items))


def find(text: str, pattern: str) -> str:
    """The first match of a pattern, or the empty string."""
    matched = re.search(pattern, text)
    return matched[0] if matched else ""


def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    """All matches of a pattern, at most `limit` unless negative."""
    matches = [matched[0] for matched in re.finditer(pattern, text)]
    return matches if limit < 0 else matches[:limit]


def index_of(sequence: Any, wanted: Any, offset: int = 0) -> int:
    """The first index of an item of a list, or of a part of a string; -1 if absent."""
    if isinstance(sequence, str):
        return sequence.find(wanted, offset)
    return sequence.index(wanted) if wanted in sequence else -1


def last_index_of(sequence: Any, wanted: Any) -> int:
    """The last index of an item of a list, or of a part of a string; -1 if absent."""
    if isinstance(sequence, str):
        return sequence.rfind(wanted)
    return len(sequence) - 1 - sequence[::-1].index(wanted) if wanted in sequence else -1


def compare(first: float, second: float) -> int:
    """-1, 0 or 1 as the first quantity is less than, equal to or greater than the second."""
    return (first > second) - (first < second)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: call for name, call in stdlib.STDLIB_FUNCTIONS.items() if name != "contains"},
    "isSorted": is_sorted,
    "indexOf": index_of,
    "lastIndexOf": last_index_of,
    "find": find,
    "findAll": find_all,
    "isURL": is_url,
    "quantity": quantity,
    "isQuantity": is_quantity,
    "isGreaterThan": lambda first, second: first > second,
    "isLessThan": lambda first, second: first < second,
    "compareTo": compare,
    "asApproximateFloat": lambda value: value,
}

KNOWN = NATIVE | {name.rsplit(".", 1)[-1] for name in FUNCTIONS}
"""All function names that a rule may use, without their namespaces."""
