"""Small problems of every kind, with numbers, categories, a text and missing values."""

from __future__ import annotations

import numpy as np
from modelyard_runtimes.model.schema import Inputs
from modelyard_runtimes.train.task import Goal, SearchData

GOALS = {
    "two classes": Goal("Classification", 2, "roc_auc", "None", 1),
    "balanced classes": Goal("Classification", 2, "roc_auc", "Balanced", 1),
    "three classes": Goal("Classification", 3, "log_loss", "None", 1),
    "values": Goal("Regression", 0, "rmse", "None", 1),
}


def make_data(goal: Goal, rows: int = 300) -> SearchData:
    generator = np.random.default_rng(3)
    numbers = generator.normal(size=(rows, 4))
    numbers[generator.random((rows, 4)) < 0.1] = np.nan
    numbers[:, 0] = generator.normal(size=rows)
    codes = generator.integers(0, 6, size=(rows, 2)).astype(np.int32)
    signal = numbers[:, 0] + (codes[:, 0] == 2) + generator.normal(scale=0.3, size=rows)
    target = {0: signal, 2: signal > 0.3, 3: np.digitize(signal, [-0.2, 0.8])}[goal.classes]
    texts = (["late again" if value > 0 else "on time" for value in signal],)
    return SearchData(
        goal=goal,
        inputs=Inputs(numbers, codes, texts),
        categories=(4, 4),
        target=target.astype(np.float64),
        folds=np.arange(rows) % 3,
    )
