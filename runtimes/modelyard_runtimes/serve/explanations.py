"""KServe V1 `:explain`: what each feature adds to a prediction, in the unit of the prediction."""

from __future__ import annotations

from typing import Any

from modelyard_runtimes.model.rows import Rows
from modelyard_runtimes.serve.http import RequestError
from modelyard_runtimes.serve.predictor import Predictions, Predictor

WEIGHT = 1024
"""How much more a body weighs than that of a prediction: what waits is explained in a second."""


def check_rows(rows: Rows, most: int) -> None:
    """Refuse more rows than are explained in one request.

    Raises:
        RequestError: there are more.
    """
    if len(rows) > most:
        raise RequestError(
            400,
            f"instances: has {len(rows)} instances, and one request explains at most {most}; "
            "send them in parts",
        )


def explanations(rows: Rows, predictions: Predictions, predictor: Predictor) -> list[Any]:
    """Return an explanation for each row: `base` and all `contributions` add up to the prediction.

    Two classes: it is the probability of the positive one, whatever the label, so that rows can be
    compared. More: that of the predicted one. Regression: the value.

    Args:
        rows: Rows that were predicted, so their values fit.
        predictions: What was predicted for them.
        predictor: The model.
    """
    outputs = predictions.chosen if len(predictions.classes) > 2 else [0] * len(rows)
    bases, contributions = predictor.contributions(rows, outputs)
    return [
        {
            **_unit(output, predictions),
            "base": base,
            "contributions": dict(zip(predictor.names, values, strict=True)),
        }
        for output, base, values in zip(outputs, bases, contributions, strict=True)
    ]


def _unit(output: int, predictions: Predictions) -> dict[str, Any]:
    """Return what an output is."""
    classes = predictions.classes
    if not classes:
        return {"unit": "value"}
    return {"unit": "probability", "label": classes[output if len(classes) > 2 else 1]}
