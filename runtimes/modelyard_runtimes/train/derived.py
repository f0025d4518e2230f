"""Fits the declared transforms of features, on training rows only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.derived import derived_columns
from modelyard_runtimes.model.format import (
    Bins,
    CategoryNumbers,
    CategoryPairNumbers,
    Derived,
    InputSelection,
    NumberPair,
)
from modelyard_runtimes.model.schema import Floats, Inputs
from modelyard_runtimes.train.feature_plan import Step
from modelyard_runtimes.train.task import Goal, Rows, SearchData, derived_seed

PARTS = 5
"""Training rows get the target's means of their category among the other parts of them."""

_SEED = 6

_NUMBER_PAIRS = ("Sum", "Difference", "Product", "Ratio")
_PAIRS = (*_NUMBER_PAIRS, "Cross")
_OF_NUMBERS = ("GroupStatistics", "Binning", *_NUMBER_PAIRS)

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class FittedDerived:
    """Fitted transforms.

    Attributes:
        transforms: For all rows but the training rows.
        columns: What the training rows get, rows x transforms.
    """

    transforms: list[Derived]
    columns: Floats


def fit_derived(
    data: SearchData, inputs: Inputs, target: Floats, fit: int, selection: InputSelection | None
) -> FittedDerived:
    """Return the declared transforms of features that are seen.

    Args:
        data: What is declared, and the categories.
        inputs: Training rows, and none else.
        target: Their target.
        fit: Number of the fit, for the seed.
        selection: What is seen; None for all.
    """
    numbers = range(inputs.numbers.shape[1]) if selection is None else selection.numbers
    codes = range(inputs.codes.shape[1]) if selection is None else selection.codes
    generator = np.random.default_rng(derived_seed(data.goal.seed, _SEED, fit))
    parts = generator.permutation(len(target)) % PARTS
    transforms: list[Derived] = []
    columns: list[Floats] = []
    for step in data.plan.steps:
        seen = numbers if step.type in _OF_NUMBERS else codes
        for chosen in _seen_columns(step, seen, codes):
            if step.type in ("TargetEncoding", "Cross"):
                found, own = _target_means(data, inputs.codes, chosen, target, parts, step)
            else:
                found = _fit(data, inputs, chosen, step)
                own = derived_columns(found, inputs)
            transforms += found
            columns.append(own)
    return FittedDerived(transforms, np.column_stack([np.empty((len(target), 0)), *columns]))


def _seen_columns(step: Step, seen: Sequence[int], codes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return what a step is made of where that is seen: single columns, or both of a pair."""
    if step.by is not None and step.by not in codes:
        return []
    if step.type in _PAIRS:
        return [step.columns] if set(step.columns) <= set(seen) else []
    return [(column,) for column in step.columns if column in seen]


def _fit(data: SearchData, inputs: Inputs, chosen: tuple[int, ...], step: Step) -> list[Derived]:
    if step.type in _NUMBER_PAIRS:
        left, right = chosen
        pair = {"left": left, "right": right, "operation": step.type}
        return [NumberPair.model_validate(pair)]
    (column,) = chosen
    if step.type == "HashEncoding":
        return _hashed(step, column)
    if step.type == "Binning":
        return [_bins(inputs.numbers[:, column], column, int(step.size))]
    if step.by is not None:
        codes, levels = inputs.codes[:, step.by], data.categories[step.by] + 2
        return _group_statistics(inputs.numbers[:, column], codes, levels, step.by)
    counts = np.bincount(inputs.codes[:, column], minlength=data.categories[column] + 2)
    return [CategoryNumbers(code=column, values=(counts / len(inputs)).tolist())]


def _hashed(step: Step, column: int) -> list[Derived]:
    """Return a column for each bucket; what is unknown or missing is 0 in all."""
    known = step.buckets[step.columns.index(column)]
    values = np.zeros((int(step.size), len(known) + 2))
    for code, (bucket, sign) in enumerate(known):
        values[bucket, code] = sign
    return [CategoryNumbers(code=column, values=one) for one in values.tolist()]


def _bins(numbers: Floats, column: int, count: int) -> Bins:
    present = numbers[~np.isnan(numbers)]
    inner = np.linspace(0, 1, count + 1)[1:-1]
    edges = np.unique(np.quantile(present, inner)) if len(present) else np.zeros(0)
    return Bins(number=column, edges=edges.tolist())


def _group_statistics(numbers: Floats, codes: Codes, levels: int, by: int) -> list[Derived]:
    """Return mean and standard deviation by category; those of all rows where it has no number."""
    present = ~np.isnan(numbers)
    values, groups = numbers[present], codes[present]
    counts = np.bincount(groups, minlength=levels)
    of_all = (float(values.mean()), float(values.std())) if len(values) else (0.0, 0.0)
    least = np.maximum(counts, 1)
    means = np.bincount(groups, weights=values, minlength=levels) / least
    squares = np.bincount(groups, weights=np.square(values - means[groups]), minlength=levels)
    return [
        CategoryNumbers(code=by, values=np.where(counts > 0, found, whole).tolist())
        for found, whole in zip((means, np.sqrt(squares / least)), of_all, strict=True)
    ]


def _target_means(  # noqa: PLR0913, PLR0917  (each is a fact of its own)
    data: SearchData,
    all_codes: Codes,
    chosen: tuple[int, ...],
    target: Floats,
    parts: Rows,
    step: Step,
) -> tuple[list[Derived], Floats]:
    """Return the means for other rows, and those of training rows without their own part.

    Micci-Barreca, "A Preprocessing Scheme for High-Cardinality Categorical Attributes", 2001, with
    a number of rows by which the mean of all rows counts.
    """
    shape = [data.categories[column] + 2 for column in chosen]
    codes = np.ravel_multi_index([all_codes[:, column] for column in chosen], shape)
    outputs, levels = _outputs(data.goal, target), int(np.prod(shape))
    own = np.empty_like(outputs)
    for part in range(PARTS):
        others, mine = parts != part, parts == part
        own[mine] = _means(codes[others], outputs[others], levels, step.size)[codes[mine]]
    means = _means(codes, outputs, levels, step.size)
    return [_by_codes(chosen, found.reshape(shape)) for found in means.T], own


def _by_codes(chosen: tuple[int, ...], values: Floats) -> Derived:
    if len(chosen) == 1:
        return CategoryNumbers(code=chosen[0], values=values.tolist())
    return CategoryPairNumbers(left=chosen[0], right=chosen[1], values=values.tolist())


def _outputs(goal: Goal, target: Floats) -> Floats:
    """Return the target as numbers, a column for each of three and more classes."""
    if goal.classes > 2:
        of_classes: Floats = np.eye(goal.classes)[target.astype(np.intp)]
        return of_classes
    return target[:, None]


def _means(codes: Rows, outputs: Floats, levels: int, smoothing: float) -> Floats:
    """Return levels x outputs."""
    prior = outputs.mean(axis=0)
    counts = np.bincount(codes, minlength=levels)[:, None]
    sums = np.column_stack(
        [np.bincount(codes, weights=output, minlength=levels) for output in outputs.T]
    )
    weights = counts + smoothing
    shrunk = (sums + smoothing * prior) / np.where(weights > 0, weights, 1.0)
    means: Floats = np.where(weights > 0, shrunk, prior)
    return means
