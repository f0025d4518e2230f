"""Reads files of any size as a stream of small tables, always the same ones.

Parquet is read batch by batch, and delimited text and JSON lines in pieces that end with a line.
Workbooks, archives and JSON documents cannot be read in part; they are read whole, so their size
is bounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from modelyard.api.dataset import Source

from modelyard_runtimes.batch.files import field_of
from modelyard_runtimes.dataset.formats import find_format
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.tables.rows import (
    TEXT,
    Absent,
    ReadFile,
    Rejected,
    Unreadable,
    clean_cells,
    column_names,
)

MOST_ROWS = 1 << 16
MOST_CELLS = 1 << 22
"""What a block holds at most, so that a wide table takes no more memory than a narrow one."""
_HEAD = 1 << 16
_BUFFER = 1 << 18
MOST_WHOLE_BYTES = 256 * 1024 * 1024


class Block(NamedTuple):
    """Some rows of a file.

    Attributes:
        file: Name of the file.
        first: Number of its first row within the file.
        table: The rows; columns are as the file has them, texts without those that mean missing.
        rejected: What in their place is no row.
        absent: Which rows lack a column, where each row names its own; None where the file has one
            list of columns for all.
    """

    file: str
    first: int
    table: pa.Table
    rejected: Sequence[Rejected] = ()
    absent: Absent | None = None

    @property
    def is_void(self) -> bool:
        """Whether it has neither columns nor rows: its file holds none, or cannot be read."""
        return bool(self.table.num_columns == 0 and self.table.num_rows == 0)

    def part(self, start: int, count: int) -> Block:
        """Return some of its rows; what is no row stays with the first of them."""
        absent = self.absent
        if absent is not None:
            absent = {name: marks[start : start + count] for name, marks in absent.items()}
        rejected = self.rejected if start == 0 else ()
        # Of a table without columns, Arrow's slice has as many rows as are asked for.
        table = self.table.slice(start, min(count, self.table.num_rows - start))
        return Block(self.file, self.first + start, table, rejected, absent)


def block_rows(columns: int) -> int:
    """Return how many rows of so many columns make a block."""
    return max(1, min(MOST_ROWS, MOST_CELLS // max(columns, 1)))


def rows_of(path: Path) -> int | None:
    """Return the number of rows of a file that tells it before it is read, else None."""
    with path.open("rb") as stream:
        if stream.read(4) != b"PAR1":
            return None
    try:
        return int(pq.ParquetFile(path).metadata.num_rows)
    except (pa.ArrowException, OSError):
        return None


def read_blocks(
    name: str, path: Path, source: Source, columns: Collection[str], skip: int
) -> Iterator[Block]:
    """Yield the rows of a file from some row on.

    Args:
        name: Name of the file within the source.
        path: Where it lies.
        source: Declared format, delimiter, encoding and texts that mean a missing value.
        columns: Columns that matter; the others may be left out.
        skip: Rows at the beginning that may be left out.

    Raises:
        RunFailure: the file as a whole cannot be read.
    """
    try:
        for block in _read(name, path, source, columns, skip):
            yield block._replace(table=_cleaned(block.table, source))
    except Unreadable as error:
        message = f"{field_of(source)}: {name}: {error.detail}; or remove the file"
        raise RunFailure(error.reason, message) from error


def _read(
    name: str, path: Path, source: Source, columns: Collection[str], skip: int
) -> Iterator[Block]:
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head.strip():
        return
    kind = find_format(name, head) if source.format == "Auto" else source.format
    if kind == "Parquet":
        yield from _parquet(name, path, columns, skip)
    elif kind in ("CSV", "TSV", "JSONLines", "Text"):
        # What reads text brings libraries along that Parquet does not need.
        from modelyard_runtimes.batch.text import read_text  # noqa: PLC0415

        yield from _numbered(name, read_text(name, path, kind, source))
    else:
        yield from _numbered(name, _whole(name, path, source))


def _numbered(name: str, parts: Iterable[ReadFile]) -> Iterator[Block]:
    first = 0
    for read in parts:
        whole = Block(name, first, read.table, read.rejected, read.absent)
        size = block_rows(read.table.num_columns)
        for start in range(0, max(read.table.num_rows, 1), size):
            yield whole.part(start, size)
        first += read.table.num_rows


def _parquet(name: str, path: Path, columns: Collection[str], skip: int) -> Iterator[Block]:
    try:
        # Without these a whole row group would be held in memory.
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)
        own = file.schema_arrow.names
        names, _ = column_names(own)
        if len(set(own)) < len(own):
            raise Unreadable("DuplicateColumns", "two columns have one name; rename one")
        given = dict(zip(own, names, strict=True))
        wanted = [column for column in own if given[column] in columns] or own[:1]
        groups = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
        starts = list(accumulate(groups, initial=0))
        left = [at for at in range(len(groups)) if starts[at + 1] > skip]
        first = starts[left[0]] if left else starts[-1]
        yield Block(name, first, _renamed(file.schema_arrow.empty_table(), given))
        for batch in file.iter_batches(block_rows(len(wanted)), row_groups=left, columns=wanted):
            yield Block(name, first, _renamed(pa.Table.from_batches([batch]), given))
            first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        detail = "the Parquet file is truncated or damaged; write it again"
        raise Unreadable("BrokenParquet", detail) from error


def _renamed(table: pa.Table, given: Mapping[str, str]) -> pa.Table:
    return table.rename_columns([given[name] for name in table.column_names])


def _whole(name: str, path: Path, source: Source) -> Iterator[ReadFile]:
    """Yield what a file holds that cannot be read in part.

    Raises:
        Unreadable: it is too large for that.
    """
    from modelyard_runtimes.dataset.formats import read_file  # noqa: PLC0415

    size = path.stat().st_size
    if size > MOST_WHOLE_BYTES:
        raise Unreadable(
            "FileTooLarge",
            f"a file of this format is read whole, at most {MOST_WHOLE_BYTES >> 20} MiB, and it "
            f"has {size >> 20}; write it as Parquet, CSV or JSON lines",
        )
    yield from read_file(name, path.read_bytes(), source)


def _cleaned(table: pa.Table, source: Source) -> pa.Table:
    """Return a table whose texts are trimmed, and missing where they say so."""
    for position, column in enumerate(table.columns):
        kind = column.type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            cells = clean_cells(column.cast(kind).cast(TEXT), source.null_values)
            table = table.set_column(position, table.column_names[position], cells)
    return table
