"""Judges a table by the declared expectations: which rows break them, with value and limit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnType, Expectation, ExpectationResult
from modelyard.api.meta import seconds

from modelyard_runtimes.dataset.canonical import Hashes, duplicate_rows, plain
from modelyard_runtimes.dataset.convert import matches
from modelyard_runtimes.dataset.jsonl import moment_texts
from modelyard_runtimes.dataset.rules_sql import rows_breaking
from modelyard_runtimes.dataset.schema import PARSERS
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.tables.rows import MOMENT, TEXT

Mask = npt.NDArray[np.bool_]


class Data(NamedTuple):
    """What expectations look at.

    Attributes:
        table: Typed rows in the order they were read.
        types: Type by column.
        hidden: Columns whose values may not appear in messages.
        now: The present time, in UTC without zone, for Freshness.
        hashes: Hash of each row.
    """

    table: pa.Table
    types: dict[str, ColumnType]
    hidden: frozenset[str]
    now: datetime
    hashes: Hashes


class Finding(NamedTuple):
    """What one expectation found.

    Attributes:
        passed: Whether it holds.
        message: What was found, with value and limit.
        rows: Rows that break it; None when it looks at the whole column or table.
    """

    passed: bool
    message: str
    rows: Mask | None = None


class Judged(NamedTuple):
    """A result for the record, and the rows behind it."""

    result: ExpectationResult
    rows: Mask | None


def judge(expectation: Expectation, data: Data) -> Judged:
    """Return what an expectation says about the data.

    Raises:
        RunFailure: the expectation cannot be evaluated on these columns.
    """
    if expectation.type != "ColumnsPresent":
        for column in [*expectation.columns, *([expectation.column] if expectation.column else [])]:
            if column not in data.table.column_names:
                raise _wrong(expectation, "MissingColumn", f"the source has no column {column}")
    finding = CHECKS[expectation.type](expectation, data)
    failed = int(finding.rows.sum()) if finding.rows is not None else 0
    result = ExpectationResult(
        name=expectation.name,
        passed=finding.passed,
        on_fail=expectation.on_fail,
        failed_rows=failed,
        message=finding.message[:1024],
    )
    return Judged(result, finding.rows)


def _wrong(expectation: Expectation, reason: str, what: str) -> RunFailure:
    return RunFailure(
        reason, f"spec.expectations[name={expectation.name}]: {what}; correct it or spec.schema"
    )


def _of(expectation: Expectation, data: Data) -> pa.Array:
    return plain(data.table.column(expectation.column))


def _numbers(expectation: Expectation, data: Data) -> pa.Array:
    values = _of(expectation, data)
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise _wrong(
            expectation,
            "InvalidExpectation",
            f"{expectation.type} needs a Numeric column, {expectation.column} is "
            f"{data.types[expectation.column or '']}",
        )
    return values


def _texts(expectation: Expectation, data: Data) -> pa.Array:
    values = _of(expectation, data)
    return moment_texts(values) if values.type == MOMENT else values.cast(TEXT)


def _mask(broken: pa.Array) -> Mask:
    """Return where rows break a rule; a missing value breaks none but NotNull."""
    found: Mask = pc.fill_null(broken, False).to_numpy(zero_copy_only=False)
    return found


def _rows(mask: Mask, what: str) -> Finding:
    failed = int(mask.sum())
    return Finding(failed == 0, f"{failed} of {len(mask)} rows {what}", mask)


def _limits(expectation: Expectation) -> str:
    low = "-inf" if expectation.min is None else f"{expectation.min:g}"
    high = "inf" if expectation.max is None else f"{expectation.max:g}"
    return f"[{low}, {high}]"


def _is_inside(expectation: Expectation, value: float) -> bool:
    low, high = expectation.min, expectation.max
    return (low is None or value >= low) and (high is None or value <= high)


def _outside(expectation: Expectation, values: pa.Array) -> Mask:
    if pa.types.is_integer(values.type):  # Arrow compares no long ones with the floats of limits
        values = values.cast(pa.float64(), safe=False)
    mask = np.zeros(len(values), dtype=np.bool_)
    if expectation.min is not None:
        mask |= _mask(pc.less(values, expectation.min))
    if expectation.max is not None:
        mask |= _mask(pc.greater(values, expectation.max))
    return mask


def _one_number(expectation: Expectation, value: float, what: str) -> Finding:
    passed = _is_inside(expectation, value)
    return Finding(passed, f"{what} is {value:g}, limits {_limits(expectation)}")


def not_null(expectation: Expectation, data: Data) -> Finding:
    """Every value is there."""
    return _rows(_mask(pc.is_null(_of(expectation, data))), "have no value")


def unique(expectation: Expectation, data: Data) -> Finding:
    """No value occurs twice; all rows of a repeated value break the rule."""
    values = _of(expectation, data)
    return _rows(_repeated([values]) & _present(values), "repeat a value")


def _present(values: pa.Array) -> Mask:
    return _mask(pc.is_valid(values))


def _repeated(columns: list[pa.Array]) -> Mask:
    """Return where the values of all columns together occur more than once."""
    numbers = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        codes = column.dictionary_encode(null_encoding="encode")
        # Numbered anew at every step, so that the product stays below 2**63.
        numbers = numbers * len(codes.dictionary) + codes.indices.to_numpy(zero_copy_only=False)
        numbers = _numbered(numbers) if len(columns) > 1 else numbers
    repeated: Mask = (np.bincount(numbers) > 1)[numbers]
    return repeated


def _numbered(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the number of each value among the different ones."""
    return np.asarray(pa.array(values).dictionary_encode().indices.cast(pa.int64()))


def value_range(expectation: Expectation, data: Data) -> Finding:
    """Every number lies within the limits."""
    values = _numbers(expectation, data)
    found = _rows(_outside(expectation, values), f"are outside {_limits(expectation)}")
    if found.passed or expectation.column in data.hidden:
        return found
    low, high = (value.as_py() for value in pc.min_max(values).values())
    return found._replace(message=f"{found.message}; values reach from {low:g} to {high:g}")


def regex(expectation: Expectation, data: Data) -> Finding:
    """Every whole text matches the pattern, in time linear in its length (RE2)."""
    try:
        fits = matches(_texts(expectation, data), expectation.pattern or "")
    except pa.ArrowInvalid as error:
        raise _wrong(
            expectation,
            "InvalidExpression",
            "the pattern is not a regular expression of RE2, which knows no look-around and no "
            "back-references",
        ) from error
    return _rows(_mask(pc.invert(fits)), f"do not match {expectation.pattern}")


def one_of(expectation: Expectation, data: Data) -> Finding:
    """Every value is one of a list, compared as text."""
    texts = _texts(expectation, data)
    known = pc.is_in(texts, value_set=pa.array(expectation.values, TEXT))
    mask = _mask(pc.and_(pc.invert(known), pc.is_valid(texts)))
    return _rows(mask, f"have none of the {len(expectation.values)} allowed values")


def column_type(expectation: Expectation, data: Data) -> Finding:
    """Every value can be read as the type; of types that any text fits, the column has it.

    Steps of a scale are categories, too.
    """
    wanted = expectation.column_type
    found = data.types[expectation.column or ""]
    if (found, wanted) == ("Ordinal", "Categorical"):
        return Finding(True, "the column is Ordinal, whose values are categories in order")
    parser = PARSERS.get(wanted) if wanted else None
    if found == wanted or parser is None:
        return Finding(found == wanted, f"the column is {found}, asked for is {wanted}")
    encoded = _texts(expectation, data).dictionary_encode()
    values = parser(encoded.dictionary).values.take(encoded.indices)
    misfit = pc.and_(pc.is_null(values), pc.is_valid(encoded.indices))
    return _rows(_mask(misfit), f"are not {wanted}; the column is {found}")


def length(expectation: Expectation, data: Data) -> Finding:
    """Every text has a length, in characters, within the limits."""
    lengths = pc.utf8_length(_texts(expectation, data))
    return _rows(_outside(expectation, lengths), f"have a length outside {_limits(expectation)}")


def row_count(expectation: Expectation, data: Data) -> Finding:
    """The table has a number of rows within the limits."""
    return _one_number(expectation, data.table.num_rows, "the number of rows")


def columns_present(expectation: Expectation, data: Data) -> Finding:
    """The table has all the columns."""
    missing = [name for name in expectation.columns if name not in data.table.column_names]
    message = f"missing: {', '.join(missing)}" if missing else "all columns are there"
    return Finding(not missing, message)


def primary_key(expectation: Expectation, data: Data) -> Finding:
    """The columns together are unique, and none of their values is missing."""
    key = data.table.select(expectation.columns)
    columns = [plain(column) for column in key.columns]
    mask = _repeated(columns)
    for column in columns:
        mask = mask | ~_present(column)
    return _rows(mask, f"repeat or lack the key {', '.join(expectation.columns)}")


def no_duplicate_rows(_expectation: Expectation, data: Data) -> Finding:
    """No row is a copy of another; copies after the first break the rule."""
    return _rows(duplicate_rows(data.hashes), "are copies of another row")


def freshness(expectation: Expectation, data: Data) -> Finding:
    """The newest moment is not older than the limit."""
    values = _of(expectation, data)
    if values.type != MOMENT:
        raise _wrong(
            expectation,
            "InvalidExpectation",
            f"Freshness needs a Datetime column, "
            f"{expectation.column} is {data.types[expectation.column or '']}",
        )
    newest = pc.max(values).as_py()
    if newest is None:
        return Finding(False, "the column has no value")
    limit = expectation.max_age or "0s"
    age = (data.now - newest).total_seconds()
    passed = age <= seconds(limit)
    if expectation.column in data.hidden:
        told = "not older" if passed else "older"
        return Finding(passed, f"the newest value is {told} than the limit {limit}")
    return Finding(passed, f"the newest value is {age:.0f} s old, limit {limit}")


def monotonic(expectation: Expectation, data: Data) -> Finding:
    """No value is less than the one before it, in the order the rows were read."""
    values = _of(expectation, data).drop_null()
    falls = int(_mask(pc.less(values[1:], values[:-1])).sum()) if len(values) > 1 else 0
    return Finding(falls == 0, f"{falls} values are less than the one before, limit 0")


def max_null_fraction(expectation: Expectation, data: Data) -> Finding:
    """At most this share of values is missing."""
    values = _of(expectation, data)
    share = values.null_count / max(len(values), 1)
    limit = expectation.max if expectation.max is not None else 0.0
    return Finding(share <= limit, f"the share of missing values is {share:g}, limit {limit:g}")


def mean(expectation: Expectation, data: Data) -> Finding:
    """The mean lies within the limits."""
    value = pc.mean(_numbers(expectation, data)).as_py()
    if value is None:
        return Finding(False, "the column has no value")
    found = _one_number(expectation, value, "the mean")
    if expectation.column not in data.hidden:
        return found
    told = "within" if found.passed else "outside"
    return found._replace(message=f"the mean is {told} {_limits(expectation)}")


def unique_count(expectation: Expectation, data: Data) -> Finding:
    """The number of different values lies within the limits."""
    count = pc.count_distinct(_of(expectation, data)).as_py()
    return _one_number(expectation, count, "the number of different values")


def sql(expectation: Expectation, data: Data) -> Finding:
    """The expression is true for every row; missing is not true."""
    try:
        mask = rows_breaking(expectation.expression or "", data.table)
    except ValueError as error:
        raise _wrong(expectation, "InvalidExpression", str(error)) from error
    return _rows(mask, f"do not satisfy {expectation.expression}")


CHECKS: dict[str, Callable[[Expectation, Data], Finding]] = {
    "NotNull": not_null,
    "Unique": unique,
    "Range": value_range,
    "Regex": regex,
    "OneOf": one_of,
    "Type": column_type,
    "Length": length,
    "RowCount": row_count,
    "ColumnsPresent": columns_present,
    "PrimaryKey": primary_key,
    "NoDuplicateRows": no_duplicate_rows,
    "Freshness": freshness,
    "Monotonic": monotonic,
    "MaxNullFraction": max_null_fraction,
    "Mean": mean,
    "UniqueCount": unique_count,
    "Sql": sql,
}
"""The check of each type of expectation."""
