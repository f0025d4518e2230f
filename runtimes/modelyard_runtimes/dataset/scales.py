"""Recognises texts that are steps of a scale, such as low, medium, high, or ranges of numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

LEAST_STEPS = 3
"""Fewer steps are no more than two categories, and letters such as S and M may mean anything."""
MOST_STEPS = 40

_SCALES: tuple[tuple[str, ...], ...] = tuple(
    tuple(scale.split(", "))
    for scale in (
        "none, very low, low, medium, high, very high, critical",
        "none, very low, low, moderate, high, very high, critical",
        "lowest, low, normal, high, highest, urgent",
        "none, minimal, mild, moderate, severe, very severe, critical",
        "minor, moderate, major, critical",
        "tiny, extra small, small, medium, large, extra large, huge",
        "xxs, xs, s, m, l, xl, xxl, xxxl",
        "very poor, poor, fair, average, good, very good, excellent, outstanding",
        "very bad, bad, average, good, very good, excellent",
        "never, rarely, seldom, sometimes, often, usually, always",
        "never, rarely, occasionally, sometimes, frequently, often, very often, always",
        "strongly disagree, disagree, neutral, agree, strongly agree",
        "strongly disagree, disagree, neither agree nor disagree, agree, strongly agree",
        "very dissatisfied, dissatisfied, neutral, satisfied, very satisfied",
        "very unlikely, unlikely, neutral, likely, very likely",
        "beginner, elementary, intermediate, advanced, expert",
        "junior, intermediate, senior, lead",
        "first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, tenth",
        "1st, 2nd, 3rd, 4th, 5th, 6th, 7th, 8th, 9th, 10th",
        "bronze, silver, gold, platinum, diamond",
    )
)
"""Words in wide use, the lowest first; a column need not have all of a scale."""

_NUMBER = r"[$€£]? ?(\d[\d,]*\.?\d*) ?[%€]?"
_RANGE = re.compile(
    rf"(?:(<=?|under |below |less than |up to )|(>=?|over |above |more than ))? ?{_NUMBER}"
    rf"(?: ?(?:-|\u2013|to) ?{_NUMBER})?( ?\+| and (?:over|above|older|more)| or (?:more|older))?"
    r"(?: ?(?:years?|yrs?))?"
)


def order_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Return texts that are steps of a scale, the lowest first; nothing where they are none.

    Args:
        texts: The distinct texts of a column.
    """
    by_word = {text.strip().casefold(): text for text in texts}
    if not LEAST_STEPS <= len(texts) == len(by_word):
        return ()
    for scale in _SCALES:
        if by_word.keys() <= set(scale):
            return tuple(by_word[step] for step in scale if step in by_word)
    return _order_of_ranges(by_word)


def _order_of_ranges(by_word: dict[str, str]) -> tuple[str, ...]:
    """Return ranges of numbers that follow each other without an overlap."""
    found: list[tuple[float, float, str]] = []
    for word, text in by_word.items():
        ends = _ends(word)
        if ends is None:
            return ()
        found.append((*ends, text))
    found.sort()
    spans = any(low < high for low, high, _ in found)
    apart = all(
        high <= low and (lower, high) != (low, higher)
        for (lower, high, _), (low, higher, _) in pairwise(found)
    )
    return tuple(text for _, _, text in found) if spans and apart else ()


def _ends(word: str) -> tuple[float, float] | None:
    """Return the ends of a range, a single number as both; None where it is none."""
    matched = _RANGE.fullmatch(word)
    if matched is None:
        return None
    below, above, first, last, more = matched.groups()
    low = float(first.replace(",", ""))
    if below or above or more:
        if last is not None:
            return None
        return (float("-inf"), low) if below else (low, float("inf"))
    high = low if last is None else float(last.replace(",", ""))
    return (low, high) if low <= high else None
