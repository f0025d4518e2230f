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
            return FittedTrees(regressor.fit(rows.columns, rows.target, rows.weights))
        classifier = ExtraTreesClassifier(**settings)
        return FittedTrees(classifier.fit(rows.columns, rows.target.astype(np.intp), rows.weights))


class FittedTrees(Fitted):
    """A fitted forest."""

    def __init__(self, forest: ExtraTreesClassifier | ExtraTreesRegressor) -> None:
        self._forest = forest

    def predict(self, columns: Floats, iterations: int | None) -> Floats:
        """Return probabilities or values."""
        del iterations
        if isinstance(self._forest, ExtraTreesClassifier):
            probabilities = np.asarray(self._forest.predict_proba(columns), dtype=np.float64)
            return probabilities[:, 1:] if probabilities.shape[1] == 2 else probabilities
        return np.asarray(self._forest.predict(columns), dtype=np.float64).reshape(-1, 1)

    def pack(self) -> Packed:
        """Return the forest as a LightGBM model text whose output is the mean of the trees.

        scikit-learn compares numbers as float32 (`x <= threshold`), so the packed ones are too.
        """
        return Packed("Trees", "".join(_model_text(self._forest)).encode(), "float32")


def _model_text(forest: ExtraTreesClassifier | ExtraTreesRegressor) -> Iterator[str]:
    """Yield the text, in the form that LightGBM's `Booster.model_to_string` writes (version v4)."""
    outputs = _leaf_values(forest.estimators_[0].tree_).shape[1]
    columns = [f"c{column}" for column in range(forest.n_features_in_)]
    yield (
        f"tree\nversion=v4\nnum_class={outputs}\nnum_tree_per_iteration={outputs}\n"
        f"label_index=0\nmax_feature_idx={len(columns) - 1}\naverage_output\n"
        f"feature_names={' '.join(columns)}\n"
        f"feature_infos={' '.join(['none'] * len(columns))}\n\n"
    )
    number = 0
    for estimator in forest.estimators_:
        values = _leaf_values(estimator.tree_)
        structure = _structure(estimator.tree_)
        for output in range(outputs):
            yield _tree_text(number, structure, values[:, output], estimator.tree_)
            number += 1
    yield "end of trees\n"


def _leaf_values(tree: Any) -> Floats:
    """Return nodes x outputs: the positive class's share, the share of each class, or the mean."""
    values = np.asarray(tree.value[:, 0, :], dtype=np.float64)
    if values.shape[1] == 1:
        return values
    shares: Floats = values / values.sum(axis=1, keepdims=True)
    return shares[:, 1:] if shares.shape[1] == 2 else shares


def _structure(tree: Any) -> dict[str, Any]:
    """Return the lists of a tree that do not depend on the output.

    LightGBM numbers inner nodes and leaves apart; a child that is leaf k is written as -(k + 1).
    """
    leaf = tree.children_left < 0
    names = np.where(leaf, -np.cumsum(leaf), np.cumsum(~leaf) - 1)
    inner = ~leaf
    return {
        "leaf": leaf,
        "split_feature": tree.feature[inner],
        "threshold": tree.threshold[inner],
        "left_child": names[tree.children_left[inner]],
        "right_child": names[tree.children_right[inner]],
    }


def _tree_text(number: int, structure: dict[str, Any], values: Floats, tree: Any) -> str:
    leaf = structure["leaf"]
    inner = ~leaf
    weights = tree.weighted_n_node_samples
    counts = tree.n_node_samples
    lines: dict[str, Any] = {"num_leaves": int(leaf.sum()), "num_cat": 0}
    if inner.any():
        lines |= {
            "split_feature": structure["split_feature"],
            "split_gain": np.zeros(int(inner.sum()), dtype=np.intp),
            "threshold": structure["threshold"],
            "decision_type": np.zeros(int(inner.sum()), dtype=np.intp),
            "left_child": structure["left_child"],
            "right_child": structure["right_child"],
        }
    lines |= {"leaf_value": values[leaf], "leaf_weight": weights[leaf], "leaf_count": counts[leaf]}
    if inner.any():
        lines |= {
            "internal_value": values[inner],
            "internal_weight": weights[inner],
            "internal_count": counts[inner],
        }
    lines |= {"is_linear": 0, "shrinkage": 1}
    body = "\n".join(f"{name}={_joined(value)}" for name, value in lines.items())
    return f"Tree={number}\n{body}\n\n\n"


def _joined(value: Any) -> str:
    return " ".join(map(repr, value.tolist())) if isinstance(value, np.ndarray) else str(value)
