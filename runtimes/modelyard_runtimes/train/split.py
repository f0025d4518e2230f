"""Splits rows once into holdout and folds, by the seed and the canonical order of the rows."""

from __future__ import annotations

import numpy as np
from modelyard.api.experiment import Validation
from sklearn.model_selection import (  # type: ignore[import-untyped]
    KFold,
    StratifiedKFold,
    train_test_split,
)

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.columns import category_text
from modelyard_runtimes.train.target import Target
from modelyard_runtimes.train.task import Rows

MIN_ROWS_A_FOLD = 2


def split_holdout(target: Target, validation: Validation, seed: int) -> tuple[Rows, Rows]:
    """Return positions in `target` of the search's rows and of the holdout, each ascending.

    Classification keeps the ratio of the classes.

    Raises:
        RunFailure: too few rows, of a class or at all.
    """
    _check_rows(target, validation)
    train, holdout = train_test_split(
        np.arange(len(target.values)),
        test_size=validation.holdout,
        random_state=seed,
        stratify=target.values if target.classes else None,
    )
    return np.sort(train), np.sort(holdout)


def assign_folds(target: Target, rows: Rows, folds: int, seed: int) -> Rows:
    """Return the fold of each of these rows; classification keeps the ratio of the classes."""
    kind = StratifiedKFold if target.classes else KFold
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    assigned = np.empty(len(rows), dtype=np.intp)
    values = target.values[rows]
    for fold, (_, members) in enumerate(splitter.split(np.zeros(len(rows)), values)):
        assigned[members] = fold
    return assigned


def _check_rows(target: Target, validation: Validation) -> None:
    needed = validation.folds * MIN_ROWS_A_FOLD
    kept = int(len(target.values) * (1 - validation.holdout))
    if kept < needed:
        raise RunFailure(
            "TooFewRows",
            f"{len(target.values)} rows with a target leave {kept} for spec.validation.folds = "
            f"{validation.folds}, which need {needed}; add rows or lower the number of folds",
        )
    for position, label in enumerate(target.classes):
        count = int(np.sum(target.values == position))
        # One row of leeway: the split rounds the share of each class.
        spare = int(count * (1 - validation.holdout)) - 1
        if spare < validation.folds or count * validation.holdout < 1:
            raise RunFailure(
                "TooFewRows",
                f"spec.task.target: class {category_text(label)!r} has {count} rows, too few for "
                f"spec.validation.folds = {validation.folds} and a holdout of "
                f"{validation.holdout:g}; add rows of it, or leave the class out of the Dataset",
            )
