"""ExtraTrees: extremely randomised trees of scikit-learn, packed as a LightGBM model text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.ensemble import (  # type: ignore[import-untyped]
    ExtraTreesClassifier,
    ExtraTreesRegressor,
)

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.encoding import EncodingOptions
from modelyard_runtimes.train.learners.base import (
    MAX_DEPTH,
    FitRequest,
    Fitted,
    Learner,
    Packed,
    Parameters,
)
from modelyard_runtimes.train.learners.model_text import (
    COMPLETE,
    Tree,
    child_names,
    in_single_precision,
    model_text,
    of_single_precision,
)

TREES = 100
ROWS_A_LEAF_CAP = 8000
"""Leaves hold at least rows / this many rows, which bounds the size of the model."""


class ExtraTrees(Learner):
    """The mean of randomised trees."""

    def encoding(self, parameters: Parameters) -> EncodingOptions:
        """Return missing numbers imputed, categories as the candidate wants them."""
        return EncodingOptions(
            missing="Impute",
            scaling="None",
            categories="OneHot" if parameters["categories"] == "OneHot" else "Ordinal",
            min_count=5,
        )

    def fit(self, request: FitRequest) -> Fitted:
        """Fit all trees."""
        goal, rows, parameters = request.goal, request.rows, request.parameters
        columns = in_single_precision(rows.columns)
        least = max(int(parameters["min_samples_leaf"]), len(rows.target) // ROWS_A_LEAF_CAP)
        settings: dict[str, Any] = {
            "n_estimators": TREES,
            "min_samples_leaf": least,
            "max_features": float(parameters["max_features"]),
            "random_state": request.seed,
            "max_depth": MAX_DEPTH,
            "n_jobs": 1,
        }
        if goal.task == "Regression":
            regressor = ExtraTreesRegressor(**settings)
            return FittedTrees(regressor.fit(columns, rows.target, rows.weights))
        classifier = ExtraTreesClassifier(**settings)
        return FittedTrees(classifier.fit(columns, rows.target.astype(np.intp), rows.weights))


class FittedTrees(Fitted):
    """A fitted forest."""

    def __init__(self, forest: ExtraTreesClassifier | ExtraTreesRegressor) -> None:
        self._forest = forest

    def predict(self, columns: Floats) -> Floats:
        """Return probabilities or values."""
        single = in_single_precision(columns)
        if isinstance(self._forest, ExtraTreesClassifier):
            probabilities = np.asarray(self._forest.predict_proba(single), dtype=np.float64)
            return probabilities[:, 1:] if probabilities.shape[1] == 2 else probabilities
        return np.asarray(self._forest.predict(single), dtype=np.float64).reshape(-1, 1)

    def pack(self) -> Packed:
        """Return the forest as a LightGBM model text whose output is the mean of the trees."""
        outputs = _leaf_values(self._forest.estimators_[0].tree_).shape[1]
        trees = [
            tree
            for estimator in self._forest.estimators_
            for tree in _trees(estimator.tree_, outputs)
        ]
        return Packed("Trees", model_text(trees, self._forest.n_features_in_, outputs, None))


def _trees(tree: Any, outputs: int) -> Iterator[Tree]:
    """Yield the same splits once for each output, with its values."""
    leaf = tree.children_left < 0
    inner = ~leaf
    names = child_names(leaf)
    values, rows = _leaf_values(tree), tree.n_node_samples
    for output in range(outputs):
        yield Tree(
            feature=tree.feature[inner],
            threshold=of_single_precision(tree.threshold[inner]),
            decision=np.full(int(inner.sum()), COMPLETE),
            left=names[tree.children_left[inner]],
            right=names[tree.children_right[inner]],
            value=values[leaf, output],
            rows=rows[leaf],
            inner_rows=rows[inner],
        )


def _leaf_values(tree: Any) -> Floats:
    """Return nodes x outputs: the positive class's share, the share of each class, or the mean."""
    values = np.asarray(tree.value[:, 0, :], dtype=np.float64)
    if values.shape[1] == 1:
        return values
    shares: Floats = values / values.sum(axis=1, keepdims=True)
    return shares[:, 1:] if shares.shape[1] == 2 else shares
