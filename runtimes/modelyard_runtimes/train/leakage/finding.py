"""What a detector tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A leak, or what looks like one.

    Attributes:
        columns: Columns that it lies in; none where it lies in the rows.
        message: What was found and what to do, for a person; no values of the data.
    """

    columns: tuple[str, ...]
    message: str
