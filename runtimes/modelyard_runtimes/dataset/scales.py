"""Recognises texts that are steps of a scale, such as low, medium, high, or ranges of numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

LEAST_STEPS = 3
"""Two steps are no more than two categories."""
MOST_STEPS = 40
LONGEST_STEP = 40
"""Characters."""

_SCALES: tuple[tuple[str, ...], ...] = tuple(
    tuple(scale.split(", "))
    for scale in (
        "none, very low, low, medium, high, very high, critical",
        "none, very low, low, moderate, high, very high, critical",
        "lowest, low, normal, high, highest, critical, urgent",
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
    )
)
"""Words in wide use, the lowest first; a column need not have all of a scale."""

_NUMBER = r"[$€£]? ?((?!0\d)(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?) ?([km])? ?[%€]?"
_STEP = re.compile(
    rf"(<=?|under |below |less than |up to )?(>=?|over |above |more than )? ?{_NUMBER}"
    rf"(?: ?(?:-|\u2013|to) ?{_NUMBER})?"
    r"( ?\+| (?:and|or) (?:over|above|older|more))?"
    r"(?: ?(year|yr|month|day|hour)s?)?( ?\+)?"
)
"""Numbers that begin with 0 are codes."""
_FACTORS = {None: 1.0, "k": 1e3, "m": 1e6}


class _Range(NamedTuple):
    """A step that is made of numbers.

    Attributes:
        low: Where it begins.
        high: Where it ends; equal to `low` for a single number.
        text: How it is written.
        telling: Whether a word or sign says that it is a quantity.
        unit: Its unit, or nothing.
    """

    low: float
    high: float
    text: str
    telling: bool
    unit: str


def order_of(texts: Sequence[str], least: int = LEAST_STEPS) -> tuple[str, ...]:
    """Return texts that are steps of a scale, the lowest first; nothing where they are none.

    Args:
        texts: The distinct texts of a column.
        least: How many steps there must be.
    """
    if not least <= len(texts) or any(len(text) > LONGEST_STEP for text in texts):
        return ()
    by_word = {" ".join(re.split(r"[\s_-]+", text.strip().casefold())): text for text in texts}
    for scale in _SCALES:
        if len(by_word) == len(texts) and by_word.keys() <= set(scale):
            return tuple(by_word[step] for step in scale if step in by_word)
    ranges = [_range_of(text) for text in texts]
    return _in_order([one for one in ranges if one is not None]) if None not in ranges else ()


def _in_order(ranges: Sequence[_Range]) -> tuple[str, ...]:
    """Return steps of numbers that follow each other without an overlap.

    Where nothing says that they are quantities, codes such as 31-33 and 44-45 might look alike:
    then all are ranges, and each begins where the one before ends.
    """
    found = sorted(ranges)
    spans = [one.low < one.high for one in found]
    if len({one.unit for one in found if one.unit}) > 1 or not any(spans):
        return ()
    for one, following in pairwise(found):
        if one.high > following.low or (one.low, one.high) == (following.low, following.high):
            return ()
    if not any(one.telling for one in found):
        gaps = [following.low - one.high for one, following in pairwise(found)]
        if not all(spans) or max(gaps) > 1:
            return ()
    return tuple(one.text for one in found)


def _range_of(text: str) -> _Range | None:
    """Return the range that a text tells; None where it tells none."""
    matched = _STEP.fullmatch(text.strip().casefold())
    if matched is None:
        return None
    below, above, first, times, last, last_times, more, unit, plus = matched.groups()
    low = _number(first, times)
    signs = [sign for sign in (below, above, more, plus) if sign]
    if len(signs) > 1 or (signs and last is not None):
        return None
    if signs:
        ends = (-math.inf, low) if below else (low, math.inf)
    else:
        ends = (low, low if last is None else _number(last, last_times))
    if ends[0] > ends[1]:
        return None
    return _Range(*ends, text, bool(signs or unit), unit or "")


def _number(digits: str, times: str | None) -> float:
    return float(digits.replace(",", "")) * _FACTORS[times]
