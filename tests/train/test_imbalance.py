"""Rare classes count as much as frequent ones where the task is Balanced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from modelyard_runtimes.model.schema import Inputs
from modelyard_runtimes.train.learners.registry import LEARNERS
from modelyard_runtimes.train.space import portfolio
from modelyard_runtimes.train.task import Goal, SearchData
from modelyard_runtimes.train.trial import Trial
from sklearn.metrics import recall_score
from sklearn.utils.class_weight import compute_sample_weight

ROWS = 600
NONE = Goal("Classification", 2, "roc_auc", "None", 1)
BALANCED = replace(NONE, balanced="Balanced")


def with_few_positive_rows(goal: Goal) -> SearchData:
    """Return rows of which one in ten is positive, and which no threshold tells apart."""
    generator = np.random.default_rng(8)
    target = (np.arange(ROWS) % 10 == 0).astype(np.float64)
    numbers = generator.normal(size=(ROWS, 3)) + 1.2 * target[:, None]
    codes = np.zeros((ROWS, 0), dtype=np.int32)
    return SearchData(goal, Inputs(numbers, codes), (), target, generator.permutation(ROWS) % 3)


def test_a_row_weighs_as_scikit_learn_balances_it() -> None:
    data, rows = with_few_positive_rows(BALANCED), np.arange(5, 450)
    expected = compute_sample_weight("balanced", data.target[rows])
    np.testing.assert_allclose(data.weights(rows), expected)
    np.testing.assert_array_equal(replace(data, goal=NONE).weights(rows), 1.0)


@pytest.mark.parametrize("learner", [name for name in LEARNERS if name != "TorchMLP"])
def test_every_family_finds_more_of_a_rare_class(learner: str) -> None:
    recalls = []
    for goal in (NONE, BALANCED):
        data = with_few_positive_rows(goal)
        _, outputs = Trial(0, portfolio([learner])[0], (None,) * 3).run(data)
        assert outputs is not None
        recalls.append(recall_score(data.target, outputs[:, 0] >= 0.5))
    plain, balanced = recalls
    assert balanced > plain + 0.15
