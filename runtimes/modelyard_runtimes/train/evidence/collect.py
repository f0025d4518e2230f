"""Collects the evidence of a winner into the files of one artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from modelyard.api.experiment import LeaderboardEntry
from modelyard.api.identity import canonical_json
from modelyard.api.modelversion import GroupDifference
from modelyard.api.records import CARD_FILE, TRIALS_FILE
from modelyard.api.runtime import TrainConfig

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.evidence.calibration import calibration
from modelyard_runtimes.train.evidence.card import Facts, card
from modelyard_runtimes.train.evidence.fairness import fairness
from modelyard_runtimes.train.evidence.importance import permutation_importance
from modelyard_runtimes.train.evidence.predictions import outputs_of, predictions_file
from modelyard_runtimes.train.evidence.shap_values import shap_values
from modelyard_runtimes.train.metrics import all_scores
from modelyard_runtimes.train.problem import Problem
from modelyard_runtimes.train.trial import TrialResult


@dataclass(frozen=True)
class Evidence:
    """The evidence.

    Attributes:
        files: Content by path.
        metrics: Holdout metrics by name.
        fairness: Differences between groups.
    """

    files: dict[str, bytes]
    metrics: dict[str, float]
    fairness: list[GroupDifference]


def collect(  # noqa: PLR0913, PLR0917  (each is a fact of its own)
    config: TrainConfig,
    problem: Problem,
    model: Model,
    model_digest: str,
    leaderboard: Sequence[LeaderboardEntry],
    results: Sequence[TrialResult],
) -> Evidence:
    """Return all evidence for a packed model.

    Args:
        config: What was declared.
        problem: The rows.
        model: The packed model, as a model server loads it.
        model_digest: Digest of its artifact.
        leaderboard: All candidates, best first.
        results: All trials.
    """
    goal, holdout, explain = problem.search.goal, problem.holdout, config.spec.explain
    predicted = model.predict_inputs(holdout.inputs)
    outputs = outputs_of(predicted)
    metrics = all_scores(goal.task, holdout.target, outputs)
    importance = permutation_importance(
        model,
        holdout,
        goal.metric,
        explain.permutation_repeats,
        goal.seed,
        threads=config.workers,
    )
    groups = fairness(holdout, outputs, goal.metric, goal.classes)
    calibrated = calibration(holdout.target, outputs) if goal.classes else None
    explained = shap_values(model, problem, explain.shap_rows, goal.seed)
    documents: dict[str, Any] = {
        "metrics.json": metrics,
        "leaderboard.json": [entry.to_json() for entry in leaderboard],
        TRIALS_FILE: [asdict(result) for result in results],
        "importance.json": asdict(importance),
        "fairness.json": groups.groups,
    }
    files = {"predictions.parquet": predictions_file(model, holdout, predicted)}
    if calibrated is not None:
        documents["calibration.json"] = calibrated
    if explained is not None:
        files["shap.parquet"] = explained.content
        documents["shap.json"] = {
            "importance": explained.importance,
            "additivity_error": explained.additivity_error,
            "approximate_members": explained.approximate,
        }
    facts = Facts(
        config=config,
        document=model.document,
        model_digest=model_digest,
        rows=_row_counts(problem),
        metric=goal.metric,
        metrics=metrics,
        naive=all_scores(goal.task, holdout.target, _naive(problem)),
        leaderboard=leaderboard,
        importance=importance,
        calibration_error=calibrated["expected_calibration_error"] if calibrated else None,
        fairness=groups.differences,
        left_out=problem.choice.left_out,
        warnings=problem.warnings,
    )
    files |= {path: canonical_json(document) for path, document in documents.items()}
    files[CARD_FILE] = card(facts).encode()
    return Evidence(files, metrics, groups.differences)


def _row_counts(problem: Problem) -> dict[str, int]:
    return {
        "search": len(problem.search.target),
        "holdout": len(problem.holdout.target),
        "left out for want of a target": problem.target.missing,
    }


def _naive(problem: Problem) -> Floats:
    """Return for each holdout row the shares of the classes, or the mean, of the search's rows."""
    goal, target = problem.search.goal, problem.search.target
    if goal.classes == 0:
        shares = np.array([target.mean()])
    else:
        counts = np.bincount(target.astype(np.intp), minlength=goal.classes)
        shares = counts / len(target)
        shares = shares[1:] if goal.classes == 2 else shares
    return np.tile(shares, (len(problem.holdout.target), 1))
