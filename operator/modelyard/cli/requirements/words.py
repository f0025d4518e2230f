"""English words, as far as column names must be found in sentences."""

from __future__ import annotations

import re

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+")
_ENDINGS = ("ations", "ation", "ings", "ing", "ived", "ive", "als", "al", "ied", "ies", "ers", "er")
_SHORT_ENDINGS = ("ed", "es", "s", "e", "y")
_STEM = 3


def words(text: str) -> list[str]:
    """Return the words of a text or of a column name (`totalRooms`, `total_rooms`), lower case."""
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", text))]


def stem(word: str) -> str:
    """Return a word without its ending, so that churn, churns, churned and churning agree."""
    for ending in (*_ENDINGS, *_SHORT_ENDINGS):
        if word.endswith(ending) and len(word) - len(ending) >= _STEM:
            return word[: -len(ending)].rstrip("e")
    return word


def mentions(text: str, name: str) -> bool:
    """Return whether all words of a column name stand next to each other in a text."""
    wanted = [stem(word) for word in words(name)]
    there = [stem(word) for word in words(text)]
    starts = range(len(there) - len(wanted) + 1)
    return bool(wanted) and any(there[i : i + len(wanted)] == wanted for i in starts)
