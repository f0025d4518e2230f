"""Finds features that tell the target: one alone, or several whose weighted sum it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata  # type: ignore[import-untyped]
from sklearn.tree import (  # type: ignore[import-untyped]
    DecisionTreeClassifier,
    DecisionTreeRegressor,
)

from modelyard_runtimes.model.schema import Floats, InputSchema
from modelyard_runtimes.train.leakage.finding import Finding
from modelyard_runtimes.train.task import Rows, SearchData

LARGEST = float(np.finfo(np.float32).max)
MAX_ROWS = 10_000
"""More rows tell no more about one column."""

MIN_MISTAKES = 10
"""A naive prediction must be wrong this often, else a column seems to tell by chance."""

MUCH = 0.9
"""A share of the naive error that is worth telling."""

HOPELESS = 0.15
"""A column this far below on one fold is not looked at on the others."""

LEAVES = 128
SMALLEST_LEAF = 3

EXACT = 1e-9
"""Share of the target's variance that a sum may leave and still be the target itself."""

SHARE_OF_SUM = 1e-4
ROWS_A_COLUMN = 10
MAX_SUMMED = 200
MAX_TOLD = 5

Codes = npt.NDArray[np.int64]


def powers(schema: InputSchema, data: SearchData, least: float) -> dict[str, float]:
    """Return the share of the naive error that a feature alone takes away, where above `least`.

    The prediction is made out of fold by a tree, or by the best guess for each category; the naive
    one says the most frequent class, or the mean. Of a regression the square of the rank
    correlation counts as well: it sees the target on any other scale.
    """
    rows = _some_rows(len(data.target))
    target, folds = np.asarray(data.target)[rows], np.asarray(data.folds)[rows]
    found = {
        name: max(
            _power(values, target, folds, data.goal.task, least),
            _same_order(values, target, data.goal.task),
        )
        for name, values in _columns(schema, data, rows)
    }
    return {name: power for name, power in found.items() if power > least}


def telling_columns(found: dict[str, float], limit: float) -> Iterator[Finding]:
    """Yield each feature that alone takes away more than a share of the naive error."""
    for name, power in found.items():
        if power > limit:
            yield Finding(
                (name,),
                f"{_told(name, power)}: it is probably known only with the target. If so, list "
                "it in spec.features.exclude; if it is known before, in spec.leakage.accept.",
            )


def strong_columns(found: dict[str, float], limit: float) -> Iterator[str]:
    """Yield a warning of each feature that tells much, and not more than is allowed."""
    for name, power in found.items():
        if power <= limit:
            yield f"{_told(name, power)}: make sure that it is known before the target."


def exact_sum(schema: InputSchema, data: SearchData, accepted: set[str]) -> Iterator[Finding]:
    """Yield the numbers whose weighted sum is the target of a regression.

    Args:
        schema: The features.
        data: The rows of the search.
        accepted: Features that are known before the target.
    """
    rows = _some_rows(len(data.target))
    target = np.asarray(data.target)[rows]
    names = [schema.names[feature] for feature in schema.number_features]
    numbers = np.asarray(data.inputs.numbers)[rows]
    usable = [
        place
        for place, name in enumerate(names)
        if name not in accepted
        and np.isfinite(numbers[:, place]).all()
        and np.ptp(numbers[:, place]) > 0
    ]
    enough = 2 <= len(usable) <= MAX_SUMMED and len(rows) >= ROWS_A_COLUMN * len(usable)
    if data.goal.task != "Regression" or not enough:
        return
    chosen = numbers[:, usable]
    scaled = (chosen - chosen.mean(axis=0)) / chosen.std(axis=0)
    wanted = (target - target.mean()) / target.std()
    weights = np.linalg.lstsq(scaled, wanted, rcond=None)[0]
    if float(np.mean((scaled @ weights - wanted) ** 2)) > EXACT:
        return
    parts = [names[usable[place]] for place in np.flatnonzero(np.abs(weights) > SHARE_OF_SUM)]
    members = tuple(dict.fromkeys(parts))
    if len(members) < 2:
        return
    more = f" and {len(members) - MAX_TOLD} more" if len(members) > MAX_TOLD else ""
    told = ", ".join(map(repr, members[:MAX_TOLD])) + more
    yield Finding(
        members,
        f"Columns {told} add up to the target exactly: they are probably its parts. If so, list "
        "them in spec.features.exclude; those that are known before it in spec.leakage.accept.",
    )


def _some_rows(count: int) -> Rows:
    """Return positions spread evenly over the rows: all, or as many as suffice."""
    if count <= MAX_ROWS:
        return np.arange(count)
    return np.linspace(0, count - 1, MAX_ROWS).astype(np.intp)


def _columns(
    schema: InputSchema, data: SearchData, rows: Rows
) -> Iterator[tuple[str, Floats | Codes]]:
    """Yield each feature: rows x numbers, or a position among its values for each row."""
    # Trees of scikit-learn hold numbers in 32 bits.
    numbers = np.clip(np.asarray(data.inputs.numbers)[rows], -LARGEST, LARGEST)
    for feature in sorted(set(schema.number_features)):
        places = [place for place, one in enumerate(schema.number_features) if one == feature]
        yield schema.names[feature], numbers[:, places]
    for place, feature in enumerate(schema.code_features):
        yield schema.names[feature], np.asarray(data.inputs.codes)[rows, place].astype(np.int64)
    for feature, texts in zip(schema.text_features, data.inputs.texts, strict=True):
        _, codes = np.unique([texts[row] for row in rows], return_inverse=True)
        yield schema.names[feature], codes.astype(np.int64)


def _power(values: Floats | Codes, target: Floats, folds: Rows, task: str, least: float) -> float:
    """Return the share of the naive error that a feature takes away, out of fold."""
    found = naive = 0.0
    for fold in range(int(folds.max()) + 1):
        train, valid = folds != fold, folds == fold
        guess = _guess(values[train], target[train], values[valid], task)
        simple = np.full(len(guess), _best_guess(target[train], task))
        found += _loss(guess, target[valid], task)
        naive += _loss(simple, target[valid], task)
        if naive and 1 - found / naive < least - HOPELESS:
            return 0.0
    if task == "Classification" and naive < MIN_MISTAKES:
        return 0.0
    return 1 - found / naive if naive else 0.0


def _same_order(values: Floats | Codes, target: Floats, task: str) -> float:
    """Return the square of the rank correlation of a number and a target that is one."""
    if task != "Regression" or values.ndim == 1 or values.shape[1] != 1:
        return 0.0
    present = np.isfinite(values[:, 0])
    numbers, wanted = values[present, 0], target[present]
    if 2 * len(numbers) < len(target) or np.ptp(numbers) == 0 or np.ptp(wanted) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(numbers), rankdata(wanted))[0, 1] ** 2)


def _guess(values: Any, target: Floats, asked: Any, task: str) -> Floats:
    if values.ndim == 1:
        return _by_category(values, target, asked, task)
    kind = DecisionTreeClassifier if task == "Classification" else DecisionTreeRegressor
    tree = kind(max_leaf_nodes=LEAVES, min_samples_leaf=SMALLEST_LEAF, random_state=0)
    guess: Floats = tree.fit(values, target).predict(asked)
    return guess


def _by_category(values: Codes, target: Floats, asked: Codes, task: str) -> Floats:
    size = int(max(values.max(), asked.max())) + 1
    counts = np.bincount(values, minlength=size)
    if task == "Classification":
        classes, codes = np.unique(target, return_inverse=True)
        table = np.zeros((size, len(classes)))
        np.add.at(table, (values, codes), 1)
        best = classes[table.argmax(axis=1)]
    else:
        best = np.bincount(values, weights=target, minlength=size) / np.maximum(counts, 1)
    return np.asarray(np.where(counts > 0, best, _best_guess(target, task))[asked])


def _best_guess(target: Floats, task: str) -> float:
    if task == "Regression":
        return float(target.mean())
    classes, counts = np.unique(target, return_counts=True)
    return float(classes[counts.argmax()])


def _loss(guess: Floats, target: Floats, task: str) -> float:
    if task == "Regression":
        return float(np.sum((guess - target) ** 2))
    return float(np.sum(guess != target))


def _told(name: str, power: float) -> str:
    share = f"{100 * power:.4g} % of the error of a naive prediction"
    return f"Column {name!r} alone takes away {share}"
