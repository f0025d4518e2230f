"""SHAP values of holdout rows, checked to add up.

Members are explained one by one, each before its link function: boosted trees in log-odds (or
values), mean trees and neighbours in probability (or values), linear models and networks in
log-odds (or values), and whatever was fitted on square roots in these.
That is where the values are additive, and exact for all but networks and neighbours, whose shares
of single columns are approximate; a mean of members in different units would be neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.explain import member_contributions
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.evidence.importance import some_rows
from modelyard_runtimes.train.evidence.predictions import parquet_bytes
from modelyard_runtimes.train.problem import Problem
from modelyard_runtimes.train.task import derived_seed

ADDITIVITY = 1e-6
_ROWS = 4


class AdditivityError(Exception):
    """SHAP values do not add up to what the member predicts."""


@dataclass(frozen=True)
class Shap:
    """SHAP values.

    Attributes:
        content: Parquet with a line for each member, row and output: `member`, `row` (position in
            the snapshot), `output` (position of the class), `base_value` and each feature.
        importance: Share of each feature, largest first: mean absolute value as a share within
            each member, weighted as the members are.
        additivity_error: Greatest distance between the sum of a line and what the member predicts,
            before its link function.
        approximate: Members, by position, whose values add up but are no exact SHAP values.
        square_roots: Members, by position, whose values add up to the root of what they predict.
    """

    content: bytes
    importance: list[dict[str, Any]]
    additivity_error: float
    approximate: list[int]
    square_roots: list[int]


def shap_values(model: Model, problem: Problem, rows: int, seed: int) -> Shap | None:
    """Return the SHAP values of some holdout rows; None when none are asked for.

    Raises:
        AdditivityError: they do not add up.
    """
    if rows == 0:
        return None
    chosen = some_rows(len(problem.holdout.inputs), rows, derived_seed(seed, _ROWS))
    inputs = problem.holdout.inputs.take(chosen)
    shares = np.zeros(len(model.schema.names))
    tables: list[pa.Table] = []
    worst = 0.0
    encoded = model.encoded(inputs)
    total = sum(document.weight for document in model.document.members)
    for number, document in enumerate(model.document.members):
        values, error = _checked(model, number, encoded[document.encoder])
        worst = max(worst, error)
        absolute = np.abs(values[:, :, :-1]).mean(axis=(0, 1))
        shares += document.weight / total * absolute / (absolute.sum() or 1.0)
        tables.append(_table(number, problem.holdout.rows[chosen], values, model.schema.names))
    order = sorted(zip(model.schema.names, shares, strict=True), key=lambda one: (-one[1], one[0]))
    return Shap(
        content=parquet_bytes(pa.concat_tables(tables)),
        importance=[{"feature": name, "share": float(share)} for name, share in order],
        additivity_error=worst,
        approximate=[
            number
            for number, one in enumerate(model.document.members)
            if one.type in ("MLP", "Neighbors")
        ],
        square_roots=[
            number for number, one in enumerate(model.document.members) if one.link == "Square"
        ],
    )


def _checked(model: Model, number: int, columns: Floats) -> tuple[Floats, float]:
    """Return rows x outputs x (features + 1), the last the expected value, and the error."""
    member, encoder = model.members[number], model.document.members[number].encoder
    values = member_contributions(model, encoder, member, columns)
    margin = member.margin(columns)
    error = float(np.abs(values.sum(axis=2) - margin).max())
    if not error <= ADDITIVITY * max(1.0, float(np.abs(margin).max())):
        raise AdditivityError(f"SHAP values of member {number} are off by {error:g}")
    return values, error


def _table(
    number: int, rows: npt.NDArray[np.intp], values: Floats, names: tuple[str, ...]
) -> pa.Table:
    count, outputs = values.shape[:2]
    flat = values.reshape(count * outputs, -1)
    columns: list[tuple[str, object]] = [
        ("member", np.full(count * outputs, number, dtype=np.int32)),
        ("row", np.repeat(rows.astype(np.int64), outputs)),
        ("output", np.tile(np.arange(outputs, dtype=np.int32), count)),
        ("base_value", flat[:, -1]),
        *((f"shap_{name}", flat[:, position]) for position, name in enumerate(names)),
    ]
    return pa.table([values for _, values in columns], names=[name for name, _ in columns])
