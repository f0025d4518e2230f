"""Splits rows once into holdout and folds, by the seed and the canonical order of the rows.

Rows that are equal stay together, so no model is judged on what it has seen.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.experiment import ExperimentSpec, Validation
from sklearn.model_selection import (  # type: ignore[import-untyped]
    KFold,
    StratifiedKFold,
    train_test_split,
)

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.columns import arrow_values
from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.copies import originals
from modelyard_runtimes.train.rare import suffices
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.target import Target
from modelyard_runtimes.train.task import Rows

MIN_ROWS_A_FOLD = 2
MIN_HELD = 2
"""Values of a regression that a holdout needs: of one there is no `r2`."""


class Split(NamedTuple):
    """Where rows are; they are told by their positions in the target.

    Attributes:
        kept: The rows of the search, ascending.
        held: Those of the holdout, ascending.
        folds: Fold of each row of the search.
        original: For each row the first one that equals it.
    """

    kept: Rows
    held: Rows
    folds: Rows
    original: Rows


def split_rows(
    snapshot: Snapshot,
    target: Target,
    spec: ExperimentSpec,
    seeds: tuple[int, int],
    least: int,
) -> Split:
    """Return where each row is.

    Args:
        snapshot: The rows.
        target: The target of those that have one.
        spec: How they are split, and which columns no model may see.
        seeds: Seeds of the holdout and of the folds.
        least: Rows that the search must have of each class.

    Raises:
        RunFailure: too few rows, or the time column cannot be used.
    """
    validation = spec.validation
    original = originals(snapshot, spec, target.rows)
    if validation.time_column is not None:
        # Equal rows have equal moments, which stay together.
        kept, held, folds = split_by_time(snapshot, target, validation, validation.time_column)
    else:
        kept, held, folds = _split_by_chance(target, original, validation, seeds, least)
    if not target.classes and len(held) < MIN_HELD:
        raise RunFailure(
            "TooFewRows",
            f"spec.validation.holdout: {validation.holdout:g} of {len(target.values)} rows with a "
            f"target are {len(held)}, and a regression is judged on {MIN_HELD} at least; add rows, "
            "or raise it",
        )
    return Split(kept, held, folds, original)


def _split_by_chance(
    target: Target, original: Rows, validation: Validation, seeds: tuple[int, int], least: int
) -> tuple[Rows, Rows, Rows]:
    """Return rows of the search, the holdout and folds; rows that are equal stay together."""
    different = np.unique(original)
    kept = split_holdout(target, different, validation, seeds[0], least)
    folds = np.full(len(original), -1, dtype=np.intp)
    folds[kept] = assign_rows(
        target.values[kept], validation.folds, seeds[1], stratified=bool(target.classes)
    )
    folds = folds[original]
    kept = np.flatnonzero(folds >= 0)
    return kept, np.flatnonzero(folds < 0), folds[kept]


def split_by_time(
    snapshot: Snapshot, target: Target, validation: Validation, column: str
) -> tuple[Rows, Rows, Rows]:
    """Return the earlier rows, the latest as the holdout, and a stretch of time as each fold.

    Rows of one moment stay together where the moments suffice.

    Raises:
        RunFailure: the column is missing or has gaps, or a stretch lacks a class.
    """
    _check_rows(target, np.arange(len(target.values)), validation, validation.folds)
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


def split_holdout(
    target: Target, different: Rows, validation: Validation, seed: int, least: int
) -> Rows:
    """Return those of these rows that are not held out, ascending.

    Classification keeps the ratio of the classes, and holds out a row at least of each.

    Raises:
        RunFailure: too few rows, of a class or at all.
    """
    _check_rows(target, different, validation, least)
    values = target.values[different]
    train, held = train_test_split(
        np.arange(len(values)),
        test_size=validation.holdout,
        random_state=seed,
        stratify=values if target.classes else None,
    )
    lacking = set(range(len(target.classes))).difference(values[held].astype(int).tolist())
    for position in sorted(lacking):
        (found, *_) = np.flatnonzero(values[train] == position)
        train = np.delete(train, found)
    kept: Rows = different[np.sort(train)]
    return kept


def assign_rows(values: Floats, folds: int, seed: int, *, stratified: bool) -> Rows:
    """Return the fold of each row with these values of the target."""
    kind = StratifiedKFold if stratified else KFold
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    assigned = np.empty(len(values), dtype=np.intp)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for fold, (_, members) in enumerate(splitter.split(np.zeros(len(values)), values)):
            assigned[members] = fold
    return assigned


def _check_rows(target: Target, different: Rows, validation: Validation, least: int) -> None:
    needed = validation.folds * MIN_ROWS_A_FOLD
    values, share = target.values[different], validation.holdout
    rows = "rows" if len(values) == len(target.values) else "different rows"
    kept = int(len(values) * (1 - share))
    if kept < needed:
        raise RunFailure(
            "TooFewRows",
            f"{len(values)} {rows} with a target leave {kept} for spec.validation.folds = "
            f"{validation.folds}, which need {needed}; add rows or lower the number of folds",
        )
    if len(values) * share < len(target.classes):
        raise RunFailure(
            "TooFewRows",
            f"{len(values)} {rows} with a target leave fewer for a holdout of {share:g} than "
            f"there are classes, {len(target.classes)}; add rows, or raise spec.validation.holdout",
        )
    for position, label in enumerate(target.classes):
        count = int(np.sum(values == position))
        if not suffices(count, validation, least):
            drop = ", or leave such classes out by spec.task.rareClasses: Drop"
            raise RunFailure(
                "TooFewRows",
                f"spec.task.target: class {category_text(label)!r} has {count} {rows}, too few for "
                f"spec.validation.folds = {validation.folds} and a holdout of {share:g}; add rows "
                f"of it{drop if len(target.classes) > 2 else ', or lower the number of folds'}",
            )
