"""The one order of rows, their fingerprint, and the bytes of the snapshot.

A row's hash is 128 bits, mixed from its values in the order of columns; rows are ordered by it.
So the order depends on the rows alone, equal rows keep their number, and the first rows are a
random part of all. The fingerprint is SHA-256 over the schema and the columns in that order.
"""

from __future__ import annotations

import hashlib
import io

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnType
from modelyard.api.identity import canonical_json

Hashes = npt.NDArray[np.uint64]
"""Rows x 2: the two halves of each row's hash."""

ROW_GROUP = 1 << 17
_BLOCK = 1 << 15
"""Rows that are hashed at a time, so that they stay in the processor's cache."""
_MISSING = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)
_STEP = np.array([0xD6E8FEB86659FD93, 0xA0761D6478BD642F], dtype=np.uint64)


def mix(values: Hashes) -> Hashes:
    """Return 64-bit values mixed well: the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = values.copy()
    _mix_in_place(mixed)
    return mixed


def _mix_in_place(values: Hashes) -> None:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values ^= values >> np.uint64(shift)
        values *= np.uint64(factor)
    values ^= values >> np.uint64(31)


def row_hashes(table: pa.Table) -> Hashes:
    """Return the hash of each row; equal rows have equal hashes, whatever their place."""
    hashes = np.zeros((table.num_rows, 2), dtype=np.uint64)
    for name in table.column_names:
        array = plain(table.column(name))
        distinct = None
        if pa.types.is_large_string(array.type):
            array = array.dictionary_encode()
            distinct = _text_hashes(array.dictionary)
        for start in range(0, len(array), _BLOCK):
            block = hashes[start : start + _BLOCK]
            block *= _STEP
            block += _column_hashes(array.slice(start, _BLOCK), distinct)
            _mix_in_place(block)
    return hashes


def plain(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, with -0.0 as 0.0."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    return pc.add(array, 0.0) if pa.types.is_floating(array.type) else array


def _column_hashes(array: pa.Array, distinct: Hashes | None) -> Hashes:
    """Return the hashes of values: of their bits, or those given for the distinct texts."""
    if distinct is None:
        hashes: Hashes = _bits(array)[:, None] + _STEP
        _mix_in_place(hashes)
    else:
        hashes = distinct[array.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    if array.null_count:
        hashes[array.is_null().to_numpy(zero_copy_only=False)] = _MISSING
    return hashes


def _bits(array: pa.Array) -> npt.NDArray[np.uint64]:
    """Return the 64 bits of each number, moment or truth value; zero where it is missing."""
    if pa.types.is_floating(array.type):
        return np.asarray(array.fill_null(0.0).to_numpy(zero_copy_only=False)).view(np.uint64)
    integers = array.cast(pa.int64()).fill_null(0)
    return np.asarray(integers.to_numpy(zero_copy_only=False)).view(np.uint64)


def _text_hashes(texts: pa.Array) -> Hashes:
    """Return the hash of each text; one of nothing where there is no text to point at."""
    if len(texts) == 0:
        return np.zeros((1, 2), dtype=np.uint64)
    digests = [
        hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts.to_pylist()
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


def repeated_rows(hashes: Hashes) -> npt.NDArray[np.bool_]:
    """Return where a row occurs more than once."""
    order = canonical_order(hashes)
    later = repeats(hashes, order)
    repeated = np.empty(len(order), dtype=np.bool_)
    repeated[order] = later | np.append(later[1:], False)
    return repeated


def fingerprint(table: pa.Table, types: dict[str, ColumnType]) -> str:
    """Return the digest of the schema and of the rows of a table in canonical order."""
    schema = [[name, types[name]] for name in table.column_names]
    total = hashlib.sha256(canonical_json({"columns": schema, "rows": table.num_rows}))
    for name in table.column_names:
        total.update(_column_digest(plain(table.column(name))))
    return f"sha256:{total.hexdigest()}"


def _column_digest(array: pa.Array) -> bytes:
    total = hashlib.sha256(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_large_string(array.type):
        texts = pa.concat_arrays([array.fill_null("")])
        total.update(pc.binary_length(texts).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
        total.update(text_bytes(texts))
    else:
        total.update(str(array.type).encode())
        total.update(_bits(array).astype("<u8", copy=False).data)
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
