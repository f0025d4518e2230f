"""Splits rows once into holdout and folds, by the seed and the canonical order of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.experiment import Validation
from sklearn.model_selection import (  # type: ignore[import-untyped]
    KFold,
    StratifiedKFold,
    train_test_split,
)

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.columns import arrow_values
from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.target import Target
from modelyard_runtimes.train.task import Rows

MIN_ROWS_A_FOLD = 2


def split_rows(
    snapshot: Snapshot, target: Target, validation: Validation, seeds: tuple[int, int]
) -> tuple[Rows, Rows, Rows]:
    """Return positions in `target` of the search's rows and of the holdout, and folds of the first.

    Args:
        snapshot: The rows.
        target: The target of those that have one.
        validation: How they are split.
        seeds: Seeds of the holdout and of the folds.

    Raises:
        RunFailure: too few rows, or the time column cannot be used.
    """
    if validation.time_column is None:
        kept, held = split_holdout(target, validation, seeds[0])
        return kept, held, assign_folds(target, kept, validation.folds, seeds[1])
    return split_by_time(snapshot, target, validation, validation.time_column)


def split_by_time(
    snapshot: Snapshot, target: Target, validation: Validation, column: str
) -> tuple[Rows, Rows, Rows]:
    """Return the earlier rows, the latest as the holdout, and a stretch of time as each fold.

    Rows of one moment stay together where the moments suffice.

    Raises:
        RunFailure: the column is missing or has gaps, or a stretch lacks a class.
    """
    _check_rows(target, validation)
    moments = _moments(snapshot, target, column)
    order = np.argsort(moments, kind="stable")
    ranks = np.searchsorted(moments[order], moments, side="left")
    cut = len(order) - max(1, round(len(order) * validation.holdout))
    held = ranks >= ranks[order[cut]]
    if held.all():
        raise _unusable(column, "its last moment holds too many rows for a holdout")
    kept = np.flatnonzero(~held)
    folds = ranks[kept] * validation.folds // (int(ranks[kept].max()) + 1)
    _, folds = np.unique(folds, return_inverse=True)
    if folds.max() + 1 < validation.folds:
        raise _unusable(column, f"its moments do not suffice for {validation.folds} folds")
    parts = [np.flatnonzero(held), *(kept[folds == fold] for fold in range(validation.folds))]
    for part in parts if target.classes else ():
        if len(np.unique(target.values[part])) < len(target.classes):
            raise _unusable(column, "a stretch of time lacks a class; lower spec.validation.folds")
    return kept, np.flatnonzero(held), folds


def _moments(snapshot: Snapshot, target: Target, column: str) -> Any:
    if snapshot.types.get(column) not in ("Datetime", "Numeric"):
        raise _unusable(column, "the snapshot has no such column of times or numbers")
    values = snapshot.table.column(column).take(pa.array(target.rows))
    if values.null_count:
        raise _unusable(column, f"{values.null_count} rows have none")
    return np.asarray(arrow_values(values))


def _unusable(column: str, why: str) -> RunFailure:
    return RunFailure(
        "InvalidTimeColumn",
        f"spec.validation.timeColumn: rows cannot be split by {column!r}: {why}; name another "
        "column, or remove the field",
    )


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
    return assign_rows(target.values[rows], folds, seed, stratified=bool(target.classes))


def assign_rows(values: Floats, folds: int, seed: int, *, stratified: bool) -> Rows:
    """Return the fold of each row with these values of the target."""
    kind = StratifiedKFold if stratified else KFold
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    assigned = np.empty(len(values), dtype=np.intp)
    for fold, (_, members) in enumerate(splitter.split(np.zeros(len(values)), values)):
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
