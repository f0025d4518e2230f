"""The profile of a snapshot: columns in numbers, quality, and a preview, without hidden values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnProfile, ColumnType
from modelyard.api.identity import canonical_json

from modelyard_runtimes.dataset.canonical import plain
from modelyard_runtimes.dataset.jsonl import json_rows
from modelyard_runtimes.dataset.protect import Protection, protect_row
from modelyard_runtimes.threads import in_threads

PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 1024
_LONGEST_VALUE = 80
_TOP_VALUES = 10
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def column_profiles(
    table: pa.Table,
    types: dict[str, ColumnType],
    reasons: dict[str, str],
    orders: Mapping[str, Sequence[str]],
) -> list[ColumnProfile]:
    """Return type, missing and distinct values of each column, in the order of the table."""

    def of(name: str) -> ColumnProfile:
        values = plain(table.column(name))
        return ColumnProfile(
            name=name,
            type=types[name],
            reason=reasons[name],
            nulls=values.null_count,
            distinct=pc.count_distinct(values).as_py(),
            order=list(orders[name]) if name in orders else None,
        )

    return in_threads(of, table.column_names)


def statistics(
    table: pa.Table, types: dict[str, ColumnType], hidden: frozenset[str]
) -> dict[str, dict[str, Any]]:
    """Return what is known of the values of each column that may be shown."""
    names = [name for name in table.column_names if name not in hidden]
    found = in_threads(lambda name: _statistics(plain(table.column(name)), types[name]), names)
    return dict(zip(names, found, strict=True))


def _statistics(values: pa.Array, type_: ColumnType) -> dict[str, Any]:
    present = values.drop_null()
    if len(present) == 0:
        return {}
    if type_ == "Numeric":
        return _of_numbers(present)
    if type_ == "Datetime":
        low, high = pc.min_max(present).values()
        return {"min": low.as_py().isoformat(), "max": high.as_py().isoformat()}
    if type_ in ("Categorical", "Ordinal", "Boolean"):
        return {"top": _most_frequent(present)}
    lengths = pc.utf8_length(present)
    return {
        "minLength": pc.min(lengths).as_py(),
        "maxLength": pc.max(lengths).as_py(),
        "meanLength": pc.mean(lengths).as_py(),
    }


def _of_numbers(values: pa.Array) -> dict[str, Any]:
    numbers = np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        found = {
            "min": numbers.min(),
            "max": numbers.max(),
            "mean": numbers.mean(),
            "standardDeviation": numbers.std(),
        }
        quantiles = np.quantile(numbers, _QUANTILES)
    by_level = zip(_QUANTILES, quantiles, strict=True)
    # A sum of very large numbers overflows; JSON has no infinity.
    return {
        **{name: float(value) for name, value in found.items() if np.isfinite(value)},
        "quantiles": {str(level): float(value) for level, value in by_level if np.isfinite(value)},
    }


def _most_frequent(values: pa.Array) -> list[dict[str, Any]]:
    """Return the most frequent values with their numbers, equal numbers ordered by value."""
    counted = [(entry["values"], entry["counts"]) for entry in pc.value_counts(values).to_pylist()]
    counted.sort(key=lambda item: (-item[1], str(item[0])))
    return [{"value": value, "rows": count} for value, count in counted[:_TOP_VALUES]]


def quality_score(table: pa.Table, duplicates: int, quarantined: int) -> float:
    """Return 1 minus the mean of null share, duplicate share and quarantined share.

    Args:
        table: The kept rows.
        duplicates: Number of them that are copies of another.
        quarantined: Number of rows set apart.
    """
    rows = table.num_rows
    nulls = sum(int(column.null_count) for column in table.columns)
    null_share = nulls / max(rows * table.num_columns, 1)
    duplicate_share = duplicates / max(rows, 1)
    quarantined_share = quarantined / max(rows + quarantined, 1)
    return float(round(1 - (null_share + duplicate_share + quarantined_share) / 3, 6))


def preview(table: pa.Table, protection: Protection) -> list[str]:
    """Return the first rows as JSON texts, with what is hidden masked and long values cut."""
    masked = Protection({}, protection.hidden - set(protection.actions), protection.key)
    rows = json_rows(table.slice(0, PREVIEW_ROWS))
    return [_short_json(protect_row(row, masked)) for row in rows]


def _short_json(row: dict[str, Any]) -> str:
    """Return a row as JSON of at most PREVIEW_CHARACTERS, without the last columns if need be."""
    parts: list[str] = []
    room = PREVIEW_CHARACTERS - 2
    for name, value in row.items():
        cut = value[:_LONGEST_VALUE] if isinstance(value, str) else value
        part = f"{json.dumps(name, ensure_ascii=False)}:{json.dumps(cut, ensure_ascii=False)}"
        room -= len(part) + 1
        if room < 0:
            break
        parts.append(part)
    return "{" + ",".join(parts) + "}"


def profile_bytes(
    table: pa.Table, columns: list[ColumnProfile], values: dict[str, dict[str, Any]], score: float
) -> bytes:
    """Return profile.json."""
    return canonical_json(
        {
            "rows": table.num_rows,
            "columns": [column.to_json() for column in columns],
            "statistics": values,
            "quality": {"score": score},
        }
    )
