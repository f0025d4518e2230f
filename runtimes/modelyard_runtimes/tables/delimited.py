"""Text with delimiters (CSV, TSV): a fast reader for clean files, a strict one for the others.

The strict reader never lets a broken quote swallow the rows after it: the line is set apart, and
reading goes on at the next one.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pv  # type: ignore[import-untyped]

from modelyard_runtimes.tables.rows import TEXT, ReadFile, Rejected, Unreadable, column_names
from modelyard_runtimes.tables.text import REPLACEMENT, Decoded

DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 100
_LONGEST_HEADER = 1 << 20
_LONGEST_RECORD = 1000
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MARK = "\ufeff"
"""What Arrow passes over where it begins a text, and with it the row that has nothing else."""
_EVEN = 0.9
_NO_DECIMAL = re.compile(r"(?<!\d),|,(?!\d)")
"""A comma that stands in no number."""
_YEAR = re.compile(r"(19|20)\d\d")

csv.field_size_limit(1 << 28)


class Record(NamedTuple):
    """One record of the strict reader.

    Attributes:
        line: Its first line, from 1.
        end: Its last line.
        fields: Its fields, empty for a blank line; None when the line is broken.
        text: The line, when it is broken.
    """

    line: int
    end: int
    fields: list[str] | None
    text: str = ""


def find_delimiter(text: str) -> tuple[str, float] | None:
    """Return the delimiter that splits the first lines most evenly, with the share of such lines.

    None when no delimiter occurs in most lines: the file has one column, or is prose.
    """
    lines = [line for line in text[:200_000].splitlines()[:_LOOKED_AT] if line.strip()]
    splits = {delimiter: _split(lines, delimiter) for delimiter in DELIMITERS}
    found = {delimiter: split for delimiter, split in splits.items() if split[1] > 1}
    european = max(found.get(delimiter, (0.0, 0)) for delimiter in (";", "\t"))
    if european[0] >= _EVEN and not _NO_DECIMAL.search("\n".join(lines[1:])):
        found.pop(",", None)
    if not found:
        return None
    best = max(found, key=lambda delimiter: (found[delimiter], -DELIMITERS.index(delimiter)))
    return best, found[best][0]


def _split(lines: list[str], delimiter: str) -> tuple[float, int]:
    """Return the share of lines of the usual number of fields, and that number."""
    counts = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if row)
    if not counts:
        return 0.0, 0
    fields, times = max(counts.items(), key=lambda item: (item[1], item[0]))
    return round(times / counts.total(), 1), fields


def read_delimited(name: str, decoded: Decoded, delimiter: str) -> ReadFile:
    """Return the rows of a text with delimiters.

    Args:
        name: Name of the file within the source.
        decoded: Its text.
        delimiter: One character.

    Raises:
        Unreadable: there is no header line.
    """
    content, notes = find_columns(name, decoded, delimiter)
    table, rejected = read_content(content)
    return ReadFile(name, table, rejected, notes)


def find_columns(name: str, decoded: Decoded, delimiter: str) -> tuple[Content, list[str]]:
    """Return a text together with its columns, and notes on how these were found.

    Raises:
        Unreadable: there is no header line.
    """
    text = decoded.text.replace("\r\n", "\n").replace("\r", "\n")
    beginning = _records(text[:_LONGEST_HEADER], delimiter)
    header = next((record for record in beginning if record.fields != []), None)
    if header is None:
        raise Unreadable("EmptyFile", "the file is empty; remove it or add rows")
    if header.fields is None:
        raise Unreadable("BrokenHeader", "the header line has a broken quote; repair it")
    notes = [f"{decoded.encoding}, delimiter {delimiter!r}"]
    fields, skip = header.fields, header.end
    if _is_data(fields):
        fields = [f"column_{position}" for position in range(1, len(fields) + 1)]
        notes.append("the first line holds numbers, so columns are numbered")
        skip = 0
    names, renamed = column_names(fields)
    return Content(name, text, delimiter, names, skip, decoded.damaged), notes + renamed


def read_content(content: Content) -> tuple[pa.Table, list[Rejected]]:
    """Return the rows of a text whose columns are known, and what of it is no row."""
    found = None if content.damaged else _read_fast(content)
    return found or _read_strict(content)


class Content(NamedTuple):
    """What both readers read: a text after `skip` header lines, as columns with these names.

    In a damaged text REPLACEMENT stands for bytes that do not fit the encoding.
    """

    name: str
    text: str
    delimiter: str
    columns: list[str]
    skip: int
    damaged: bool


def _is_data(fields: list[str]) -> bool:
    """Return whether a first line is data: most of it is numbers, but no years or positions."""
    named = next((n for n, field in enumerate(fields) if field.isdecimal()), len(fields))
    count = len(fields) - named
    # Behind names, as of the index of a table, a single position or two may be values.
    enough = count >= (3 if any(fields[:named]) else 2)
    if enough and fields[named:] in ([str(n + first) for n in range(count)] for first in (0, 1)):
        return False
    numbers = [
        field
        for field in map(str.strip, fields)
        if _NUMBER.fullmatch(field) and not _YEAR.fullmatch(field)
    ]
    return len(numbers) * 2 >= len(fields)


def _is_plain(data: bytes, delimiter: str) -> bool:
    """Return whether every quoted field ends on its line, and right before a delimiter."""
    if b'"' not in data:
        return True
    codes = np.frombuffer(data + b"\n", dtype=np.uint8)
    quotes = codes == ord('"')
    inside = np.logical_xor.accumulate(quotes)
    after = codes[np.flatnonzero(quotes & ~inside) + 1]
    good_ends = (delimiter.encode() + b'\n"') if len(delimiter.encode()) == 1 else b'\n"'
    ends_well = np.isin(after, np.frombuffer(good_ends, dtype=np.uint8)).all()
    return bool(ends_well) and not (inside & (codes == ord("\n"))).any()


def _read_fast(content: Content) -> tuple[pa.Table, list[Rejected]] | None:
    """Read with Arrow, where only rows of another length have to be set apart; else None."""
    rejected: list[Rejected] = []
    excess = False

    def set_apart(row: pv.InvalidRow) -> str:
        nonlocal excess
        excess = excess or row.text.endswith(content.delimiter)
        expected, found = row.expected_columns, row.actual_columns
        kept = row.number - content.skip - 1 - len(rejected)
        ragged = _ragged(content.name, row.number, found, expected, row.text)
        rejected.append(ragged._replace(kept=kept))
        return "skip"

    data = content.text.encode("utf-8")
    if not _is_plain(data, content.delimiter) or content.text.startswith(_MARK):
        return None
    if len(data.split(b"\n", content.skip)[-1].strip()) == 0:
        return pa.table({column: pa.array([], TEXT) for column in content.columns}), []
    try:
        table = pv.read_csv(
            pa.BufferReader(data),
            read_options=pv.ReadOptions(
                column_names=content.columns,
                skip_rows=content.skip,
                use_threads=False,
                block_size=1 << 24,
            ),
            parse_options=pv.ParseOptions(
                delimiter=content.delimiter,
                ignore_empty_lines=len(content.columns) > 1,
                invalid_row_handler=set_apart,
            ),
            convert_options=pv.ConvertOptions(
                column_types=dict.fromkeys(content.columns, TEXT), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        return None  # for example nothing but NUL characters; the strict reader says what is wrong
    # A delimiter at the end of every row is no fault; only the strict reader knows that.
    return None if excess else (table, _at_lines(content, rejected))


def _at_lines(content: Content, rejected: list[Rejected]) -> list[Rejected]:
    """Return rows set apart with their lines, where the blank ones among these were not counted."""
    if not rejected or len(content.columns) == 1 or "\n\n" not in f"\n{content.text}":
        return rejected
    lines = enumerate(content.text.split("\n")[content.skip :], start=content.skip + 1)
    filled = [number for number, line in lines if line]
    return [row._replace(line=filled[(row.line or 0) - content.skip - 1]) for row in rejected]


def _read_strict(content: Content) -> tuple[pa.Table, list[Rejected]]:
    """Read record by record; what is broken or of another length is set apart."""
    width = len(content.columns)
    columns: list[list[str]] = [[] for _ in content.columns]
    rejected: list[Rejected] = []
    for record in _records(content.text, content.delimiter):
        fields = record.fields
        if record.line <= content.skip or (fields == [] and width > 1):
            continue
        row = _fitted(fields, width)
        fault = _fault(content, record, row)
        if fault is not None:
            rejected.append(fault._replace(kept=len(columns[0])))
            continue
        for column, field in zip(columns, row, strict=True):
            column.append(field)
    arrays = [pa.array(column, TEXT) for column in columns]
    return pa.table(arrays, names=content.columns), rejected


def _fitted(fields: list[str] | None, width: int) -> list[str]:
    """Return fields without an empty one in excess; a blank line is one empty field."""
    if fields == [] and width == 1:
        return [""]
    if fields and len(fields) == width + 1 and not fields[-1]:
        return fields[:-1]
    return fields or []


def _fault(content: Content, record: Record, row: list[str]) -> Rejected | None:
    if record.fields is None:
        detail = "a quote is not closed, or closed within a field; repair the line"
        return Rejected("BrokenQuote", detail, content.name, record.line, record.text)
    joined = content.delimiter.join(row)
    if content.damaged and REPLACEMENT in joined:
        detail = "bytes do not fit the encoding; set spec.source.encoding or repair them"
        return Rejected("BadEncoding", detail, content.name, record.line, joined)
    if len(row) != len(content.columns):
        return _ragged(content.name, record.line, len(row), len(content.columns), joined)
    return None


def _ragged(name: str, line: int | None, found: int, expected: int, text: str) -> Rejected:
    """Return a row with too many or too few fields, set apart."""
    detail = f"{found} fields instead of {expected}; quote fields that hold the delimiter"
    return Rejected("RaggedRow", detail, name, line, text)


def _records(text: str, delimiter: str) -> Iterator[Record]:
    """Yield the records of a text, blank lines and broken lines included."""
    lines = io.StringIO(text).readlines()
    start = 0
    while start < len(lines):
        for record in _until_broken(lines, start, delimiter):
            yield record
            if record.fields is None:
                start = record.line
                break
        else:
            return


def _until_broken(lines: list[str], start: int, delimiter: str) -> Iterator[Record]:
    """Yield records from line index `start` to the end, or to the first broken one."""
    begin = start
    taken = start

    def feed() -> Iterator[str]:
        nonlocal taken
        for line in lines[start:]:
            if taken - begin >= _LONGEST_RECORD:
                raise csv.Error("record too long")
            taken += 1
            yield line

    reader = csv.reader(feed(), delimiter=delimiter, strict=True)
    while True:
        begin = taken
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Record(begin + 1, begin + 1, None, lines[begin].rstrip("\n"))
            return
        yield Record(begin + 1, taken, fields)
