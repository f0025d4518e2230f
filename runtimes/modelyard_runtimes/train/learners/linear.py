"""Linear models: logistic regression for classes, ridge for values; both with an L2 penalty."""

from __future__ import annotations

import io
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
from sklearn.linear_model import (  # type: ignore[import-untyped]
    LogisticRegression,
    Ridge,
)

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.encoding import EncodingOptions
from modelyard_runtimes.train.learners.base import FitRequest, Fitted, Learner, Packed, Parameters

MAX_STEPS = 300


class Linear(Learner):
    """Standardised numbers, optionally piecewise linear, and a 0/1 column for each category."""

    def encoding(self, parameters: Parameters) -> EncodingOptions:
        """Return everything imputed and scaled."""
        return EncodingOptions(
            missing="Impute",
            scaling="Standard",
            categories="OneHot",
            min_count=5,
            knots=int(parameters["knots"]),
        )

    def fit(self, request: FitRequest) -> Fitted:
        """Fit; `penalty` is the weight of the squared coefficients against the mean loss."""
        goal, rows, seed = request.goal, request.rows, request.seed
        penalty = float(request.parameters["penalty"]) * len(rows.target)
        if goal.task == "Regression":
            ridge = Ridge(alpha=penalty, solver="cholesky", random_state=seed)
            ridge.fit(rows.columns, rows.target, sample_weight=rows.weights)
            return FittedLinear(ridge)
        logistic = LogisticRegression(C=1 / penalty, max_iter=MAX_STEPS, random_state=seed)
        with warnings.catch_warnings():
            # One that has not converged is a candidate like any other: its score ranks it.
            warnings.simplefilter("ignore", ConvergenceWarning)
            logistic.fit(rows.columns, rows.target.astype(np.intp), sample_weight=rows.weights)
        return FittedLinear(logistic)


class FittedLinear(Fitted):
    """A fitted Ridge or LogisticRegression."""

    def __init__(self, estimator: Ridge | LogisticRegression) -> None:
        self._estimator = estimator

    def predict(self, columns: Floats) -> Floats:
        """Return probabilities or values."""
        if isinstance(self._estimator, LogisticRegression):
            probabilities = np.asarray(self._estimator.predict_proba(columns), dtype=np.float64)
            return probabilities[:, 1:] if probabilities.shape[1] == 2 else probabilities
        return np.asarray(self._estimator.predict(columns), dtype=np.float64).reshape(-1, 1)

    def pack(self) -> Packed:
        """Return the coefficients, a row for each column and the intercept last, as .npy."""
        coefficients = np.atleast_2d(self._estimator.coef_).T
        intercept = np.atleast_1d(self._estimator.intercept_)[None, :]
        stream = io.BytesIO()
        np.save(stream, np.ascontiguousarray(np.vstack([coefficients, intercept]), np.float64))
        return Packed("Linear", stream.getvalue())
