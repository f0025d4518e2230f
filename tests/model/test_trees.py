"""Trees answer any number of threads at once: nobody's question changes another's answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from modelyard_runtimes.model.trees import CACHED_TREES, Trees, parts

CLASSES = 5
ROUNDS = 120
COLUMNS = 6
CALLS = 24


@pytest.fixture(scope="module")
def rows() -> Any:
    return np.random.default_rng(0).normal(size=(3000, COLUMNS))


@pytest.fixture(scope="module")
def trees(rows: Any) -> Trees:
    """More trees than predict rows at a time."""
    target = np.digitize(2 * rows[:, 0] + rows[:, 1], [-2, -0.5, 0.5, 2])
    options = {"objective": "multiclass", "num_class": CLASSES, "num_leaves": 8, "verbosity": -1}
    booster = lgb.train(options | {"num_threads": 1}, lgb.Dataset(rows, target), ROUNDS)
    found = Trees(booster.model_to_string().encode(), COLUMNS)
    assert len(parts(found.iterations, found.outputs)) > 1
    assert ROUNDS * CLASSES > CACHED_TREES
    return found


def probabilities(scores: Any) -> Any:
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


QUESTIONS: dict[str, Callable[[Trees, Any], Any]] = {
    "raw scores": lambda trees, rows: trees.raw(rows),
    "predictions": lambda trees, rows: trees.predict(rows),
    "a row": lambda trees, rows: [trees.predict_one(row) for row in rows[:500].tolist()],
    "SHAP values": lambda trees, rows: trees.contributions(rows[:40]),
}


def test_parts_together_say_what_all_trees_do(trees: Trees, rows: Any) -> None:
    np.testing.assert_allclose(probabilities(trees.raw(rows)), trees.predict(rows), atol=1e-14)


@pytest.mark.parametrize("beside", QUESTIONS)
@pytest.mark.parametrize("asked", QUESTIONS)
def test_an_answer_does_not_depend_on_who_else_asks(
    asked: str, beside: str, trees: Trees, rows: Any
) -> None:
    alone = {name: np.asarray(QUESTIONS[name](trees, rows)) for name in (asked, beside)}
    names = [asked, beside] * (CALLS // 2)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda name: QUESTIONS[name](trees, rows), names))
    for name, answer in zip(names, found, strict=True):
        np.testing.assert_array_equal(answer, alone[name])
