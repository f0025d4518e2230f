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
_MISSING = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)
_STEP = np.array([0xD6E8FEB86659FD93, 0xA0761D6478BD642F], dtype=np.uint64)


def mix(values: Hashes) -> Hashes:
    """Return 64-bit values mixed well: the finaliser of SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def row_hashes(table: pa.Table) -> Hashes:
    """Return the hash of each row; equal rows have equal hashes, whatever their place."""
    hashes = np.zeros((table.num_rows, 2), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for name in table.column_names:
            hashes = mix(hashes * _STEP + _column_hashes(plain(table.column(name))))
    return hashes


def plain(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, with -0.0 as 0.0."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    return pc.add(array, 0.0) if pa.types.is_floating(array.type) else array


def _column_hashes(array: pa.Array) -> Hashes:
    if pa.types.is_large_string(array.type):
        encoded = array.dictionary_encode()
        distinct = _text_hashes(encoded.dictionary)
        indices = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        hashes = distinct[indices] if len(distinct) else np.zeros((len(array), 2), np.uint64)
    else:
        bits = _bits(array)
        hashes = mix(bits[:, None] + _STEP)
    missing = array.is_null().to_numpy(zero_copy_only=False)
    hashes[missing] = _MISSING
    return hashes


def _bits(array: pa.Array) -> npt.NDArray[np.uint64]:
    """Return the 64 bits of each number, moment or truth value; zero where it is missing."""
    if pa.types.is_floating(array.type):
        return np.asarray(array.fill_null(0.0).to_numpy(zero_copy_only=False)).view(np.uint64)
    integers = array.cast(pa.int64()).fill_null(0)
    return np.asarray(integers.to_numpy(zero_copy_only=False)).view(np.uint64)


def _text_hashes(texts: pa.Array) -> Hashes:
    digests = [
        hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts.to_pylist()
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2).astype(np.uint64)


def canonical_order(hashes: Hashes) -> npt.NDArray[np.int64]:
    """Return the positions of rows in canonical order."""
    return np.lexsort((hashes[:, 1], hashes[:, 0]))


def duplicate_rows(hashes: Hashes) -> npt.NDArray[np.bool_]:
    """Return where a row is a copy of an earlier one."""
    copies = np.ones(len(hashes), dtype=np.bool_)
    _, first = np.unique(hashes.view("<u8,<u8").ravel(), return_index=True)
    copies[first] = False
    return copies


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
        total.update(_bits(array).astype("<u8").tobytes())
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
