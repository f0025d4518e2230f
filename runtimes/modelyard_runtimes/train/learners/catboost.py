"""CatBoost: symmetric boosted trees, packed as LightGBM model text. Only fitting needs CatBoost."""

from __future__ import annotations

from modelyard_runtimes.train.learners.base import FitRequest, Fitted
from modelyard_runtimes.train.learners.boosting import Boosting


class CatBoost(Boosting):
    """Symmetric boosted trees."""

    training = "modelyard_runtimes.train.learners.catboost_training"

    def fit(self, request: FitRequest) -> Fitted:
        """Boost until the validation loss rests, or for exactly the given iterations."""
        # Only a process that fits such a model spends the time to load CatBoost.
        from modelyard_runtimes.train.learners.catboost_training import train  # noqa: PLC0415

        return train(request)
