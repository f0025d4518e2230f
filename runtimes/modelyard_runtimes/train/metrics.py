"""The metrics of `modelyard.api.experiment.Metric`, as scikit-learn computes them.

Predictions are rows x outputs: the positive class's probability for two classes, all probabilities
for more, one value for regression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from modelyard.api.experiment import CLASSIFICATION_METRICS, LOWER_IS_BETTER, Task
from scipy.stats import rankdata  # type: ignore[import-untyped]
from sklearn import metrics as sk  # type: ignore[import-untyped]

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.task import Rows

REGRESSION_METRICS = ("rmse", "mae", "r2")
ROW_METRICS = ("log_loss", "accuracy", *REGRESSION_METRICS)
"""Metrics that mean the same for rows that lack a class."""
THRESHOLD = 0.5
EPSILON = float(np.finfo(np.float64).eps)

Score = Callable[[Floats, Floats], float]
"""Of targets and predictions, rows x outputs."""
ClassScore = Callable[[Rows, Rows, str], float]
"""Of true and chosen classes, and how several classes are averaged."""


def score(metric: str, target: Floats, outputs: Floats, threshold: float = THRESHOLD) -> float:
    """Return the value of a metric.

    Args:
        metric: Name of the metric.
        target: Position of the class, or the value, of each row.
        outputs: Predictions, rows x outputs.
        threshold: Two classes: positive from this probability on.

    Raises:
        ValueError: the metric is undefined for these rows, for example one class only.
    """
    if metric in _CLASS_SCORES:
        chosen = predicted_classes(outputs, threshold)
        return float(_CLASS_SCORES[metric](target.astype(np.intp), chosen, _average(outputs)))
    return float(_SCORES[metric](target, outputs))


def all_scores(
    task: str, target: Floats, outputs: Floats, threshold: float = THRESHOLD
) -> dict[str, float]:
    """Return every metric that fits the task."""
    names = CLASSIFICATION_METRICS if task == "Classification" else REGRESSION_METRICS
    return {name: score(name, target, outputs, threshold) for name in names}


def fold_scores(metric: str, target: Floats, outputs: Floats, folds: Rows) -> tuple[float, ...]:
    """Return for each fold a metric of its out-of-fold predictions."""
    return tuple(
        score(metric, target[folds == fold], outputs[folds == fold])
        for fold in range(int(folds.max()) + 1)
    )


def metric_of(task: Task, classes: int) -> str:
    """Return the declared metric, or the usual one of a task with so many classes; 0 for values."""
    usual = "log_loss" if classes > 2 else "roc_auc" if classes else "rmse"
    return task.metric or usual


def needs_every_class(metric: str, classes: int) -> bool:
    """Return whether a metric means nothing for rows that lack one of so many classes."""
    return classes == 2 or (classes > 2 and metric not in ROW_METRICS)


def sign(metric: str) -> int:
    """Return 1 where more is better, -1 where less is."""
    return -1 if metric in LOWER_IS_BETTER else 1


def predicted_classes(outputs: Floats, threshold: float = THRESHOLD) -> Rows:
    """Return the class of each row: positive from the threshold on, or the most probable."""
    if outputs.shape[1] == 1:
        return (outputs[:, 0] >= threshold).astype(np.intp)
    return np.asarray(np.argmax(outputs, axis=1), dtype=np.intp)


def _average(outputs: Floats) -> str:
    return "binary" if outputs.shape[1] == 1 else "macro"


def _roc_auc(target: Floats, outputs: Floats) -> float:
    if outputs.shape[1] == 1:
        if len(np.unique(target)) < 2:
            raise ValueError("roc_auc needs rows of both classes")
        return _rank_auc(target == 1, outputs[:, 0])
    labels = np.arange(outputs.shape[1])
    if len(np.unique(target)) < len(labels):
        raise ValueError("roc_auc needs rows of every class")
    return float(sk.roc_auc_score(target, outputs, multi_class="ovr", labels=labels))


def _average_precision(target: Floats, outputs: Floats) -> float:
    if outputs.shape[1] == 1:
        return float(sk.average_precision_score(target, outputs[:, 0]))
    return float(
        np.mean(
            [
                sk.average_precision_score(target == position, outputs[:, position])
                for position in range(outputs.shape[1])
            ]
        )
    )


def _rank_auc(positive: npt.NDArray[np.bool_], outputs: Floats) -> float:
    """Return the area under the ROC curve from ranks (Mann and Whitney, 1947).

    Equal to scikit-learn's, which takes ten times as long for the few rows of a fold; selecting an
    ensemble asks for it thousands of times.
    """
    count = int(positive.sum())
    ranks = float(rankdata(outputs)[positive].sum())
    return (ranks - count * (count + 1) / 2) / (count * (len(positive) - count))


def _log_loss(target: Floats, outputs: Floats) -> float:
    """Return the mean negative logarithm of the true class's probability, kept off 0 as usual."""
    if outputs.shape[1] == 1:
        true = np.where(target == 1, outputs[:, 0], 1 - outputs[:, 0])
    else:
        true = outputs[np.arange(len(target)), target.astype(np.intp)]
    return float(-np.log(np.clip(true, EPSILON, 1 - EPSILON)).mean())


_SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "roc_auc": _roc_auc,
        "average_precision": _average_precision,
        "log_loss": _log_loss,
        "rmse": lambda y, p: float(np.sqrt(np.mean(np.square(y - p[:, 0])))),
        "mae": lambda y, p: float(np.mean(np.abs(y - p[:, 0]))),
        "r2": lambda y, p: sk.r2_score(y, p[:, 0]),
    }
)

_CLASS_SCORES: Mapping[str, ClassScore] = MappingProxyType(
    {
        "accuracy": lambda y, chosen, _: float(np.mean(y == chosen)),
        "balanced_accuracy": lambda y, chosen, _: sk.balanced_accuracy_score(y, chosen),
        "f1": lambda y, chosen, average: sk.f1_score(y, chosen, average=average, zero_division=0.0),
    }
)
