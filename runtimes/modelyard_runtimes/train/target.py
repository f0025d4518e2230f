"""Reads the target: which rows have one, the classes, which of two is positive."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
from modelyard.api.experiment import ExperimentSpec, Task

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.columns import arrow_values
from modelyard_runtimes.model.format import Label, category_text
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.rare import rare_classes, told
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.task import Rows

MAX_CLASSES = 100
MAX_TOLD = 10

FIELD = "spec.task.target"


@dataclass(frozen=True)
class Target:
    """The target of the rows that have one.

    Attributes:
        rows: Positions of these rows in the snapshot.
        values: Position of the class, or the value, of each.
        classes: The classes; of two the positive one last. None for regression.
        missing: Number of rows without a target, which are left out.
        rare: The classes that are left out as rare, and how many rows each has.
    """

    rows: Rows
    values: Floats
    classes: list[Label]
    missing: int
    rare: dict[Label, int] = field(default_factory=dict)


def columns_told(missing: str, columns: list[str]) -> str:
    """Say which column may be meant, else which there are, and how many are not named."""
    close = get_close_matches(missing, columns, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    more = f" and {len(columns) - MAX_TOLD} more" if len(columns) > MAX_TOLD else ""
    return f"it has {', '.join(map(repr, columns[:MAX_TOLD]))}{more}"


def read_target(snapshot: Snapshot, spec: ExperimentSpec) -> Target:
    """Return the target, without rare classes where these are to be left out.

    Raises:
        RunFailure: the column is missing or cannot be predicted so.
    """
    task = spec.task
    if task.target not in snapshot.types:
        raise RunFailure(
            "InvalidTarget",
            f"{FIELD}: the snapshot has no column {task.target!r}; "
            f"{columns_told(task.target, list(snapshot.types))}",
        )
    values = list(arrow_values(snapshot.table.column(task.target)))
    present = [row for row, value in enumerate(values) if not _is_missing(value)]
    rows = np.array(present, dtype=np.intp)
    kept = [values[row] for row in present]
    if not kept:
        raise RunFailure("InvalidTarget", f"{FIELD}: column {task.target!r} has no values")
    missing = len(values) - len(kept)
    if task.type == "Regression":
        return Target(rows, _numbers(kept, task, snapshot), [], missing)
    labels = [_label(value) for value in kept]
    rare = _dropped(snapshot, rows, labels, spec)
    stay = [place for place, label in enumerate(labels) if label not in rare]
    labels = [labels[place] for place in stay]
    classes = _classes(labels, task)
    position = {label: index for index, label in enumerate(classes)}
    codes = np.array([position[label] for label in labels], dtype=np.float64)
    return Target(rows[stay], codes, classes, missing, rare)


def _dropped(
    snapshot: Snapshot, rows: Rows, labels: list[Label], spec: ExperimentSpec
) -> dict[Label, int]:
    """Return the classes that are to be left out, and how many rows each has."""
    if spec.task.rare_classes != "Drop":
        return {}
    rare = rare_classes(snapshot, rows, labels, spec)
    left = len(set(labels)) - len(rare)
    if rare and left < 2:
        raise RunFailure(
            "TooFewRows",
            f"spec.task.rareClasses: Drop leaves {left} of {left + len(rare)} classes, too few to "
            f"tell apart; of {told(rare)} there are too few rows for spec.validation.folds = "
            f"{spec.validation.folds} and a holdout of {spec.validation.holdout:g}; add rows, or "
            "lower the number of folds",
        )
    return rare


def _numbers(values: list[Any], task: Task, snapshot: Snapshot) -> Floats:
    kind = snapshot.types[task.target]
    if kind != "Numeric":
        raise RunFailure(
            "InvalidTarget",
            f"{FIELD}: Regression predicts numbers, column {task.target!r} is {kind}; set "
            "spec.task.type to Classification, or declare the column's type in the Dataset",
        )
    numbers = np.array(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise RunFailure("InvalidTarget", f"{FIELD}: column {task.target!r} has infinite values")
    if np.all(numbers == numbers[0]):
        raise _constant(task)
    return numbers


def _classes(labels: list[Label], task: Task) -> list[Label]:
    counts = Counter(labels)
    if len(counts) < 2:
        raise _constant(task)
    if len(counts) > MAX_CLASSES:
        raise RunFailure(
            "InvalidTarget",
            f"{FIELD}: column {task.target!r} has {len(counts)} classes, at most {MAX_CLASSES} "
            "are supported; if it is a quantity, set spec.task.type to Regression, and if most are "
            "rare, spec.task.rareClasses to Drop",
        )
    classes = sorted(counts, key=lambda label: (str(type(label)), label))
    if len(classes) > 2:
        if task.positive_label is not None:
            raise RunFailure(
                "InvalidTarget",
                f"spec.task.positiveLabel: there are {len(classes)} classes, a positive one "
                "exists only among two; remove it",
            )
        return classes
    positive = _positive(classes, counts, task)
    return [label for label in classes if label != positive] + [positive]


def _positive(classes: list[Label], counts: Counter[Label], task: Task) -> Label:
    """Return the declared positive class; the rarer one when unset, the later one of equals."""
    if task.positive_label is None:
        return min(reversed(classes), key=lambda label: counts[label])
    wanted = task.positive_label.strip().lower()
    for label in classes:
        if category_text(label).lower() == wanted:
            return label
    names = " and ".join(repr(category_text(label)) for label in classes)
    raise RunFailure(
        "InvalidTarget",
        f"spec.task.positiveLabel: {task.positive_label!r} is no class of column "
        f"{task.target!r}; its classes are {names}",
    )


def _label(value: Any) -> Label:
    """Return a class in the type that JSON has for it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, bool | int | float | str) else str(value)


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124  (NaN and NaT differ from themselves)


def _constant(task: Task) -> RunFailure:
    return RunFailure(
        "InvalidTarget",
        f"{FIELD}: column {task.target!r} has the same value in all rows; there is nothing to "
        "learn",
    )
