"""XGBoost: gradient boosted trees, packed as a LightGBM model text. Only fitting needs XGBoost."""

from __future__ import annotations

from modelyard_runtimes.train.learners.base import FitRequest, Fitted
from modelyard_runtimes.train.learners.boosting import GENERATION, Boosting


class XGBoost(Boosting):
    """Gradient boosted trees."""

    training = "modelyard_runtimes.train.learners.xgboost_training"
    changing = (
        "learning_rate",
        "max_depth",
        "min_child_weight",
        "colsample_bynode",
        "subsample",
        "reg_lambda",
    )
    generation = GENERATION

    def fit(self, request: FitRequest) -> Fitted:
        """Boost until the validation loss rests, or for exactly the given iterations."""
        # Only a process that fits such a model spends the time to load XGBoost.
        from modelyard_runtimes.train.learners.xgboost_training import train  # noqa: PLC0415

        return train(request)
