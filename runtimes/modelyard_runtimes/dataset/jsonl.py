"""Rows as JSON lines: a fast writer for tables, and rows as objects for the few that are shown."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from modelyard_runtimes.dataset.canonical import ROW_GROUP, plain, text_bytes
from modelyard_runtimes.tables.rows import TEXT
from modelyard_runtimes.threads import in_threads

_SPECIAL = r'["\\\x00-\x1f]'
"""Characters that JSON escapes."""


def moment_texts(array: pa.Array) -> pa.Array:
    """Return moments as ISO 8601 texts in UTC, with a fraction only where there is one."""
    texts = array.cast(TEXT)
    whole = pc.replace_substring_regex(texts, pattern=r"\.0+$", replacement="")
    days_apart = pc.utf8_replace_slice(whole, start=10, stop=11, replacement="T")
    return pc.binary_join_element_wise(days_apart, pa.scalar("Z", TEXT), pa.scalar("", TEXT))


def json_values(array: pa.Array) -> list[Any]:
    """Return the values of a column as JSON knows them; moments as ISO 8601 text in UTC."""
    texts = moment_texts(array) if pa.types.is_timestamp(array.type) else array
    values: list[Any] = texts.to_pylist()
    return values


def json_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table as JSON objects, keys in the order of columns."""
    columns = [json_values(plain(column)) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def json_lines(table: pa.Table) -> bytes:
    """Return the rows of a table as JSON lines, keys in the order of columns."""
    starts = range(0, table.num_rows, ROW_GROUP)
    return b"".join(in_threads(lambda start: _lines(table.slice(start, ROW_GROUP)), starts))


def _lines(part: pa.Table) -> memoryview:
    pieces: list[Any] = []
    for position, name in enumerate(part.column_names):
        opening = "," if position else "{"
        pieces += [f"{opening}{_quoted(name)}:", _json_texts(plain(part.column(name)))]
    lines = pc.binary_join_element_wise(
        *[pa.scalar(piece, TEXT) if isinstance(piece, str) else piece for piece in pieces],
        pa.scalar("}\n", TEXT),
        pa.scalar("", TEXT),
    )
    return text_bytes(lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _json_texts(array: pa.Array) -> pa.Array:
    """Return the JSON text of each value."""
    quote, nothing = pa.scalar('"', TEXT), pa.scalar("", TEXT)
    if pa.types.is_timestamp(array.type):
        texts = pc.binary_join_element_wise(quote, moment_texts(array), quote, nothing)
    elif pa.types.is_large_string(array.type):
        texts = pc.binary_join_element_wise(quote, array, quote, nothing)
        special = pc.fill_null(pc.match_substring_regex(array, pattern=_SPECIAL), False)
        if pc.any(special).as_py():
            quoted = [_quoted(text) for text in array.filter(special).to_pylist()]
            texts = pc.replace_with_mask(texts, special, pa.array(quoted, TEXT))
    else:
        texts = array.cast(TEXT)
    return pc.fill_null(texts, "null")
