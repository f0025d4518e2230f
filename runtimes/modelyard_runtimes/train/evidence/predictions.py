"""Holdout predictions as a Parquet file, from which every metric can be recomputed."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.problem import Holdout


def predictions_file(model: Model, holdout: Holdout, predicted: Floats) -> bytes:
    """Return Parquet with a row for each row of the holdout.

    Columns: `row`, its position in the snapshot; `y_true`; `y_pred`, the class or value; for
    classification `probability_<class>` of each class; and where intervals were declared the ends
    of the value's, `lower` and `upper`, or the `plausible` classes.

    Args:
        model: The packed model.
        holdout: The rows.
        predicted: What `model` predicts for them.
    """
    columns: dict[str, object] = {"row": holdout.rows.astype(np.int64)}
    if model.document.task == "Regression":
        columns |= {"y_true": holdout.target, "y_pred": predicted}
        if model.document.conformal is not None:
            columns["lower"], columns["upper"] = model.interval(predicted)
    else:
        names = [category_text(label) for label in model.classes]
        columns["y_true"] = [names[int(position)] for position in holdout.target]
        columns["y_pred"] = [category_text(label) for label in model.labels(predicted)]
        for position, name in enumerate(names):
            columns[f"probability_{name}"] = predicted[:, position]
        if model.document.conformal is not None:
            columns["plausible"] = [
                [category_text(label) for label in labels] for labels in model.plausible(predicted)
            ]
    return parquet_bytes(pa.table(columns))


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as Parquet; equal tables give equal bytes."""
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def outputs_of(predicted: Floats) -> Floats:
    """Return predictions of a model in the form that metrics take: rows x outputs."""
    if predicted.ndim == 1:
        return predicted[:, None]
    return predicted[:, 1:] if predicted.shape[1] == 2 else predicted
