"""Texts to typed values: numbers, moments and truth values, in the notations people use.

Every function takes the distinct texts of a column and returns an array of the same length, null
where a text does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from modelyard.api.dataset import FALSE_TEXTS, TRUE_TEXTS

from modelyard_runtimes.tables.rows import MOMENT, TEXT

EXACT = 2**53
"""Whole numbers below it are exact as floats."""


class Notation(NamedTuple):
    """One way of writing a value.

    Attributes:
        label: How it is called in a reason.
        pattern: Regular expression (RE2) that texts in this notation match whole.
        rewrites: Replacements (pattern, by) that turn such a text into the plain notation.
    """

    label: str
    pattern: str
    rewrites: tuple[tuple[str, str], ...] = ()


NUMBERS = (
    Notation("numbers", r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", ((r"^\+", ""),)),
    Notation(
        "numbers with thousands separator, currency or percent sign",
        r"([+-]?[$€£]? ?|[$€£] ?[+-])([1-9]\d{0,2}(,\d{3})+|\d+)(\.\d+)? ?[€%]?",
        ((r"[$€£%, +]", ""),),
    ),
    Notation(
        "numbers with decimal comma",
        r"[+-]?([1-9]\d{0,2}(\.\d{3})+|\d+)(,\d+)? ?[€%]?",
        ((r"[.€% +]", ""), (",", ".")),
    ),
)

_TIME = r"([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?( ?(Z|UTC|[+-]\d{2}:?\d{2}))?)?"
_PAD = ((r"-(\d)([-T ]|$)", r"-0\1\2"), (r"-(\d)([T ]|$)", r"-0\1\2"))
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_BY_NAME = tuple((rf"(?i)-{month}[a-z]*-", f"-{n:02d}-") for n, month in enumerate(_MONTHS, 1))
_ZONE = ((r" ?(Z|UTC)$", "Z"), (r" ([+-]\d{2}:?\d{2})$", r"\1"))

MOMENTS = (
    Notation("ISO dates", rf"\d{{4}}-\d{{2}}(-\d{{2}}{_TIME})?", _ZONE),
    Notation(
        "dates year/month/day",
        rf"\d{{4}}/\d{{1,2}}/\d{{1,2}}{_TIME}",
        ((r"^(\d+)/(\d+)/(\d+)", r"\1-\2-\3"), *_PAD, *_ZONE),
    ),
    Notation(
        "dates month/day/year",
        rf"(0?[1-9]|1[0-2])/\d{{1,2}}/\d{{4}}{_TIME}",
        ((r"^(\d+)/(\d+)/(\d+)", r"\3-\1-\2"), *_PAD, *_ZONE),
    ),
    Notation(
        "dates day/month/year",
        rf"\d{{1,2}}/(0?[1-9]|1[0-2])/\d{{4}}{_TIME}",
        ((r"^(\d+)/(\d+)/(\d+)", r"\3-\2-\1"), *_PAD, *_ZONE),
    ),
    Notation(
        "dates day.month.year",
        rf"\d{{1,2}}\.(0?[1-9]|1[0-2])\.\d{{4}}{_TIME}",
        ((r"^(\d+)\.(\d+)\.(\d+)", r"\3-\2-\1"), *_PAD, *_ZONE),
    ),
    Notation(
        "dates with the month's name",
        rf"\d{{1,2}}[- ](?i:{'|'.join(_MONTHS)})[a-z]*[- ]\d{{4}}{_TIME}",
        ((r"^(\d+)[- ](\w+)[- ](\d+)", r"\3-\2-\1"), *_BY_NAME, *_PAD, *_ZONE),
    ),
    Notation(
        "dates that begin with the month's name",
        rf"(?i:{'|'.join(_MONTHS)})[a-z]*[- ]\d{{1,2}}(, |[- ])\d{{4}}{_TIME}",
        ((r"^(\w+)[- ](\d+)(, |[- ])(\d+)", r"\4-\1-\2"), *_BY_NAME, *_PAD, *_ZONE),
    ),
    Notation(
        "quarters of a year",
        r"\d{4}[- ]?[Qq][1-4]",
        (
            (r"[- ]?[Qq]1$", "-01"),
            (r"[- ]?[Qq]2$", "-04"),
            (r"[- ]?[Qq]3$", "-07"),
            (r"[- ]?[Qq]4$", "-10"),
        ),
    ),
    Notation(
        "dates yearmonthday",
        r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
        ((r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3"),),
    ),
)


class Conversion(NamedTuple):
    """Typed values and the notation they were written in."""

    values: pa.Array
    label: str


def matches(texts: pa.Array, pattern: str) -> pa.Array:
    """Return where whole texts match a regular expression (RE2, in linear time); null for null.

    Raises:
        pa.ArrowInvalid: the pattern is not one.
    """
    return pc.match_substring_regex(texts, pattern=rf"\A(?:{pattern})\z")


def to_numbers(texts: pa.Array) -> Conversion:
    """Return int64 where all numbers are whole, else float64."""
    return _best(texts, NUMBERS, _parse_floats, _narrow)


def to_moments(texts: pa.Array) -> Conversion:
    """Return timestamps in UTC; the first notation that fits most texts is taken for all."""
    return _best(texts, MOMENTS, _parse_moments, _as_is)


def to_booleans(texts: pa.Array) -> Conversion:
    """Return truth values of true/false, yes/no, on/off, 1/0, whatever their case."""
    lower = pc.utf8_lower(texts)
    true = pc.is_in(lower, value_set=pa.array(TRUE_TEXTS, TEXT))
    known = pc.is_in(lower, value_set=pa.array(TRUE_TEXTS + FALSE_TEXTS, TEXT))
    return Conversion(pc.if_else(known, true, pa.scalar(None, pa.bool_())), "truth values")


def _best(
    texts: pa.Array,
    notations: tuple[Notation, ...],
    parse: Callable[[pa.Array], pa.Array],
    finish: Callable[[pa.Array, pa.Array], pa.Array],
) -> Conversion:
    """Convert by the notation that most texts fit; the first one of equals."""
    best: tuple[pa.Array, pa.Array, Notation] | None = None
    wanted = len(texts) - texts.null_count
    for notation in notations:
        plain = _rewritten(texts, notation)
        if best is not None and len(plain) - plain.null_count <= len(best[0]) - best[0].null_count:
            continue
        values = parse(plain)
        if best is None or values.null_count < best[0].null_count:
            best = (values, plain, notation)
        if len(values) - values.null_count == wanted:
            break
    if best is None:
        raise AssertionError("no notation given")
    values, plain, notation = best
    return Conversion(finish(values, plain), notation.label)


def _rewritten(texts: pa.Array, notation: Notation) -> pa.Array:
    fitting = pc.if_else(matches(texts, notation.pattern), texts, pa.scalar(None, TEXT))
    for pattern, by in notation.rewrites:
        fitting = pc.replace_substring_regex(fitting, pattern=pattern, replacement=by)
    return fitting


def _parse_floats(plain: pa.Array) -> pa.Array:
    values = plain.cast(pa.float64())
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def _narrow(values: pa.Array, plain: pa.Array) -> pa.Array:
    """Return whole numbers as int64, also those that a float cannot hold exactly."""
    numbers = values.drop_null().to_numpy(zero_copy_only=False)
    if not np.all(numbers == np.trunc(numbers)):
        return values
    if np.all(np.abs(numbers) < EXACT):
        return values.cast(pa.int64())
    if not pc.all(matches(plain, r"-?\d{1,19}")).as_py():
        return values
    try:
        return plain.cast(pa.int64())
    except pa.ArrowInvalid:  # beyond 2**63
        return values


def _parse_moments(plain: pa.Array) -> pa.Array:
    if plain.null_count == len(plain):
        return pa.nulls(len(plain), MOMENT)
    series: Any = pd.Series(plain.to_pandas(), dtype="object")
    moments = pd.to_datetime(series, format="ISO8601", utc=True, errors="coerce")
    return pa.array(moments.dt.tz_localize(None), MOMENT, from_pandas=True, safe=False)


def _as_is(values: pa.Array, _plain: pa.Array) -> pa.Array:
    return values
