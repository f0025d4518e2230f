"""Rows set apart: collected from all steps, counted by reason, written without hidden values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.dataset import Quarantine
from modelyard.api.identity import canonical_json
from modelyard.api.records import QUARANTINE_FILE, REPORT_MEDIA_TYPE

from modelyard_runtimes.dataset.jsonl import json_rows
from modelyard_runtimes.dataset.merge import OTHER_COLUMNS
from modelyard_runtimes.dataset.personal import holds_personal_data
from modelyard_runtimes.dataset.protect import Protection, protect_row
from modelyard_runtimes.dataset.recognizers import LONGEST
from modelyard_runtimes.privacy import MASK
from modelyard_runtimes.store import Store
from modelyard_runtimes.tables.rows import Rejected

MOST_REASONS = 50

LOOKED_AT = 1000
"""Texts that are searched for personal data before they are shown; all others are masked."""


class Marked(NamedTuple):
    """Rows that something is wrong with.

    Attributes:
        reason: Counted in the report.
        detail: What is wrong, without values.
        rows: Where.
        column: The column whose text does not fit, when it is that. Such a text may be anything,
            so it is told apart from the values.
    """

    reason: str
    detail: str
    rows: npt.NDArray[np.bool_]
    column: str | None = None


def any_marked(rows: int, marks: list[Marked]) -> npt.NDArray[np.bool_]:
    """Return which of so many rows have a mark."""
    found = np.zeros(rows, dtype=np.bool_)
    for mark in marks:
        found |= mark.rows
    return found


def marked_rows(
    table: pa.Table, file_of: Callable[[int], str], marks: list[Marked]
) -> list[Rejected]:
    """Return the rows that are marked, each under the first of its marks.

    Args:
        table: The rows, with the values to show.
        file_of: Returns the name of the file of a row.
        marks: What is wrong with which rows.
    """
    rejected = []
    taken = np.zeros(table.num_rows, dtype=np.bool_)
    for mark in marks:
        positions = np.flatnonzero(mark.rows & ~taken)
        taken |= mark.rows
        for position, row in zip(positions, json_rows(table.take(positions)), strict=True):
            unfit = [row.pop(m.column) for m in marks if m.column and m.rows[position]]
            text = " | ".join(unfit) if unfit else None
            rejected.append(
                Rejected(mark.reason, mark.detail, file_of(int(position)), text=text, values=row)
            )
    return rejected


def write_quarantine(
    store: Store, rejected: list[Rejected], protection: Protection, *, detection: bool
) -> Quarantine:
    """Write the rows set apart and return what is told of them.

    A text that could not be split into columns is shown only where nothing in the data is hidden
    and, with detection, nothing personal may be in it: its columns are not known.
    """
    if not rejected:
        return Quarantine(rows=0)
    left = LOOKED_AT if not protection.hidden else 0
    lines = []
    for row in rejected:
        text = row.text
        if text is not None:
            left -= 1
            if left < 0 or (detection and _may_be_personal(row.reason, text)):
                text = MASK
        lines.append(canonical_json(_shown(row, protection, text)))
    artifact = store.put_artifact(REPORT_MEDIA_TYPE, {QUARANTINE_FILE: b"\n".join([*lines, b""])})
    return Quarantine(
        rows=len(rejected),
        uri=f"{artifact.uri}/{QUARANTINE_FILE}",
        reasons=_counted(rejected),
    )


def _may_be_personal(reason: str, text: str) -> bool:
    """Return whether personal data is in a text, or may be in it and would not be found.

    Names and birthdays are found by the columns that they stand in. Those of a file with other
    columns are not known, and without a header line their very names are values.
    """
    return reason == OTHER_COLUMNS or len(text) > LONGEST or holds_personal_data(text)


def _shown(row: Rejected, protection: Protection, text: str | None) -> dict[str, object]:
    shown: dict[str, object] = {"reason": row.reason, "detail": row.detail, "file": row.file}
    if row.line is not None:
        shown["line"] = row.line
    if text is not None:
        shown["text"] = text
    if row.values is not None:
        shown["values"] = protect_row(row.values, protection)
    return shown


def _counted(rejected: list[Rejected]) -> dict[str, int]:
    """Return the number of rows by reason; the rarest share the name Other."""
    counts = Counter(row.reason for row in rejected)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = dict(ordered[: MOST_REASONS - 1])
    rest = sum(count for _, count in ordered[MOST_REASONS - 1 :])
    return {**kept, "Other": rest} if rest else kept
