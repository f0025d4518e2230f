"""Fits estimators of FLAML."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from flaml.automl.task.factory import task_factory

from modelyard_runtimes.train.engines.flaml_search import ESTIMATOR, FAMILIES, task_name
from modelyard_runtimes.train.engines.models import packable, xgboost_constant
from modelyard_runtimes.train.learners.base import MAX_DEPTH, FitRequest, Fitted


def train(request: FitRequest) -> Fitted:
    """Return the model that FLAML's estimator fits."""
    goal, settings = request.goal, dict(request.parameters)
    name = str(settings.pop(ESTIMATOR))
    learner = FAMILIES[name]
    # As FLAML's AutoML does: some estimators keep the last rows apart.
    order = np.random.default_rng(request.seed).permutation(len(request.rows.target))
    rows = request.rows.take(order)
    fixed, margin = _fixed(name, request.seed), 0.0
    if learner == "XGBoost":
        fixed["base_score"], margin = xgboost_constant(goal, rows)
    task = task_factory(task_name(goal))
    estimator = task.estimator_class_from_str(name)(task=task, **fixed, **settings)
    target = rows.target if goal.task == "Regression" else rows.target.astype(np.intp)
    with warnings.catch_warnings():
        # One that has not converged is a candidate like any other: its score ranks it.
        warnings.simplefilter("ignore")
        # A retraining is not cut short by the memory that happens to be free.
        estimator.fit(rows.columns, target, is_retrain=True, sample_weight=rows.weights)
    model = estimator.model
    if learner == "LightGBM":
        model = model.booster_
    elif learner == "XGBoost":
        model = model.get_booster()
    return packable(learner, model, goal, margin)


def _fixed(name: str, seed: int) -> dict[str, Any]:
    """Return what makes an estimator repeatable, and keeps its trees from growing without end."""
    common: dict[str, Any] = {"n_jobs": 1, "random_state": seed}
    lossguide = {"tree_method": "hist", "grow_policy": "lossguide", "max_depth": MAX_DEPTH}
    settings: dict[str, dict[str, Any]] = {
        "lgbm": {**common, "deterministic": True, "force_row_wise": True, "max_depth": MAX_DEPTH},
        "xgboost": {**common, **lossguide},
        "xgb_limitdepth": {**common, "tree_method": "hist"},
        "catboost": {"n_jobs": 1, "random_seed": seed, "allow_writing_files": False},
        "extra_tree": {**common, "max_depth": MAX_DEPTH},
        "lrl1": common,
        "enet": {},  # it has a seed of its own
    }
    return settings[name]
