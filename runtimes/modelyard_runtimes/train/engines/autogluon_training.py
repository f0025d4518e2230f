"""Fits models of AutoGluon."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from modelyard_runtimes.train.engines.autogluon_portfolio import MODEL, MODELS, problem_type
from modelyard_runtimes.train.engines.models import Stopped, packable, xgboost_constant
from modelyard_runtimes.train.learners.base import MAX_DEPTH, Encoded, FitRequest, Fitted
from modelyard_runtimes.train.task import Goal

ITERATIONS: Mapping[str, str] = MappingProxyType(
    {"GBM": "num_boost_round", "XGB": "n_estimators", "CAT": "iterations"}
)
"""What each model calls its number of iterations."""


def train(request: FitRequest) -> Fitted:
    """Return the model that AutoGluon fits."""
    goal, settings = request.goal, dict(request.parameters)
    name = str(settings.pop(MODEL))
    learner, kind = MODELS[name]
    fixed, margin = _fixed(name), 0.0
    if name == "XGB":
        fixed["base_score"], margin = xgboost_constant(goal, request.rows)
    if request.iterations is not None:
        fixed[ITERATIONS[name]] = request.iterations
    data = _table(request.rows, goal, "")
    if request.valid is not None:
        data |= _table(request.valid, goal, "_val")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # One that has not converged is a candidate like any other: its score ranks it.
        warnings.simplefilter("ignore")
        fitted = kind(
            path=folder,
            name=name,
            problem_type=problem_type(goal),
            eval_metric=_metric(goal),
            hyperparameters={**settings, **fixed},
        ).fit(**data, num_cpus=1, num_gpus=0, verbosity=0, random_seed=request.seed)
    model = fitted.model.get_booster() if name == "XGB" else fitted.model
    if name == "LR":
        _unscale(model, fitted)
    if request.valid is None:
        return packable(learner, model, goal, margin)
    iterations = max(int(fitted.params_trained[ITERATIONS[name]]), 1)
    return Stopped(packable(learner, _shrunk(name, model, iterations), goal, margin), iterations)


def _fixed(name: str) -> dict[str, Any]:
    """Return what makes a model repeatable, and lets it see every column as a number."""
    settings: dict[str, dict[str, Any]] = {
        "GBM": {"deterministic": True, "force_row_wise": True, "max_depth": MAX_DEPTH},
        # Otherwise zeros would be missing numbers.
        "XGB": {"enable_categorical": True},
        "CAT": {},
        "XT": {"n_jobs": 1, "max_depth": MAX_DEPTH},
        # Skewed columns would be mapped to quantiles, which a linear model cannot take in.
        "LR": {"proc.skew_threshold": None},
    }
    # Columns keep their places, and no tree is left out for what memory happens to be free.
    return {"ag.drop_unique": False, "ag.max_memory_usage_ratio": 1e6, **settings[name]}


def _table(rows: Encoded, goal: Goal, which: str) -> dict[str, Any]:
    """Return rows as AutoGluon takes them."""
    target = rows.target if goal.task == "Regression" else rows.target.astype(np.intp)
    names = [f"c{column}" for column in range(rows.columns.shape[1])]
    return {
        f"X{which}": pd.DataFrame(rows.columns, columns=names),
        f"y{which}": pd.Series(target),
        f"sample_weight{which}": rows.weights,
    }


def _metric(goal: Goal) -> str:
    """Return the metric by which AutoGluon finds the number of iterations."""
    several = goal.outputs > 1
    return {
        "roc_auc": "roc_auc_ovr_macro" if several else "roc_auc",
        # It knows none of several classes.
        "average_precision": "log_loss" if several else "average_precision",
        "f1": "f1_macro" if several else "f1",
        "rmse": "root_mean_squared_error",
        "mae": "mean_absolute_error",
    }.get(goal.metric, goal.metric)


def _shrunk(name: str, model: Any, iterations: int) -> Any:
    """Return a model of as many iterations; CatBoost is left with its best by AutoGluon."""
    if name == "GBM":
        return lgb.Booster(model_str=model.model_to_string(num_iteration=iterations))
    return model[:iterations] if name == "XGB" else model


def _unscale(model: Any, fitted: Any) -> None:
    """Let a linear model see columns as they are, and not as AutoGluon scaled them."""
    scaler = fitted._pipeline.named_transformers_["cont"]["scaler"]
    model.coef_ = model.coef_ / scaler.scale_
    model.intercept_ = model.intercept_ - model.coef_ @ scaler.mean_
