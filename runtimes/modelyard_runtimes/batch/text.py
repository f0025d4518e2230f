"""Reads delimited text and JSON lines in pieces that end with a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.dataset import Source

from modelyard_runtimes.dataset.decode import decode
from modelyard_runtimes.dataset.documents import read_json_lines
from modelyard_runtimes.dataset.formats import text_format
from modelyard_runtimes.tables.delimited import find_columns, find_delimiter, read_content
from modelyard_runtimes.tables.rows import TEXT, ReadFile, Rejected, Unreadable
from modelyard_runtimes.tables.text import REPLACEMENT, Decoded, Piece, Pieces

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
    head = decode(_whole_lines(sample) if len(sample) == _SAMPLE else sample, source.encoding)
    if kind == "Text":
        kind = text_format(head.text, source)
    if kind == "JSON":
        raise Unreadable("NotATable", "it holds a JSON document; name it .json")
    sure = source.encoding is not None or len(sample) < _SAMPLE or not _fits_all(head)
    parts = _decoded(path, head.encoding) if sure else _decoded_late(path, sample)
    if kind == "JSONLines":
        yield from _json_lines(name, _pieces(parts, head.encoding, quoted=False))
    else:
        found = find_delimiter(head.text)
        usual = "\t" if kind == "TSV" else (found[0] if found else ",")
        pieces = _pieces(parts, head.encoding, quoted=True)
        yield from _delimited(name, pieces, source.delimiter or usual)


def _whole_lines(sample: bytes) -> bytes:
    """Return the beginning of a file up to where a line ends, with no character cut in two.

    In UTF-16 a line end has two bytes, of which the first may be taken for all of it.
    """
    lines = sample[: sample.rfind(b"\n") + 1] or sample
    return lines[: len(lines) // 2 * 2]


def _fits_all(beginning: Decoded) -> bool:
    """Return whether the beginning of a text tells nothing: plain letters are alike in all."""
    return beginning.encoding == "utf-8" and beginning.text.isascii()


def _decoded(path: Path, encoding: str) -> Iterator[str]:
    with path.open(encoding=encoding, errors="replace", newline="") as text:
        yield from iter(partial(text.read, PIECE), "")


def _decoded_late(path: Path, sample: bytes) -> Iterator[str]:
    """Yield a text whose encoding is found where its first byte is that is no plain letter."""
    with path.open("rb") as stream:
        while (read := stream.read(PIECE)).isascii():
            if not read:
                return
            yield read.decode("ascii")
        start = stream.tell() - len(read)
        encoding = _late_encoding(read + stream.readline(_SAMPLE), sample)
        stream.seek(start)
        with TextIOWrapper(stream, encoding, errors="replace", newline="") as text:
            yield from iter(partial(text.read, PIECE), "")


def _late_encoding(lines: bytes, sample: bytes) -> str:
    """Return the encoding of a text whose beginning tells nothing.

    Args:
        lines: Lines from further down, some of them with other bytes than plain letters.
        sample: The beginning, which shows what else the text is made of.
    """
    # So far down, zeros are no sign of UTF-16.
    return decode(sample + b"\n" + lines.replace(b"\0", b"")).encoding


def _delimited(name: str, pieces: Iterator[_Piece], delimiter: str) -> Iterator[ReadFile]:
    content = None
    for piece in pieces:
        if content is None:
            content, _ = find_columns(name, piece.decoded, delimiter)
        else:
            content = content._replace(
                text=piece.decoded.text, skip=0, damaged=piece.decoded.damaged
            )
        table, rejected = read_content(content)
        yield ReadFile(name, table, _moved(rejected, piece.before))


def _json_lines(name: str, pieces: Iterator[_Piece]) -> Iterator[ReadFile]:
    """Yield the objects; a column that the file had before goes on, absent from all rows."""
    known: dict[str, None] = {}
    for piece in pieces:
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


def _pieces(parts: Iterator[str], encoding: str, *, quoted: bool) -> Iterator[_Piece]:
    """Yield a text in pieces of whole lines."""
    pieces = Pieces(quoted=quoted)
    for part in parts:
        piece = pieces.take(part)
        if piece is not None:
            yield _piece(piece, encoding)
    piece = pieces.last()
    if piece is not None:
        yield _piece(piece, encoding)


def _piece(piece: Piece, encoding: str) -> _Piece:
    decoded = Decoded(piece.text, encoding, damaged=REPLACEMENT in piece.text)
    return _Piece(decoded, piece.before)
