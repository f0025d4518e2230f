"""Validation: columns as a client sends them become typed arrays, or an error names the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.columns import (
    Values,
    as_columns,
    boolean_column,
    category_column,
    datetime_column,
    numeric_column,
    text_column,
)
from modelyard_runtimes.model.errors import ValidationError
from modelyard_runtimes.model.format import FeatureSchema

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]

DATETIME_PARTS = 6
_WIDTHS = {"Numeric": 1, "Boolean": 1, "Ordinal": 1, "Datetime": DATETIME_PARTS}
_OF_CATEGORIES = ("Categorical", "Ordinal")
_LISTS = {list, tuple}
_NUMBERS = {float, int, type(None)}


@dataclass(slots=True)
class Inputs:
    """Validated rows.

    Attributes:
        numbers: Rows x numbers: Numeric, Boolean (0, 1), Ordinal (the position in its order) and
            the parts of Datetime features; NaN where missing.
        codes: Rows x Categorical features: position among the known categories; their count for
            an unknown one, one more for a missing one.
        texts: The rows of each Text feature; empty where missing.
    """

    numbers: Floats
    codes: Codes
    texts: tuple[Sequence[str], ...] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.numbers.shape[0])

    def take(self, rows: npt.NDArray[np.intp]) -> Inputs:
        """Return the rows at these positions, in this order."""
        texts = tuple([text[row] for row in rows] for text in self.texts)
        return Inputs(self.numbers[rows], self.codes[rows], texts)


def steps(codes: npt.NDArray[np.int32], feature: FeatureSchema) -> Floats:
    """Return the positions of values in the order of an Ordinal feature; NaN where there is none.

    Args:
        codes: Position of each value among the known ones; their count or more for any other.
        feature: The feature.
    """
    return np.where(codes < len(feature.categories), codes, np.nan)


class InputSchema:
    """The typed inputs of a model, and where each lands in `Inputs`."""

    def __init__(self, features: Sequence[FeatureSchema]) -> None:
        self.features = tuple(features)
        self._lookups = {
            feature.name: {category: code for code, category in enumerate(feature.categories)}
            for feature in self.features
            if feature.type in _OF_CATEGORIES
        }
        self._numeric = [feature.name for feature in self.features if feature.type == "Numeric"]
        self._others = [feature for feature in self.places if feature[0].type != "Numeric"]
        self._numeric_columns = _selection(
            [start for feature, start in self.places if feature.type == "Numeric"]
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def number_features(self) -> list[int]:
        """For each column of `Inputs.numbers`, the position of its feature."""
        return [
            index
            for index, feature in enumerate(self.features)
            for _ in range(_WIDTHS.get(feature.type, 0))
        ]

    @cached_property
    def code_features(self) -> list[int]:
        """For each column of `Inputs.codes`, the position of its feature."""
        return self._positions("Categorical")

    @cached_property
    def text_features(self) -> list[int]:
        """For each of `Inputs.texts`, the position of its feature."""
        return self._positions("Text")

    def validate(self, columns: Mapping[str, Sequence[Any]] | Any) -> Inputs:
        """Return the typed rows.

        Args:
            columns: Values by column, or a pyarrow.Table. Columns that are no features are not
                looked at. None and NaN mean missing.

        Raises:
            ValidationError: a required column is absent, columns differ in length, or a value has
                the wrong type; it names the field.
        """
        given = as_columns(columns)
        rows = self._rows(given)
        codes = np.empty((rows, len(self.code_features)), dtype=np.int32)
        texts: list[Sequence[str]] = []
        plain = self._plain_numbers(given, rows)
        if plain is not None and not self._others:
            return Inputs(plain, codes)
        numbers = np.empty((rows, len(self.number_features)), dtype=np.float64)
        if plain is not None:
            numbers[:, self._numeric_columns] = plain
        for feature, column in self._others if plain is not None else self.places:
            values = given.get(feature.name)
            if values is None:
                values = _absent(feature, rows)
            if feature.type == "Categorical":
                codes[:, column] = category_column(
                    feature.name, values, self._lookups[feature.name]
                )
            elif feature.type == "Ordinal":
                lookup = self._lookups[feature.name]
                numbers[:, column] = steps(category_column(feature.name, values, lookup), feature)
            elif feature.type == "Text":
                texts.append(text_column(feature.name, values))
            elif feature.type == "Datetime":
                seconds = datetime_column(feature.name, values)
                numbers[:, column : column + DATETIME_PARTS] = datetime_parts(seconds)
            else:
                read = numeric_column if feature.type == "Numeric" else boolean_column
                numbers[:, column] = read(feature.name, values)
        return Inputs(numbers, codes, tuple(texts))

    @cached_property
    def places(self) -> list[tuple[FeatureSchema, int]]:
        """Each feature and its first column in `Inputs.numbers`, `codes` or `texts`."""
        counts = {"numbers": 0, "Categorical": 0, "Text": 0}
        places: list[tuple[FeatureSchema, int]] = []
        for feature in self.features:
            where = "numbers" if feature.type in _WIDTHS else feature.type
            places.append((feature, counts[where]))
            counts[where] += _WIDTHS.get(feature.type, 1)
        return places

    def _plain_numbers(self, given: Mapping[str, Values], rows: int) -> Floats | None:
        """Return the Numeric features when they are lists of finite numbers and None.

        None where anything else is among them, for the reader of each column to judge. All at once
        is many times faster than column by column when there is one row.
        """
        try:
            columns = [given[name] for name in self._numeric]
        except KeyError:
            return None
        if not set(map(type, columns)) <= _LISTS:
            return None
        values = list(chain.from_iterable(columns))
        if not set(map(type, values)) <= _NUMBERS:
            return None
        try:
            numbers = np.array(values, dtype=np.float64)
        except OverflowError:
            return None
        if np.isinf(numbers).any():
            return None
        return numbers.reshape(len(columns), rows).T

    def _positions(self, kind: str) -> list[int]:
        return [index for index, feature in enumerate(self.features) if feature.type == kind]

    def _rows(self, given: Mapping[str, Values]) -> int:
        lengths = set(map(len, given.values()))
        if len(lengths) == 1:
            return lengths.pop()
        rows: int | None = None
        for name in self.names:
            if name in given:
                found = len(given[name])
                if rows is not None and found != rows:
                    raise ValidationError(
                        name, f"has {found} rows, others have {rows}; send equally many"
                    )
                rows = found
        if rows is None:
            # No feature was given at all; the columns that are none still tell how many rows.
            rows = next((len(values) for values in given.values()), 0)
        return rows


def _selection(columns: list[int]) -> slice | list[int]:
    """Return what selects these columns: a slice where they follow each other."""
    if columns == list(range(len(columns))):
        return slice(0, len(columns))
    return columns


def _absent(feature: FeatureSchema, rows: int) -> list[None]:
    """Return the values of a column that was not given."""
    if feature.required:
        raise ValidationError(feature.name, f"is missing; send it, its type is {feature.type}")
    return [None] * rows


def datetime_parts(seconds: Floats) -> Floats:
    """Return the features of points in time.

    Args:
        seconds: Seconds since 1970 in UTC, NaN where missing.

    Returns:
        Rows x 6: days since 1970, year, month, day of the month, day of the week (Monday is 0)
        and hour of the day with its fraction.
    """
    missing = np.isnan(seconds)
    whole = np.where(missing, 0, seconds)
    days = np.floor(whole / 86400).astype(np.int64)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    years = dates.astype("datetime64[Y]")
    parts = np.column_stack(
        [
            whole / 86400,
            years.astype(np.int64) + 1970,
            months.astype(np.int64) % 12 + 1,
            (dates - months).astype(np.int64) + 1,
            (days + 3) % 7,
            (whole - days * 86400.0) / 3600,
        ]
    )
    parts[missing] = np.nan
    return parts
