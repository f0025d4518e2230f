"""The data sets that come with scikit-learn, with class names as text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.dataset import Builtin, ColumnType

from modelyard_runtimes.tables.cells import column_texts
from modelyard_runtimes.tables.rows import ReadFile

TARGET = "target"


class BuiltinTable(NamedTuple):
    """A bundled data set and the types its documentation states."""

    file: ReadFile
    types: dict[str, ColumnType]


def read_builtin(name: Builtin) -> BuiltinTable:
    """Return a bundled data set: its features, and the column `target`."""
    # Loading scikit-learn takes a second, which other sources need not pay.
    from sklearn import datasets  # type: ignore[import-untyped]  # noqa: PLC0415

    bunch = getattr(datasets, f"load_{name}")()
    names = [str(feature) for feature in bunch.feature_names]
    columns = [column_texts(pa.chunked_array([column])) for column in np.asarray(bunch.data).T]
    types: dict[str, ColumnType] = dict.fromkeys(names, "Numeric")
    if "target_names" in bunch:
        labels = [str(bunch.target_names[code]) for code in bunch.target]
        target = pa.chunked_array([pa.array(labels, pa.large_string())])
        types[TARGET] = "Categorical"
    else:
        target = column_texts(pa.chunked_array([np.asarray(bunch.target)]))
        types[TARGET] = "Numeric"
    table = pa.table([*columns, target], names=[*names, TARGET])
    return BuiltinTable(ReadFile(name, table, notes=["comes with scikit-learn"]), types)
