"""Reads delimited text and JSON lines in pieces that end with a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.dataset import Source

from modelyard_runtimes.dataset.decode import REPLACEMENT, Decoded, decode
from modelyard_runtimes.dataset.delimited import find_columns, find_delimiter, read_content
from modelyard_runtimes.dataset.documents import read_json_lines
from modelyard_runtimes.dataset.formats import text_format
from modelyard_runtimes.dataset.rows import TEXT, ReadFile, Rejected, Unreadable

PIECE = 1 << 23
"""Characters that are read at a time."""
_SAMPLE = 1 << 20
"""Bytes by which the encoding is found."""


class _Piece(NamedTuple):
    """Some whole lines of a file, and how many stand before them."""

    decoded: Decoded
    before: int


def read_text(name: str, path: Path, kind: str, source: Source) -> Iterator[ReadFile]:
    """Yield the rows of a text and what of it is no row, some whole lines at a time.

    Args:
        name: Name of the file within the source.
        path: Where it lies.
        kind: CSV, TSV, JSONLines, or Text when only the content can tell.
        source: Declared delimiter and encoding.

    Raises:
        Unreadable: the file as a whole is no such text.
    """
    with path.open("rb") as stream:
        sample = stream.read(_SAMPLE)
    cut = sample[: sample.rfind(b"\n") + 1] or sample
    head = decode(cut if len(sample) == _SAMPLE else sample, source.encoding)
    if kind == "Text":
        kind = text_format(head.text, source)
    if kind == "JSON":
        raise Unreadable("NotATable", "it holds a JSON document; name it .json")
    with path.open(encoding=head.encoding, errors="replace", newline="") as text:
        if kind == "JSONLines":
            yield from _json_lines(name, text, head.encoding)
        else:
            found = find_delimiter(head.text)
            usual = "\t" if kind == "TSV" else (found[0] if found else ",")
            yield from _delimited(name, text, head.encoding, source.delimiter or usual)


def _delimited(name: str, text: TextIO, encoding: str, delimiter: str) -> Iterator[ReadFile]:
    content = None
    for piece in _pieces(text, encoding, quoted=True):
        if content is None:
            content, _ = find_columns(name, piece.decoded, delimiter)
        else:
            content = content._replace(
                text=piece.decoded.text, skip=0, damaged=piece.decoded.damaged
            )
        table, rejected = read_content(content)
        yield ReadFile(name, table, _moved(rejected, piece.before))


def _json_lines(name: str, text: TextIO, encoding: str) -> Iterator[ReadFile]:
    """Yield the objects; a column that the file had before goes on, absent from all rows."""
    known: dict[str, None] = {}
    for piece in _pieces(text, encoding, quoted=False):
        read = read_json_lines(name, piece.decoded)
        table, absent, rows = read.table, dict(read.absent or {}), read.table.num_rows
        for column in known:
            if column not in table.column_names:
                table = table.append_column(column, pa.nulls(rows, TEXT))
                absent[column] = np.ones(rows, dtype=np.bool_)
        known |= dict.fromkeys(table.column_names)
        yield ReadFile(name, table, _moved(read.rejected, piece.before), absent=absent)


def _moved(rejected: Sequence[Rejected], lines: int) -> list[Rejected]:
    """Return rows set apart with their lines counted from the beginning of the file."""
    return [row._replace(line=row.line + lines if row.line else None) for row in rejected]


def _pieces(text: TextIO, encoding: str, *, quoted: bool) -> Iterator[_Piece]:
    """Yield a text in pieces of whole lines; quoted fields that hold line ends stay whole."""
    rest, before = "", 0
    while read := text.read(PIECE):
        rest = (rest + read).replace("\r\n", "\n")
        if rest.endswith("\r"):  # its line feed may be the next character
            continue
        rest = rest.replace("\r", "\n")
        end = _last_end(rest) if quoted else rest.rfind("\n") + 1
        if end:
            yield _piece(rest[:end], before, encoding)
            before += rest.count("\n", 0, end)
            rest = rest[end:]
    if rest.strip():
        yield _piece(rest.replace("\r", "\n"), before, encoding)


def _piece(text: str, before: int, encoding: str) -> _Piece:
    text = text.removeprefix("\ufeff") if before == 0 else text
    return _Piece(Decoded(text, encoding, damaged=REPLACEMENT in text), before)


def _last_end(text: str) -> int:
    """Return where the last line ends that no quoted field reaches over; 0 without one.

    Where a broken quote would make a field of all that follows, the last line end counts: the
    reader sets the broken line apart.
    """
    end = text.rfind("\n") + 1
    if text.count('"', 0, end) % 2 == 0:
        return end
    codes = np.frombuffer(text[:end].encode("utf-32-le"), dtype=np.uint32)
    inside = np.logical_xor.accumulate(codes == ord('"'))
    ends = np.flatnonzero((codes == ord("\n")) & ~inside)
    return int(ends[-1]) + 1 if len(ends) else end
