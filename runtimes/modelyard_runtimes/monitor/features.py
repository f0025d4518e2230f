"""Which features are compared, and their values in the reference and in the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from modelyard.api.monitor import DriftMetric

from modelyard_runtimes.model.format import ModelDocument, category_text
from modelyard_runtimes.monitor.comparison import NUMERIC, Values, suits

_NO_TEST = {
    "Datetime": "a time moves on by itself; there is no test for the type Datetime",
    "Text": "there is no test for the type Text",
}


def choose(
    model: ModelDocument, metrics: Sequence[DriftMetric]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the type by compared feature, and the reason by feature that is not compared."""
    compared: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for feature in model.features:
        action = model.privacy.get(feature.name, "Allow")
        if feature.name in model.never_logged:
            reasons[feature.name] = "it seems to hold personal data and is never logged"
        elif action != "Allow":
            reasons[feature.name] = f"the privacy action {action} hides its values"
        elif feature.type in _NO_TEST:
            reasons[feature.name] = _NO_TEST[feature.type]
        elif not set(metrics) & set(suits(feature.type)):
            reasons[feature.name] = (
                f"no metric of spec.drift.metrics suits the type {feature.type}; add one of "
                f"{', '.join(suits(feature.type))}"
            )
        else:
            compared[feature.name] = feature.type
    return compared, reasons


def reference_columns(snapshot: Path, types: Mapping[str, str], max_rows: int) -> dict[str, Values]:
    """Return the values of the training snapshot by feature.

    Args:
        snapshot: Local path of the snapshot's Parquet file.
        types: Numeric, Ordinal, Categorical or Boolean, by feature.
        max_rows: Rows that are looked at, chosen at random where there are more.
    """
    table = pq.read_table(snapshot, columns=list(types))
    if table.num_rows > max_rows:
        chosen = np.random.default_rng(0).choice(
            table.num_rows, max_rows, replace=False, shuffle=False
        )
        table = table.take(pa.array(np.sort(chosen)))
    return {
        name: _numbers(table.column(name))
        if kind == NUMERIC
        else categories(table.column(name).to_pylist(), kind)
        for name, kind in types.items()
    }


def window_columns(
    rows: Sequence[Mapping[str, Any]], types: Mapping[str, str]
) -> dict[str, Values]:
    """Return the values of logged rows by feature; a feature that a row lacks is missing."""
    return {
        name: [row.get(name) for row in rows]
        if kind == NUMERIC
        else categories([row.get(name) for row in rows], kind)
        for name, kind in types.items()
    }


def categories(values: Sequence[Any], kind: str) -> list[str | None]:
    """Return categories as texts, None where missing; 0 and 1 of a Boolean are false and true."""
    if kind == "Boolean":
        values = [value if value is None else bool(value) for value in values]
    return [
        value if value is None or isinstance(value, str) else category_text(value)
        for value in values
    ]


def _numbers(column: Any) -> Values:
    """Return an Arrow column as floats, NaN where missing."""
    values: Values = column.cast(pa.float64(), safe=False).to_numpy()
    return values
