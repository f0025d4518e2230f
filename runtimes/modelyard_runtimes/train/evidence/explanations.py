"""The explanations that were asked for: what single features and rows do to predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from modelyard.api.experiment import Explain

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.model.schema import Inputs
from modelyard_runtimes.train.evidence import charts
from modelyard_runtimes.train.evidence.counterfactuals import counterfactuals
from modelyard_runtimes.train.evidence.dependence import partial_dependence
from modelyard_runtimes.train.evidence.importance import some_rows
from modelyard_runtimes.train.evidence.lime import lime
from modelyard_runtimes.train.problem import Problem
from modelyard_runtimes.train.task import derived_seed

MAX_OTHERS = 2000
MAX_SERIES = 6
_OTHERS, _EXPLAINED = 10, 11


@dataclass(frozen=True)
class Explanations:
    """What was asked for; empty where nothing was.

    Attributes:
        dependence: Effect of each named feature.
        charts: The same as SVG, one for each.
        lime: Local linear models by row.
        counterfactuals: What would turn the class of a row.
    """

    dependence: list[dict[str, Any]] = field(default_factory=list)
    charts: list[str] = field(default_factory=list)
    lime: list[dict[str, Any]] = field(default_factory=list)
    counterfactuals: list[dict[str, Any]] = field(default_factory=list)


def explanations(model: Model, problem: Problem, declared: Explain) -> Explanations:
    """Return them, the same for the same model and rows."""
    names, seed = model.schema.names, problem.search.goal.seed
    holdout, others = problem.holdout, problem.search.inputs
    features = [names.index(column) for column in declared.partial_dependence or []]
    dependence = partial_dependence(model, holdout.inputs, features, seed)
    others = others.take(some_rows(len(others), MAX_OTHERS, derived_seed(seed, _OTHERS)))
    local: list[dict[str, Any]] = []
    if declared.lime is not None:
        rows, inputs = _rows(problem, declared.lime.rows)
        local = [
            {"row": row, **one}
            for row, one in zip(rows, lime(model, inputs, others, seed), strict=True)
        ]
    turned: list[dict[str, Any]] = []
    if declared.counterfactuals is not None:
        rows, inputs = _rows(problem, declared.counterfactuals.rows)
        fixed = [names.index(column) for column in declared.counterfactuals.immutable]
        found = counterfactuals(model, inputs, others, fixed)
        turned = [{"row": row, **one} for row, one in zip(rows, found, strict=True)]
    drawn = [_chart(model, one) for one in dependence]
    return Explanations(dependence, drawn, local, turned)


def _rows(problem: Problem, wanted: int) -> tuple[list[int], Inputs]:
    """Return positions in the snapshot of some rows of the holdout, and the rows."""
    seed = derived_seed(problem.search.goal.seed, _EXPLAINED)
    chosen = some_rows(len(problem.holdout.target), wanted, seed)
    return problem.holdout.rows[chosen].tolist(), problem.holdout.inputs.take(chosen)


def _chart(model: Model, found: dict[str, Any]) -> str:
    values, means = found["values"], np.array(found["mean"])
    numeric = all(isinstance(value, float) for value in values)
    places = values if numeric else [float(place) for place in range(len(values))]
    step = max(1, len(values) // 6)
    ticks = [
        (place, f"{value:.4g}" if numeric else _short(value))
        for place, value in list(zip(places, values, strict=True))[::step]
    ]
    classes = [category_text(label) for label in model.classes] if means.shape[1] > 1 else [""]
    series = [
        (classes[output], list(zip(places, means[:, output].tolist(), strict=True)))
        for output in range(min(means.shape[1], MAX_SERIES))
    ]
    single = [list(zip(places, (line[0] for line in row), strict=True)) for row in _lines(found)]
    what = "probability" if model.classes else f"predicted {model.document.target}"
    title = f"Partial dependence on {found['feature']}"
    return charts.lines(title, (found["feature"], what), series, single, ticks)


def _lines(found: dict[str, Any]) -> list[list[list[float]]]:
    """Return single rows where one output is drawn; beside several they would hide them."""
    rows: list[list[list[float]]] = found["rows"]
    return rows if len(found["mean"][0]) == 1 else []


def _short(value: object) -> str:
    text = category_text(value)
    return text if len(text) <= 12 else text[:11] + "…"
