"""Reads a metric and the value it must reach: "AUC > 0.85", "at least 90% accuracy"."""

from __future__ import annotations

import re
from typing import NamedTuple

from modelyard.api.experiment import CLASSIFICATION_METRICS, LOWER_IS_BETTER, Metric
from modelyard.cli.requirements.model import Requirements, Threshold, ThresholdOperator

# Longer names first: "balanced accuracy" is not "accuracy".
_NAMES: tuple[tuple[str, Metric], ...] = (
    (r"pr[\s_-]?auc|average[\s_]precision", "average_precision"),
    (r"(?:roc[\s_-]?)?au[\s_-]?(?:roc|c)|area under the (?:roc )?curve", "roc_auc"),
    (r"balanced[\s_]accuracy", "balanced_accuracy"),
    (r"accuracy", "accuracy"),
    (r"f1(?:[\s_-]score)?", "f1"),
    (r"log[\s_-]?loss|cross[\s-]entropy", "log_loss"),
    (r"rmse|root[\s-]mean[\s-]squared?[\s-]error", "rmse"),
    (r"mae|mean[\s-]absolute[\s-]error", "mae"),
    (r"r2|r\^2|r²|r[\s-]squared", "r2"),
)
_UNKNOWN = re.compile(
    r"\b(precision|recall|sensitivity|specificity|mape|mse|smape|kappa|mcc|iou)\b"
)
_OPERATORS: tuple[tuple[str, ThresholdOperator], ...] = (
    (
        r">=|≥|=>|at least|no less than|not less than|minimum|or (?:more|better|higher)",
        "GreaterOrEqual",
    ),
    (r"<=|≤|=<|at most|no more than|not more than|maximum|up to|or (?:less|lower)", "LessOrEqual"),
    (
        r">|above|over|more than|greater than|higher than|better than|exceed\w*|beats?",
        "GreaterThan",
    ),
    (r"<|below|under|less than|lower than|smaller than", "LessThan"),
)
_NUMBER = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?|\.\d+)\s*(%|percent|k\b)?")


class Reading(NamedTuple):
    """What a text says about a metric."""

    metric: Metric | None
    operator: ThresholdOperator | None
    value: float | None
    percent: bool


def read(text: str) -> Reading:
    """Return what a text says, None for what it does not say."""
    lower = text.lower()
    metric: Metric | None = None
    rest = lower
    for pattern, name in _NAMES:
        if match := re.search(rf"(?<![a-z])(?:{pattern})(?![a-z])", lower):
            metric, rest = name, lower[: match.start()] + " " + lower[match.end() :]
            break
    operator = next((name for pattern, name in _OPERATORS if _found(pattern, rest)), None)
    number = _NUMBER.search(rest)
    if number is None:
        return Reading(metric, operator, None, percent=False)
    value = float(number.group(1).replace(",", "")) * (1000 if number.group(2) == "k" else 1)
    return Reading(metric, operator, value, percent=number.group(2) in {"%", "percent"})


def _found(pattern: str, text: str) -> bool:
    return re.search(rf"(?<!\w)(?:{pattern})(?!\w)", text) is not None


def read_target_metric(text: str, requirements: Requirements) -> None:
    """Read the field target_metric into the requirements."""
    reading = read(text)
    unknown = _UNKNOWN.search(text.lower())
    if reading.metric is None:
        known = ", ".join(dict(map(reversed, _NAMES)))  # type: ignore[arg-type]
        what = (
            f"{unknown.group(1)!r} is no metric of Experiments" if unknown else f"{text!r}: of what"
        )
        requirements.ask("target_metric", f"{what}; name one of {known}")
        return
    requirements.metric = reading.metric
    if reading.value is None:
        why = f"{text!r} names no value"
        requirements.assume("policies", "no Policy", f"{why}; any model may serve")
        return
    operator = reading.operator or _natural_operator(text, reading.metric, requirements)
    if operator.startswith("Less") != (reading.metric in LOWER_IS_BETTER):
        better = "lower" if reading.metric in LOWER_IS_BETTER else "higher"
        unknown_text = f"{text!r} asks for a worse model, {better} is better for {reading.metric}"
        requirements.ask("target_metric", f"{unknown_text}; which value must it reach")
        return
    value = _as_share(text, reading, requirements)
    if value is not None:
        requirements.threshold = Threshold(reading.metric, operator, value)


def _natural_operator(text: str, metric: Metric, requirements: Requirements) -> ThresholdOperator:
    operator: ThresholdOperator = "LessOrEqual" if metric in LOWER_IS_BETTER else "GreaterOrEqual"
    requirements.assume("target_metric", operator, f"{text!r} does not say in which direction")
    return operator


def _as_share(text: str, reading: Reading, requirements: Requirements) -> float | None:
    """Return the value in the metric's own unit: percent become shares."""
    value = float(reading.value or 0)
    shares = {*CLASSIFICATION_METRICS, "r2"} - {"log_loss"}
    if reading.percent and reading.metric in shares:
        return round(value / 100, 10)
    if reading.percent:
        requirements.ask(
            "target_metric", f"{text!r}: {reading.metric} has the target's unit, not %"
        )
        return None
    if reading.metric in shares and value > 1:
        requirements.ask("target_metric", f"{text!r}: {reading.metric} is at most 1; is it percent")
        return None
    return value
