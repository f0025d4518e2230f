"""What early stopping saves, and what it costs, on real rows."""

from __future__ import annotations

import numpy as np
import pytest
from modelyard.api.experiment import Search
from modelyard_runtimes.model.schema import Inputs
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.search import Plan, SearchRun
from modelyard_runtimes.train.task import Goal, SearchData
from modelyard_runtimes.train.trial_log import open_log
from sklearn.datasets import load_breast_cancer

from tests.train.in_process import InProcess

FOLDS = 5
LOSS = 0.005
"""Half a percentage point."""


def breast_cancer() -> SearchData:
    numbers, target = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(3).permutation(len(target))
    return SearchData(
        goal=Goal("Classification", 2, "roc_auc", "None", 1),
        inputs=Inputs(numbers[order], np.zeros((len(order), 0), dtype=np.int32)),
        categories=(),
        target=target[order].astype(np.float64),
        folds=np.arange(len(order)) % FOLDS,
    )


@pytest.mark.soak
@pytest.mark.parametrize("stopping", ["SuccessiveHalving", "Hyperband"])
def test_early_stopping_saves_fits_and_loses_hardly_anything(store: Store, stopping: str) -> None:
    data = breast_cancer()
    fits, best = {}, {}
    for kind in ("None", stopping):
        log, logged = open_log(store, kind, {})
        declared = Search.model_validate(
            {"trials": 40, "learners": ["LightGBM", "Linear"], "earlyStopping": {"type": kind}}
        )
        plan = Plan(data.goal, declared, FOLDS, 2)
        run = SearchRun(plan, InProcess(data), log, logged, lambda progress: None)
        results = run.run()
        log.close()
        fits[kind] = sum(len(result.folds) for result in results)
        best[kind] = max(result.value for result in results if result.state == "Complete")
    saved = 1 - fits[stopping] / fits["None"]
    assert saved >= (0.4 if stopping == "SuccessiveHalving" else 0.2)
    assert best[stopping] >= best["None"] - LOSS
