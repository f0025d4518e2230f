"""What passes between the steps: tables of texts, and rows that were set apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

TEXT = pa.large_string()
"""Type of cells between reading and typing."""

MOMENT = pa.timestamp("us")
"""Type of Datetime columns: microseconds, in UTC; texts without an offset are taken as UTC."""

NATIVE = (pa.int64(), pa.float64(), MOMENT, pa.bool_())
"""Types that cells of a typed container may keep instead of TEXT."""


Absent: TypeAlias = Mapping[str, npt.NDArray[np.bool_]]
"""Which rows lack a column, by its name."""


class Rejected(NamedTuple):
    """A row, or a whole file, that was set apart.

    Attributes:
        reason: One CamelCase word, or the name of an expectation; counted in the report.
        detail: What is wrong, without values.
        file: Name of the file within the source.
        line: Line or row in the file, from 1; None for a whole file or when not known.
        text: The text that could not be split into columns.
        values: Values by column, where the row has columns.
        kept: How many rows before it were kept of what was read with it; None where not known.
    """

    reason: str
    detail: str
    file: str
    line: int | None = None
    text: str | None = None
    values: Mapping[str, Any] | None = None
    kept: int | None = None


@dataclass(frozen=True)
class ReadFile:
    """What was read from one file (of a workbook: from one sheet).

    Attributes:
        name: Name of the file within the source.
        table: Kept rows; every column is of type TEXT or of one of NATIVE, names are unique.
        rejected: Rows set apart; the whole file when it could not be read.
        notes: How it was read, each a clause of the decision sentence.
        absent: Where each row names its own columns, which kept rows lack one, by its name; columns
            that all have are left out. None where a file has one list of columns for all rows.
    """

    name: str
    table: pa.Table
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    absent: Absent | None = field(default=None, compare=False)

    @property
    def decision(self) -> str:
        """The decision about this file, in a sentence."""
        kept = f"{self.table.num_rows} rows kept" if self.table.num_columns else "nothing kept"
        apart = f", {len(self.rejected)} set apart" if self.rejected else ""
        notes = f" ({'; '.join(self.notes)})" if self.notes else ""
        return f"{self.name}: {kept}{apart}{notes}."


class Unreadable(Exception):
    """A file as a whole cannot be read.

    Attributes:
        reason: One CamelCase word.
        detail: What is wrong and what to do, without values.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def whole_file(name: str, reason: str, detail: str) -> ReadFile:
    """Return a file that is set apart whole; it counts as one row."""
    return ReadFile(name, pa.table({}), [Rejected(reason, detail, name)], [detail])


def column_names(headers: Iterable[Any]) -> tuple[list[str], list[str]]:
    """Return unique, non-empty column names for header cells, and notes on what was changed."""
    names: list[str] = []
    notes: list[str] = []
    for position, header in enumerate(headers, start=1):
        wanted = " ".join(str(header if header is not None else "").split())[:240]
        name = wanted or f"column_{position}"
        suffix = 2
        while name in names:
            name = f"{wanted or f'column_{position}'}_{suffix}"
            suffix += 1
        if not wanted:
            notes.append(f"column {position} has no name and is called {name}")
        elif name != wanted:
            notes.append(f"a second column {wanted!r} is called {name!r}")
        names.append(name)
    return names, notes


def clean_cells(column: pa.ChunkedArray, null_values: list[str]) -> pa.ChunkedArray:
    """Return texts without white space around them, and null where a text means missing."""
    trimmed = pc.utf8_trim_whitespace(column)
    if not null_values:
        return trimmed
    missing = pc.is_in(trimmed, value_set=pa.array(null_values, TEXT))
    return pc.if_else(missing, pa.scalar(None, TEXT), trimmed)
