"""Chooses the features that a fit sees, from its training rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from modelyard.api.features import Selection
from scipy.special import gammaln  # type: ignore[import-untyped]
from scipy.stats import chi2, chi2_contingency  # type: ignore[import-untyped]
from sklearn.feature_selection import (  # type: ignore[import-untyped]
    mutual_info_classif,
    mutual_info_regression,
)

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.boruta import confirmed
from modelyard_runtimes.train.encoding import EncodingOptions, fit_encoder
from modelyard_runtimes.train.task import Goal, Rows, SearchData, derived_seed

MAX_ROWS = 10_000
"""Rows that are looked at; more change little and cost much."""
FEW_VALUES = 20
"""Columns of so many different values count as categories, others as quantities."""
NEIGHBOURS = 3
BINS = 10
TAIL_TERMS = 8
"""Terms of an expansion from the least on: there the statistic is so great that they die out."""
TREES = 50
LEAVES = 31

_SEED = 5
_OPTIONS = EncodingOptions(missing="Impute", scaling="None", categories="Ordinal")


@dataclass(frozen=True)
class _Columns:
    """The training rows as columns, the feature of each, and the target."""

    values: Floats
    features: list[int]
    target: Floats
    goal: Goal

    def by_feature(self, scores: Floats) -> dict[int, float]:
        """Return the greatest score of the columns of each feature."""
        found: dict[int, float] = {}
        for feature, score in zip(self.features, scores.tolist(), strict=True):
            found[feature] = max(found.get(feature, score), score)
        return found


def select_features(data: SearchData, selection: Selection) -> tuple[tuple[int, ...], ...]:
    """Return the features of each fit, and last those of the fit on all rows.

    Args:
        data: The rows of the search; `plan` knows the features.
        selection: What is declared.

    Raises:
        RunFailure: no feature is left.
    """
    fits = range(data.fit_count + 1)
    return tuple(kept_features(data, fit, selection) for fit in fits)


def kept_features(data: SearchData, fit: int, selection: Selection) -> tuple[int, ...]:
    """Return the features of a fit, from the rows that it sees."""
    seed = derived_seed(data.goal.seed, _SEED, fit)
    rows = np.flatnonzero(~data.left_out(fit))
    if len(rows) > MAX_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_ROWS, replace=False))
    scores = _scores(_columns(data, rows), selection.method, seed)
    if not scores:
        raise RunFailure(
            "NoFeatures",
            "spec.features.selection: Boruta finds no feature that tells more of the target than "
            "chance does; use another method, or check the target",
        )
    best = sorted(scores, key=lambda feature: (-scores[feature], feature))
    return tuple(sorted(best[: selection.max_features]))


def _columns(data: SearchData, rows: Rows) -> _Columns:
    inputs = data.inputs.take(rows)
    document = fit_encoder(inputs, data.categories, _OPTIONS)
    encoder = Encoder(document)
    values = encoder.transform(inputs)
    words = sum(len(text.words) for text in document.texts)
    values[:, encoder.width - words :] = values[:, encoder.width - words :] > 0
    features = [feature for (feature,) in encoder.sources(data.plan)]
    return _Columns(values, features, np.asarray(data.target[rows]), data.goal)


def _scores(columns: _Columns, method: str, seed: int) -> dict[int, float]:
    """Return how good each feature is, more is better; what is left out is not good at all."""
    if method == "ChiSquared":
        return _chi_squared(columns)
    if method == "MutualInformation":
        return columns.by_feature(_mutual_information(columns, seed))

    def importances(values: Floats, seed: int) -> Floats:
        return _importances(values, columns.target, columns.goal, seed)

    if method == "Boruta":
        found = confirmed(columns.values, columns.features, importances, seed)
        return {feature: float(hits) for feature, hits in found.items()}
    gains = importances(columns.values, seed)
    return dict(enumerate(np.bincount(columns.features, weights=gains).tolist()))


def _mutual_information(columns: _Columns, seed: int) -> Floats:
    rows = len(columns.values)
    most = min(FEW_VALUES, rows // 2)  # where few rows have as many values, these are quantities
    measure = mutual_info_classif if columns.goal.classes else mutual_info_regression
    found = measure(
        columns.values,
        columns.target,
        discrete_features=np.array([len(np.unique(one)) <= most for one in columns.values.T]),
        n_neighbors=min(NEIGHBOURS, rows - 1),
        random_state=seed,
    )
    return np.asarray(found, dtype=np.float64)


def _chi_squared(columns: _Columns) -> dict[int, float]:
    """Return minus the logarithm of the probability that each feature tells nothing of the class.

    The statistics of a feature's columns add up, as do their degrees of freedom.
    """
    statistics: dict[int, float] = {}
    freedoms: dict[int, int] = {}
    classes = columns.target.astype(np.intp)
    for feature, values in zip(columns.features, columns.values.T, strict=True):
        levels = _levels(values)
        table = np.zeros((levels.max() + 1, columns.goal.classes))
        np.add.at(table, (levels, classes), 1)
        table = table[:, table.any(axis=0)]
        found = chi2_contingency(table, correction=False) if len(table) > 1 else None
        statistics[feature] = statistics.get(feature, 0.0) + (found.statistic if found else 0.0)
        freedoms[feature] = freedoms.get(feature, 0) + (found.dof if found else 0)
    return {
        feature: -log_tail(value, max(freedoms[feature], 1))
        for feature, value in statistics.items()
    }


def log_tail(statistic: float, freedoms: int) -> float:
    """Return the logarithm of the probability that chance makes a statistic this great.

    Where that is too small for a float, it is expanded as the incomplete gamma function is for
    large arguments: https://dlmf.nist.gov/8.11.E2. The terms end where they alternate, so that the
    error is less than the first that is left out.
    """
    found = float(chi2.logsf(statistic, freedoms))
    if np.isfinite(found):
        return found
    shape, half = freedoms / 2, statistic / 2
    terms = np.cumprod((shape - np.arange(1, freedoms // 2 + TAIL_TERMS)) / half)
    sum_of_terms = np.log1p(terms.sum())
    return float((shape - 1) * np.log(half) - half - gammaln(shape) + sum_of_terms)


def _levels(values: Floats) -> Rows:
    """Return a number from 0 for each value: itself where there are few, else its quantile."""
    found, places = np.unique(values, return_inverse=True)
    if len(found) <= FEW_VALUES:
        return places.reshape(-1)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1]


def _importances(values: Floats, target: Floats, goal: Goal, seed: int) -> Floats:
    """Return what each column gains in a random forest of LightGBM's."""
    objective = {0: "regression", 2: "binary"}.get(goal.classes, "multiclass")
    settings: dict[str, Any] = {
        "objective": objective,
        "boosting": "rf",
        "bagging_freq": 1,
        "bagging_fraction": 0.632,
        "feature_fraction_bynode": values.shape[1] ** -0.5,
        "num_leaves": LEAVES,
        "min_child_samples": 5,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
        "max_bin": 63,
        "feature_pre_filter": False,
    }
    if objective == "multiclass":
        settings["num_class"] = goal.classes
    forest = lgb.train(settings, lgb.Dataset(values, label=target), TREES)
    return np.asarray(forest.feature_importance("gain"), dtype=np.float64)
