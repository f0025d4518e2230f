"""Keeps a part of the rows, chosen by content, so that the order of files does not matter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.dataset import Sample

from modelyard_runtimes.dataset.canonical import Hashes, mix, plain
from modelyard_runtimes.entry import RunFailure

Rows = npt.NDArray[np.int64]


def chosen_rows(table: pa.Table, hashes: Hashes, sample: Sample) -> Rows:
    """Return the positions of the rows to keep; all when there are no more than asked for.

    Args:
        table: The rows.
        hashes: Hash of each row.
        sample: Method, number and seed.

    Raises:
        RunFailure: the column of a stratified sample is missing.
    """
    if table.num_rows <= sample.rows:
        return np.arange(table.num_rows)
    with np.errstate(over="ignore"):
        seed = mix(np.array([sample.seed + 1], dtype=np.uint64))
        keys = mix(hashes[:, 0] + seed)
    if sample.method == "Random":
        return np.lexsort((hashes[:, 1], keys))[: sample.rows]
    if sample.by not in table.column_names:
        raise RunFailure(
            "MissingColumn",
            f"spec.sample.by: the source has no column {sample.by}; correct the name",
        )
    strata = plain(table.column(sample.by)).dictionary_encode(null_encoding="encode").indices
    return _stratified(strata.to_numpy(zero_copy_only=False), keys, hashes, sample.rows)


def _stratified(strata: Rows, keys: npt.NDArray[np.uint64], hashes: Hashes, rows: int) -> Rows:
    """Return rows by stratum, each with its share; what is left goes to the largest remainders."""
    counts = np.bincount(strata)
    exact = counts * rows / len(strata)
    quotas = np.floor(exact).astype(np.int64)
    order = np.lexsort((hashes[:, 1], keys, strata))
    starts = np.cumsum(counts) - counts
    # Equal remainders are told apart by the first row, as the numbering of strata follows the
    # order of rows.
    first = keys[order[starts]]
    largest = np.lexsort((first, quotas - exact))[: rows - int(quotas.sum())]
    quotas[largest] += 1
    rank = np.arange(len(strata)) - np.repeat(starts, counts)
    return order[rank < np.repeat(quotas, counts)]
