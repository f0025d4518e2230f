"""Finds the format of a file by name and content, and reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from modelyard.api.dataset import Source

from modelyard_runtimes.dataset.archive import read_members
from modelyard_runtimes.dataset.decode import decode
from modelyard_runtimes.dataset.documents import read_json, read_json_lines
from modelyard_runtimes.dataset.typed import read_parquet, read_workbook
from modelyard_runtimes.tables.delimited import find_delimiter, read_delimited
from modelyard_runtimes.tables.rows import ReadFile, Unreadable, whole_file
from modelyard_runtimes.tables.text import Decoded

_BY_SUFFIX = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".tab": "TSV",
    ".json": "JSON",
    ".jsonl": "JSONLines",
    ".ndjson": "JSONLines",
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".xlsx": "XLSX",
    ".zip": "Zip",
}
_ZIP_MARK = b"PK\x03\x04"
_EMPTY_ZIP_MARK = b"PK\x05\x06"
_EVEN_LINES = 0.8


def read_file(name: str, data: bytes, source: Source, *, nested: bool = False) -> list[ReadFile]:
    """Return what a file holds; never raises for what is in it.

    Args:
        name: Name of the file within the source.
        data: Its bytes.
        source: Declared format, delimiter and encoding.
        nested: Whether the file came out of an archive, so that it may not be one itself.
    """
    try:
        return list(_read(name, data, source, nested=nested))
    except Unreadable as error:
        return [whole_file(name, error.reason, error.detail)]


def _read(name: str, data: bytes, source: Source, *, nested: bool) -> Iterable[ReadFile]:
    if not data.strip():
        raise Unreadable("EmptyFile", "the file is empty; remove it or add rows")
    kind = find_format(name, data) if source.format == "Auto" else source.format
    if kind == "Zip" and nested:
        raise Unreadable("NestedArchive", "an archive in an archive is not read; unpack it first")
    if kind == "Zip":
        return _read_archive(name, data, source)
    if kind == "Parquet":
        return [read_parquet(name, data)]
    if kind == "XLSX":
        return read_workbook(name, data)
    return [_read_text(name, kind, decode(data, source.encoding), source)]


def find_format(name: str, data: bytes) -> str:
    """Return the format of a file: marks in the content count more than the name.

    The answer is one of `Format` without Auto, or Zip, or Text when only the content can tell.
    """
    named = _BY_SUFFIX.get(PurePosixPath(name).suffix.lower(), "Text")
    if data.startswith(b"PAR1"):
        return "Parquet"
    if data.startswith((_ZIP_MARK, _EMPTY_ZIP_MARK)):
        return "XLSX" if named == "XLSX" or b"xl/workbook.xml" in data else "Zip"
    return named


def _read_text(name: str, kind: str, decoded: Decoded, source: Source) -> ReadFile:
    if kind == "Text":
        kind = text_format(decoded.text, source)
    if kind == "JSON":
        return read_json(name, decoded)
    if kind == "JSONLines":
        return read_json_lines(name, decoded)
    found = find_delimiter(decoded.text)
    usual = "\t" if kind == "TSV" else (found[0] if found else ",")
    return read_delimited(name, decoded, source.delimiter or usual)


def text_format(text: str, source: Source) -> str:
    """Return the format of a text whose name does not tell it."""
    start = text.lstrip()
    if start.startswith("["):
        return "JSON"
    if start.startswith("{"):
        return "JSONLines" if start.split("\n", 1)[0].rstrip().endswith("}") else "JSON"
    found = find_delimiter(text)
    if source.delimiter or (found and found[1] >= _EVEN_LINES):
        return "CSV"
    raise Unreadable(
        "NotATable", "no delimiter splits the lines evenly; set spec.source.format or remove it"
    )


def _read_archive(name: str, data: bytes, source: Source) -> Iterator[ReadFile]:
    members = list(read_members(data))
    if not members:
        raise Unreadable("EmptyFile", "the archive is empty; remove it or add files")
    for member, content in members:
        label = f"{name}/{member}"
        if isinstance(content, Unreadable):
            yield whole_file(label, content.reason, content.detail)
        elif is_hidden(member):
            yield ReadFile(label, whole_file(label, "", "").table, notes=["hidden, not read"])
        else:
            yield from read_file(label, content, source, nested=True)


def is_hidden(path: str) -> bool:
    """Return whether a file is hidden: it, or a folder above it, starts with a dot or `__`."""
    return any(part.startswith((".", "__")) for part in PurePosixPath(path).parts)
