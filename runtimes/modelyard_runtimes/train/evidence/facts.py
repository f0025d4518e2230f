"""All that the card and the report tell: what the run found, without clock, host or path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api.experiment import Interval, LeaderboardEntry
from modelyard.api.runs import TrainConfig

from modelyard_runtimes.model import ModelDocument
from modelyard_runtimes.train.evidence.calibration import Calibration
from modelyard_runtimes.train.evidence.explanations import Explanations
from modelyard_runtimes.train.evidence.fairness import Fairness
from modelyard_runtimes.train.evidence.importance import Importance
from modelyard_runtimes.train.trial import TrialResult


@dataclass(frozen=True)
class Facts:
    """All that is told.

    Attributes:
        config: What was declared.
        document: The packed model.
        model_digest: Digest of its artifact.
        rows: Number of rows by use.
        judged_by: Which rows candidates were compared on.
        metric: The optimised metric.
        metrics: Holdout metrics.
        metric_interval: Where the optimised one lies with a confidence of 95 %.
        alike_interval: Where it lies for predictions as the folds were scored: before
            recalibration, and at a threshold of one half.
        naive: The same metrics, at the same threshold, of always predicting the classes' shares,
            or the mean.
        winner: Its place among the candidates.
        leaderboard: All candidates, best first.
        results: All trials.
        cut: Whether the wall-clock budget kept trials from starting.
        importance: Permutation importance.
        calibration: How well probabilities come true; None for regression.
        raw_error: Expected calibration error before recalibration; None without one.
        costs: Mean cost of a row of the holdout at the `threshold` that was found, and `at_half`;
            None without declared costs.
        conformal: What intervals hold on the holdout; None without declared ones.
        fairness: Differences between groups.
        slices: What was measured by declared column and group, as `fairness.groups`.
        mitigations: Candidates against them.
        explanations: What was asked for.
        shap: Share of each feature, largest first; none where SHAP was not asked for.
        left_out: Reason by name of each column that is no feature.
        warnings: What a reader must know of the data.
    """

    config: TrainConfig
    document: ModelDocument
    model_digest: str
    rows: dict[str, int]
    judged_by: str
    metric: str
    metrics: dict[str, float]
    metric_interval: Interval | None
    alike_interval: Interval | None
    naive: dict[str, float]
    winner: LeaderboardEntry
    leaderboard: Sequence[LeaderboardEntry]
    results: Sequence[TrialResult]
    cut: bool
    importance: Importance
    calibration: Calibration | None
    raw_error: float | None
    costs: dict[str, float] | None
    conformal: dict[str, Any] | None
    fairness: Fairness
    slices: dict[str, list[dict[str, Any]]]
    mitigations: list[dict[str, Any]]
    explanations: Explanations
    shap: list[dict[str, Any]]
    left_out: dict[str, str]
    warnings: Sequence[str]

    @property
    def group_measure(self) -> str:
        """What is measured of each group: the metric, or the mean error of a regression."""
        return self.metric if self.document.classes else "mean error"

    @property
    def searched(self) -> str:
        """Which families of models were tried, and by which engine where it is not our own."""
        search = self.config.spec.search
        engine = "" if search.engine in (None, "Native") else f" by {search.engine}"
        return ", ".join(search.learners) + engine
