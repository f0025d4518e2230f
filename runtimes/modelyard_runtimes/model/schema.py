"""Validation: columns as a client sends them become typed arrays, or an error names the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True)
class Inputs:
    """Validated rows.

    Attributes:
        numbers: Rows x numbers: Numeric, Boolean (0, 1) and the parts of Datetime features; NaN
            where missing.
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


class InputSchema:
    """The typed inputs of a model, and where each lands in `Inputs`."""

    def __init__(self, features: Sequence[FeatureSchema]) -> None:
        self.features = tuple(features)
        self._lookups = {
            feature.name: {category: code for code, category in enumerate(feature.categories)}
            for feature in self.features
            if feature.type == "Categorical"
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def number_features(self) -> list[int]:
        """For each column of `Inputs.numbers`, the position of its feature."""
        width = {"Numeric": 1, "Boolean": 1, "Datetime": DATETIME_PARTS}
        return [
            index
            for index, feature in enumerate(self.features)
            for _ in range(width.get(feature.type, 0))
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
        numbers = np.empty((rows, len(self.number_features)), dtype=np.float64)
        codes = np.empty((rows, len(self.code_features)), dtype=np.int32)
        texts: list[Sequence[str]] = []
        number = code = 0
        for feature in self.features:
            values = given.get(feature.name)
            if values is None:
                values = _absent(feature, rows)
            if feature.type == "Categorical":
                codes[:, code] = category_column(feature.name, values, self._lookups[feature.name])
                code += 1
            elif feature.type == "Text":
                texts.append(text_column(feature.name, values))
            elif feature.type == "Datetime":
                seconds = datetime_column(feature.name, values)
                numbers[:, number : number + DATETIME_PARTS] = datetime_parts(seconds)
                number += DATETIME_PARTS
            else:
                read = numeric_column if feature.type == "Numeric" else boolean_column
                numbers[:, number] = read(feature.name, values)
                number += 1
        return Inputs(numbers, codes, tuple(texts))

    def _positions(self, kind: str) -> list[int]:
        return [index for index, feature in enumerate(self.features) if feature.type == kind]

    def _rows(self, given: Mapping[str, Values]) -> int:
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
