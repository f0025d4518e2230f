"""The one order of rows, their fingerprint, and the bytes of the snapshot.

A row's hash is 128 bits, mixed from its values in the order of columns; rows are ordered by it.
So the order depends on the rows alone, equal rows keep their number, and the first rows are a
random part of all. The fingerprint is SHA-256 over the schema and the columns in that order.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnType
from modelyard.api.identity import canonical_json

from modelyard_runtimes.threads import in_threads

Words = npt.NDArray[np.uint64]
Hashes = npt.NDArray[np.uint64]
"""Rows x 2: the two halves of each row's hash."""

ROW_GROUP = 1 << 17
_BLOCK = 1 << 14
"""Rows that are hashed at a time, so that they stay in the processor's cache."""
_SPAN = 16 * _BLOCK
"""Rows that are hashed by a thread before it takes others."""
_MISSING = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)
_STEP = np.array([0xD6E8FEB86659FD93, 0xA0761D6478BD642F], dtype=np.uint64)
_SHIFTS = np.array([30, 27, 31], dtype=np.uint64)
_FACTORS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)


def mix(values: Words) -> Words:
    """Return 64-bit values mixed well: the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = values.copy()
    _mix_in_place(mixed, np.empty_like(mixed))
    return mixed


def _mix_in_place(values: Words, scratch: Words) -> None:
    for shift, factor in zip(_SHIFTS[:2], _FACTORS, strict=True):
        np.right_shift(values, shift, out=scratch)
        np.bitwise_xor(values, scratch, out=values)
        np.multiply(values, factor, out=values)
    np.right_shift(values, _SHIFTS[2], out=scratch)
    np.bitwise_xor(values, scratch, out=values)


class _Hashable(NamedTuple):
    """A column made ready for hashing.

    Attributes:
        array: Its values; of texts that repeat, the position of each in `texts`.
        texts: Hashes of texts, None for other types.
    """

    array: pa.Array
    texts: Hashes | None


def row_hashes(table: pa.Table) -> Hashes:
    """Return the hash of each row; equal rows have equal hashes, whatever their place."""
    columns = in_threads(_hashable, table.columns)
    hashes = np.empty((table.num_rows, 2), dtype=np.uint64)

    def hash_span(first: int) -> None:
        buffers = np.empty((5, _BLOCK), dtype=np.uint64)
        for start in range(first, min(first + _SPAN, len(hashes)), _BLOCK):
            block = hashes[start : start + _BLOCK]
            halves, values, scratch = np.split(buffers[:, : len(block)], [2, 4])
            halves[:] = 0
            for column in columns:
                _hash_values(column, start, values, scratch[0])
                for half, value, step in zip(halves, values, _STEP, strict=True):
                    np.multiply(half, step, out=half)
                    np.add(half, value, out=half)
                    _mix_in_place(half, scratch[0])
            block[:] = halves.T

    in_threads(hash_span, range(0, table.num_rows, _SPAN))
    return hashes


def plain(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, with -0.0 as 0.0."""
    array = joined(column)
    return pc.add(array, 0.0) if pa.types.is_floating(array.type) else array


def joined(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, which is copied only where it has several chunks."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _hashable(column: pa.ChunkedArray) -> _Hashable:
    array = joined(column)
    if not pa.types.is_large_string(array.type):
        return _Hashable(array, None)
    beginning = array.slice(0, _BLOCK)
    if pc.count_distinct(beginning).as_py() * 2 > len(beginning):
        return _Hashable(array, _text_hashes(array))
    encoded = array.dictionary_encode()
    return _Hashable(encoded.indices, _text_hashes(encoded.dictionary))


def _hash_values(column: _Hashable, start: int, values: Words, scratch: Words) -> None:
    """Put the hashes of a block of values, in two halves, into `values`."""
    array = column.array.slice(start, len(scratch))
    if column.texts is None:
        bits = _bits(array, scratch)
        for value, step in zip(values, _STEP, strict=True):
            np.add(bits, step, out=value)
        for value in values:
            _mix_in_place(value, scratch)
    elif pa.types.is_large_string(array.type):
        values[:] = column.texts[start : start + len(scratch)].T
    else:
        values[:] = column.texts[_without_nulls(array, 0)].T
    if array.null_count:
        values[:, array.is_null().to_numpy(zero_copy_only=False)] = _MISSING[:, None]


def _bits(array: pa.Array, scratch: Words) -> Words:
    """Return the 64 bits of each number, moment or truth value; zero where it is missing."""
    if pa.types.is_floating(array.type):
        numbers = _without_nulls(array, 0.0)
        # Adding nothing makes -0.0 the same as 0.0.
        np.add(numbers, 0.0, out=scratch.view(np.float64))
        return scratch
    return _without_nulls(array.cast(pa.int64()), 0).view(np.uint64)


def _without_nulls(array: pa.Array, instead: float) -> npt.NDArray[Any]:
    filled = array.fill_null(instead) if array.null_count else array
    return np.asarray(filled.to_numpy(zero_copy_only=False))


def _text_hashes(texts: pa.Array) -> Hashes:
    """Return the hash of each text; one of nothing where there is no text to point at."""
    if len(texts) == 0:
        return np.zeros((1, 2), dtype=np.uint64)
    digests = [
        hashlib.blake2b(text, digest_size=16).digest()
        for start in range(0, len(texts), ROW_GROUP)
        for text in texts.slice(start, ROW_GROUP).fill_null("").cast(pa.large_binary()).to_pylist()
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2).astype(np.uint64)


def canonical_order(hashes: Hashes) -> npt.NDArray[np.int64]:
    """Return the positions of rows in canonical order; equal rows stay in the order they are in."""
    order = np.argsort(hashes[:, 0])
    first = hashes[order, 0]
    # Sorting by one key is several times faster than by two, and first halves are rarely equal
    # unless rows are.
    equal = np.zeros(len(order) + 1, dtype=np.bool_)
    equal[1:-1] = first[1:] == first[:-1]
    tied = equal[1:] | equal[:-1]
    if tied.any():
        rows = np.sort(order[tied])
        order[tied] = rows[np.lexsort((hashes[rows, 1], hashes[rows, 0]))]
    return order


def take_rows(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Return rows of a table, by their positions."""
    positions = pa.array(rows)
    taken = in_threads(lambda column: joined(column).take(positions), table.columns)
    return pa.table(taken, names=table.column_names)


def repeats(hashes: Hashes, order: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return where, in canonical order, a row is equal to the one before."""
    ordered = hashes[order]
    found = np.zeros(len(order), dtype=np.bool_)
    found[1:] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return found


def duplicate_rows(hashes: Hashes) -> npt.NDArray[np.bool_]:
    """Return where a row is a copy of an earlier one."""
    order = canonical_order(hashes)
    copies = np.empty(len(order), dtype=np.bool_)
    copies[order] = repeats(hashes, order)
    return copies


def fingerprint(
    table: pa.Table,
    types: dict[str, ColumnType],
    orders: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> str:
    """Return the digest of the schema and of the rows of a table in canonical order.

    Args:
        table: The rows.
        types: Type by column.
        orders: Values of each Ordinal column, the lowest first.
    """
    schema = [[name, types[name], *orders.get(name, ())] for name in table.column_names]
    total = hashlib.sha256(canonical_json({"columns": schema, "rows": table.num_rows}))
    for digest in in_threads(_column_digest, table.columns):
        total.update(digest)
    return f"sha256:{total.hexdigest()}"


def _column_digest(column: pa.ChunkedArray) -> bytes:
    array = joined(column)
    total = hashlib.sha256(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_large_string(array.type):
        texts = pa.concat_arrays([array.fill_null("")])
        total.update(pc.binary_length(texts).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
        total.update(text_bytes(texts))
        return total.digest()
    total.update(str(array.type).encode())
    scratch = np.empty(min(len(array), ROW_GROUP), dtype=np.uint64)
    for start in range(0, len(array), ROW_GROUP):
        part = array.slice(start, ROW_GROUP)
        total.update(_bits(part, scratch[: len(part)]).astype("<u8", copy=False).data)
    return total.digest()


def text_bytes(texts: pa.Array) -> memoryview:
    """Return the bytes of all texts, one after the other."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data or b"")[int(ends[0]) : int(ends[-1])]


def parquet_bytes(table: pa.Table) -> bytes:
    """Return the table as Parquet; the same table gives the same bytes."""
    schema = pa.schema(
        [
            pa.field(field.name, pa.string() if field.type == pa.large_string() else field.type)
            for field in table.schema
        ]
    )
    out = io.BytesIO()
    with pq.ParquetWriter(out, schema, version="2.6", compression="zstd") as writer:
        for start in range(0, max(table.num_rows, 1), ROW_GROUP):
            writer.write_table(table.slice(start, ROW_GROUP).cast(schema))
    return out.getvalue()
