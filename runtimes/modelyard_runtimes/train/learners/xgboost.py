"""XGBoost: gradient boosted trees, packed as a LightGBM model text. Only fitting needs XGBoost."""

from __future__ import annotations

from modelyard_runtimes.train.encoding import EncodingOptions
from modelyard_runtimes.train.learners.base import FitRequest, Fitted, Learner, Parameters


class XGBoost(Learner):
    """Gradient boosted trees; the number of iterations is found on the folds."""

    iterative = True

    def encoding(self, parameters: Parameters) -> EncodingOptions:
        """Return categories as the candidate wants them, missing values as they are."""
        return EncodingOptions(
            missing="Keep",
            scaling="None",
            categories="OneHot" if parameters["categories"] == "OneHot" else "Ordinal",
            min_count=5,
        )

    def fit(self, request: FitRequest) -> Fitted:
        """Boost until the validation loss rests, or for exactly the given iterations."""
        # Only a process that fits such a model spends the time to load XGBoost.
        from modelyard_runtimes.train.learners.xgboost_training import train  # noqa: PLC0415

        return train(request)
