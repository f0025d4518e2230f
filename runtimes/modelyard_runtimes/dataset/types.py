"""Infers the type of a column from its name and its distinct texts, and says why."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnType

from modelyard_runtimes.dataset.convert import Conversion, matches, to_moments, to_numbers
from modelyard_runtimes.dataset.scales import MOST_STEPS, order_of

MOST_CATEGORIES = 1000
FEW_CATEGORIES = 20
WORDS_OF_TEXT = 3
"""Mean number of words from which a column of mostly different values is Text."""
FITTING_SHARE = 0.98
"""Share of values that decides a column's type; the others are set apart."""
ROWS_TO_TOLERATE = 50
"""Below this number of values every one has to fit."""
ROWS_TO_TRUST = 20
"""Number of values from which uniqueness alone tells something."""
MANY_DISTINCT = 100
ALL_BOOLEAN = "all values are true or false"

_ID_NAME = re.compile(
    r"(^|_)(id|ids|uid|uuid|guid|key|pk|rowid|index|idx|identifier)$|^unnamed(_\d+)?$|^row(_?n(o|um|umber))?$"
)
_WEAK_ID_NAME = re.compile(r"(^|_)(code|no|nr|num|number|ref|reference|sku|serial|token|account)$")
_DATE_NAME = re.compile(r"(^|_)(date|day)$")
"""Names that make a date of 19580329, which is a number otherwise."""
_CODE = r"\S*\d\S*|\S+@\S+"
_IMAGE = (
    r"(?is)\S.*\.(avif|bmp|dcm|gif|hei[cf]|jfif|jpe?g|p[gp]m|png|svg|tiff?|webp)([?#:]\S*)?"
    r"|data:image/\w.*"
)
"""The path or the URL of an image file, or an image within the text."""
_UUID = r"(?i)[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}"


class Column(NamedTuple):
    """What inference looks at; it does not depend on the order of rows.

    Attributes:
        name: Name of the column.
        texts: Its distinct texts, none null.
        counts: Number of rows with each.
    """

    name: str
    texts: pa.Array
    counts: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        """Number of rows that are not missing."""
        return int(self.counts.sum())

    @property
    def unique(self) -> bool:
        """Whether every value occurs once."""
        return len(self.texts) == self.rows

    def share(self, fits: pa.Array) -> float:
        """Return the share of rows whose text fits."""
        mask = pc.fill_null(fits, False).to_numpy(zero_copy_only=False)
        return float(self.counts[mask].sum()) / self.rows


class Inferred(NamedTuple):
    """A type and why.

    Attributes:
        type: The type.
        reason: Why.
        order: Values of an Ordinal column, the lowest first; empty where they are not known yet.
    """

    type: ColumnType
    reason: str
    order: tuple[str, ...] = ()


def words_of(name: str) -> str:
    """Return a column name in lower case with its words joined by underscores."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^0-9A-Za-z]+", "_", name)
    return spaced.strip("_").lower()


def infer(column: Column) -> Inferred:
    """Return the type of a column.

    Columns of numbers are Numeric, integer codes too, unless their name says that they identify
    rows. What is neither number, moment nor truth value is told apart by how often values repeat.
    """
    if column.rows == 0:
        return Inferred("Categorical", "no values to look at")
    truth = pc.is_in(pc.utf8_lower(column.texts), value_set=pa.array(["true", "false"]))
    if column.share(truth) == 1:
        return Inferred("Boolean", ALL_BOOLEAN)
    if _DATE_NAME.search(words_of(column.name)):
        moments = to_moments(column.texts)
        if _fits(column, moments):
            return Inferred("Datetime", _counted(column, moments))
    numbers = to_numbers(column.texts)
    if _fits(column, numbers) and not _has_leading_zeros(column):
        return infer_numbers(
            column.name,
            _counted(column, numbers),
            whole=pa.types.is_integer(numbers.values.type),
            rows=column.rows,
            distinct=lambda: len(column.texts),
        )
    moments = to_moments(column.texts)
    if _fits(column, moments):
        return Inferred("Datetime", _counted(column, moments))
    return _infer_texts(column)


def _fits(column: Column, conversion: Conversion) -> bool:
    return _decides(column.share(pc.is_valid(conversion.values)), column)


def _decides(share: float, column: Column) -> bool:
    return share == 1 or (share >= FITTING_SHARE and column.rows >= ROWS_TO_TOLERATE)


def _counted(column: Column, conversion: Conversion) -> str:
    share = column.share(pc.is_valid(conversion.values))
    fitting = round(share * column.rows)
    if fitting == column.rows:
        return f"all {fitting} values are {conversion.label}"
    return (
        f"{fitting} of {column.rows} values are {conversion.label}; declare type Text to keep "
        "the others"
    )


def _has_leading_zeros(column: Column) -> bool:
    return bool(pc.any(matches(column.texts, r"[+-]?0\d+")).as_py())


def infer_numbers(
    name: str, told: str, *, whole: bool, rows: int, distinct: Callable[[], int]
) -> Inferred:
    """Return the type of a column of numbers.

    Args:
        name: Name of the column.
        told: How many of its values are numbers.
        whole: Whether they all are integers.
        rows: Number of rows that are not missing.
        distinct: Counts the different ones among them, which may take long.
    """
    if whole and _ID_NAME.search(words_of(name)):
        found = distinct()
        if found == rows:
            return Inferred("Identifier", "whole numbers, each once, and the name says identifier")
        if found >= MANY_DISTINCT:
            return Inferred("Identifier", "many whole numbers, and the name says identifier")
    return Inferred("Numeric", told)


def _infer_texts(column: Column) -> Inferred:
    distinct, rows = len(column.texts), column.rows
    if distinct >= MANY_DISTINCT or (distinct > FEW_CATEGORIES and distinct * 2 > rows):
        images = column.share(matches(column.texts, _IMAGE))
        if _decides(images, column):
            return Inferred("Image", f"{round(images * rows)} of {rows} values name images")
    identifier = _identifier_reason(column)
    if identifier:
        return Inferred("Identifier", identifier)
    order = order_of(column.texts.to_pylist()) if distinct <= MOST_STEPS else ()
    if order:
        return Inferred("Ordinal", f"{distinct} values are steps of a scale", order)
    if _mean_words(column) >= WORDS_OF_TEXT and distinct * 2 > rows and distinct > 2:
        return Inferred("Text", f"{distinct} different texts of several words in {rows} values")
    repeating = distinct <= MOST_CATEGORIES and distinct * 2 <= rows
    if repeating or distinct <= FEW_CATEGORIES:
        return Inferred("Categorical", f"{distinct} different values in {rows}")
    return Inferred("Text", f"{distinct} different values in {rows}, too many for categories")


def _identifier_reason(column: Column) -> str:
    """Return why a column of texts identifies rows, or nothing."""
    if pc.any(pc.match_substring_regex(column.texts, pattern=r"\s")).as_py():
        return ""
    name = words_of(column.name)
    named = bool(_ID_NAME.search(name))
    if named and (column.unique or len(column.texts) >= MANY_DISTINCT):
        return f"{len(column.texts)} different codes, and the name says identifier"
    if not column.unique or column.rows < ROWS_TO_TRUST:
        return ""
    if column.share(matches(column.texts, _UUID)) == 1:
        return "every value is another UUID"
    if _WEAK_ID_NAME.search(name) or column.share(matches(column.texts, _CODE)) > 0.9:
        return "every value is another code without white space"
    return ""


def _mean_words(column: Column) -> float:
    words = pc.add(pc.count_substring_regex(column.texts, pattern=r"\s+"), 1)
    return float(np.average(words.to_numpy(zero_copy_only=False), weights=column.counts))
