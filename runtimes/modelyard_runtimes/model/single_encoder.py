"""Encodes one row without arrays, as `encoder.Encoder` does many."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from operator import add, mul, sub, truediv
from types import MappingProxyType
from typing import Any, Protocol

from modelyard_runtimes.model.format import (
    Bins,
    CategoricalEncoding,
    CategoryNumbers,
    CategoryPairNumbers,
    Derived,
    EncoderDocument,
    FeatureSchema,
    NumberPair,
    NumericEncoding,
)

_FLOATS = {float}
_PLAIN = {float, int, type(None)}
_BOOLEANS = {True: 1.0, False: 0.0, None: None}

Columns = Sequence[float]


class SingleEncoder(Protocol):
    """The transforms of an EncoderDocument.

    Attributes:
        width: Number of columns it makes.
    """

    width: int

    def encode(self, values: Sequence[Any]) -> Columns | None:
        """Return the columns of a row; None where a value is not plain."""
        ...


def single_encoder(features: Sequence[FeatureSchema], document: EncoderDocument) -> SingleEncoder:
    """Return what encodes a row.

    Args:
        features: Those of a row, in its order: what becomes a number first, then categories.
        document: The transforms, without words.
    """
    if _keeps_values(document):
        return _ValueEncoder(features, document)
    return _FullEncoder(features, document)


class _ValueEncoder:
    """Numbers stay, booleans and categories are looked up, and pairs of numbers are combined.

    It does what trees need, for which a full encoder takes several times as long as they do.
    """

    def __init__(self, features: Sequence[FeatureSchema], document: EncoderDocument) -> None:
        self._seen = _seen(features, document)
        self._numbers = len(document.numeric.fill)
        self._pairs = _pairs(document.numeric)
        seen = range(len(features)) if self._seen is None else self._seen
        self.width = len(seen) + len(self._pairs)
        levels = iter(document.categorical.levels)
        by_feature: list[Sequence[int]] = [
            # A category that is not seen may still be no list or object.
            next(levels) if position in seen else [0] * (len(feature.categories) + 2)
            for position, feature in enumerate(features)
            if feature.type == "Categorical"
        ]
        self._tables = _tables(features, by_feature)

    def encode(self, values: Sequence[Any]) -> Columns | None:
        row = _looked_up(self._tables, values)
        if row is not None and self._seen is not None:
            row = [row[position] for position in self._seen]
        if row is None or not self._pairs:
            return row
        numbers = [*map(float, row)]
        numbers[self._numbers : self._numbers] = _combined(self._pairs, numbers)
        return numbers


class _FullEncoder:
    """All transforms but words: imputation, scaling, hinges, spread categories, derived numbers."""

    def __init__(self, features: Sequence[FeatureSchema], document: EncoderDocument) -> None:
        categories = [len(one.categories) for one in features if one.type == "Categorical"]
        self._tables = _tables(features, [range(count + 2) for count in categories])
        self._numbers = len(features) - len(categories)
        self._selection = document.selection
        self._derived = [_derived(one) for one in document.derived]
        numeric = document.numeric
        self._scaling = list(zip(numeric.fill, numeric.mean, numeric.scale, strict=True))
        self._indicators = numeric.indicators
        self._hinges = [
            (column, knot) for column, knots in enumerate(numeric.knots) for knot in knots
        ]
        self._pairs = _pairs(numeric)
        self._levels = _Levels(document.categorical)
        self.width = (
            len(self._scaling)
            + len(self._indicators)
            + len(self._hinges)
            + len(self._pairs)
            + self._levels.width
        )

    def encode(self, values: Sequence[Any]) -> Columns | None:
        row = _looked_up(self._tables, values)
        if row is None:
            return None
        given, codes = [*map(float, row[: self._numbers])], [*map(int, row[self._numbers :])]
        numbers_seen, codes_seen = given, codes
        if self._selection is not None:
            numbers_seen = [given[column] for column in self._selection.numbers]
            codes_seen = [codes[column] for column in self._selection.codes]
        derived = [derive(given, codes) for derive in self._derived]
        seen = [*numbers_seen, *derived] if derived else numbers_seen
        isnan = math.isnan
        numbers = [
            ((fill if fill is not None and isnan(value) else value) - mean) / scale
            for value, (fill, mean, scale) in zip(seen, self._scaling, strict=True)
        ]
        return [
            *numbers,
            *(float(isnan(seen[column])) for column in self._indicators),
            # A missing number stays so, as by `numpy.maximum`.
            *(
                0.0 if (above := numbers[column] - knot) < 0.0 else above
                for column, knot in self._hinges
            ),
            *_combined(self._pairs, numbers),
            *self._levels.columns(codes_seen),
        ]


class _Levels:
    """Levels of categories, as numbers or as 0/1 columns."""

    def __init__(self, encoding: CategoricalEncoding) -> None:
        self._levels = encoding.levels
        self._is_spread = encoding.style == "OneHot"
        widths = [max(levels) + 1 if self._is_spread else 1 for levels in encoding.levels]
        self._starts = [0, *accumulate(widths)][:-1]
        self.width = sum(widths)

    def columns(self, codes: Sequence[int]) -> Columns:
        found = [levels[code] for levels, code in zip(self._levels, codes, strict=True)]
        if not self._is_spread:
            return [*map(float, found)]
        columns = [0.0] * self.width
        for start, level in zip(self._starts, found, strict=True):
            columns[start + level] = 1.0
        return columns


def _derived(transform: Derived) -> Callable[[Sequence[float], Sequence[int]], float]:
    """Return what makes a number of all numbers and codes of a row."""
    match transform:
        case Bins(number=number, edges=edges):
            return lambda numbers, _: (
                value if math.isnan(value := numbers[number]) else float(bisect_right(edges, value))
            )
        case CategoryNumbers(code=code, values=by_code):
            return lambda _, codes: by_code[codes[code]]
        case CategoryPairNumbers(left=left, right=right, values=by_codes):
            return lambda _, codes: by_codes[codes[left]][codes[right]]
        case NumberPair(left=left, right=right, operation=operation):
            combine = _OPERATIONS[operation]
            return lambda numbers, _: _finite(combine, numbers[left], numbers[right])


_OPERATIONS: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {"Sum": add, "Difference": sub, "Product": mul, "Ratio": truediv}
)


def _finite(combine: Callable[[float, float], float], left: float, right: float) -> float:
    """Return what two numbers make; NaN where that is not finite."""
    try:
        found = combine(left, right)
    except ZeroDivisionError:
        return math.nan
    return found if math.isfinite(found) else math.nan


_Pair = tuple[bool, int, int, float, float]
"""Whether it is a sum, the columns left and right, and their weights."""


def _pairs(numeric: NumericEncoding) -> list[_Pair]:
    return [
        (pair.kind == "Sum", pair.left, pair.right, *pair.weights) for pair in numeric.interactions
    ]


def _combined(pairs: Sequence[_Pair], row: Columns) -> list[float]:
    """Return the columns of pairs, as `encoder.Encoder` makes them for many rows."""
    nan, finite = math.nan, math.isfinite
    # One expression for all, since a call for each would take longer than trees do.
    return [
        row[left] * first + row[right] * second
        if is_sum
        else ratio
        if (divisor := row[right]) and finite(ratio := row[left] / divisor)
        else nan
        for is_sum, left, right, first, second in pairs
    ]


_Table = tuple[int, Mapping[Any, float | None], tuple[float | None, ...]]
"""A position in the row, what values there become, and what texts do that are not among them, if
there may be any."""


def _tables(features: Sequence[FeatureSchema], by_code: Sequence[Sequence[int]]) -> list[_Table]:
    """Return the tables of a row.

    Args:
        features: Those of the row.
        by_code: For each category what its codes become.
    """
    tables: list[_Table] = []
    remaining = iter(by_code)
    for position, feature in enumerate(features):
        if feature.type == "Boolean":
            tables.append((position, _BOOLEANS, ()))
        if feature.type == "Ordinal":
            known = {value: float(step) for step, value in enumerate(feature.categories)}
            tables.append((position, {**known, None: None}, (None,)))
        if feature.type == "Categorical":
            *levels, other, missing = map(float, next(remaining))
            table = dict(zip(feature.categories, levels, strict=True))
            tables.append((position, {**table, None: missing}, (other,)))
    return tables


def _looked_up(tables: Sequence[_Table], values: Sequence[Any]) -> Columns | None:
    """Return a row of finite numbers, NaN where one is missing; None where a value is not plain."""
    if not tables:
        return _plain(values)
    row = list(values)
    for position, table, others in tables:
        value = row[position]
        try:
            row[position] = table[value]
        except KeyError:
            if not others or type(value) is not str:
                return None
            row[position] = others[0]
        except TypeError:  # a list or an object
            return None
    return _plain(row)


def _plain(row: Sequence[Any]) -> Columns | None:
    """Return a row of finite numbers and None, which becomes NaN; None for any other row."""
    types = set(map(type, row))
    if not types <= _PLAIN:
        return None
    known = row if types == _FLOATS else [value for value in row if value is not None]
    try:
        if not math.isfinite(sum(known, 0.0)):  # whatever is not finite makes the sum so
            return None
    except OverflowError:
        return None
    if len(known) == len(row):
        return row
    return [math.nan if value is None else value for value in row]


def _seen(features: Sequence[FeatureSchema], document: EncoderDocument) -> list[int] | None:
    """Return where in a row the features are that a member sees; None where it sees all."""
    selection = document.selection
    if selection is None:
        return None
    numbers = sum(feature.type != "Categorical" for feature in features)
    return [*selection.numbers, *(numbers + column for column in selection.codes)]


def _keeps_values(encoder: EncoderDocument) -> bool:
    """Return whether numbers stay as they are, but for pairs, and categories become levels."""
    numeric = encoder.numeric
    return (
        not encoder.derived
        and not numeric.indicators
        and not any(numeric.knots)
        and all(fill is None for fill in numeric.fill)
        and all(mean == 0 for mean in numeric.mean)
        and all(scale == 1 for scale in numeric.scale)
        and (encoder.categorical.style == "Ordinal" or not encoder.categorical.levels)
    )
