"""Collects the evidence of a winner into the files of one artifact."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from modelyard.api.experiment import Interval
from modelyard.api.identity import canonical_json
from modelyard.api.modelversion import Defect, GroupDifference
from modelyard.api.records import CARD_FILE, REPORT_FILE, TRIALS_FILE
from modelyard.api.runs import TrainConfig

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import Model
from modelyard_runtimes.model.calibration import calibrated
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.confidence import interval_of_rows
from modelyard_runtimes.train.decision import error_cost
from modelyard_runtimes.train.evidence.calibration import calibration, calibration_error
from modelyard_runtimes.train.evidence.card import card
from modelyard_runtimes.train.evidence.defects import defects
from modelyard_runtimes.train.evidence.explanations import explanations
from modelyard_runtimes.train.evidence.facts import Facts
from modelyard_runtimes.train.evidence.fairness import Judged, by_group, fairness
from modelyard_runtimes.train.evidence.importance import permutation_importance
from modelyard_runtimes.train.evidence.intervals import intervals
from modelyard_runtimes.train.evidence.mitigation import group_thresholds
from modelyard_runtimes.train.evidence.predictions import outputs_of, predictions_file
from modelyard_runtimes.train.evidence.report import report
from modelyard_runtimes.train.evidence.shap_values import shap_values
from modelyard_runtimes.train.metrics import THRESHOLD, all_scores
from modelyard_runtimes.train.one_fold import most_members
from modelyard_runtimes.train.problem import Problem
from modelyard_runtimes.train.search import SearchRun
from modelyard_runtimes.train.trial import NOT_FINITE
from modelyard_runtimes.train.winner import Choice


@dataclass(frozen=True)
class Evidence:
    """The evidence.

    Attributes:
        files: Content by path.
        metrics: Holdout metrics by name.
        metric_interval: Where the optimised one lies.
        fairness: Differences between groups.
        defects: What is amiss.
    """

    files: dict[str, bytes]
    metrics: dict[str, float]
    metric_interval: Interval | None
    fairness: list[GroupDifference]
    defects: list[Defect]


def collect(  # noqa: PLR0913, PLR0917  (each is a fact of its own)
    config: TrainConfig,
    problem: Problem,
    model: Model,
    model_digest: str,
    choice: Choice,
    search: SearchRun,
) -> Evidence:
    """Return all evidence for a packed model.

    Args:
        config: What was declared.
        problem: The rows.
        model: The packed model, as a model server loads it.
        model_digest: Digest of its artifact.
        choice: The winner.
        search: The search, all trials of which have ended.

    Raises:
        RunFailure: the model predicts numbers that are not finite.
    """
    goal, holdout, explain = problem.search.goal, problem.holdout, config.spec.explain
    predicted = model.predict_inputs(holdout.inputs)
    if not np.isfinite(predicted).all():
        raise RunFailure(
            "NonFinitePredictions",
            f"of {len(predicted)} rows of the holdout {_not_finite(predicted)} get no number: "
            f"{NOT_FINITE}. Remove the learners of the winner from spec.search.learners, or clean "
            "the rows that have numbers far beyond all others",
        )
    explained = shap_values(model, problem, explain.shap_rows, goal.seed)
    shap = explained.importance if explained is not None else []
    facts = _facts(config, problem, model, model_digest, choice, search, predicted, shap)
    asked = facts.explanations
    documents: dict[str, Any] = {
        "metrics.json": facts.metrics,
        "leaderboard.json": [entry.to_json() for entry in choice.leaderboard],
        TRIALS_FILE: [asdict(result) for result in search.ended],
        "importance.json": asdict(facts.importance),
        "selection.json": _selection(config, problem),
        "fairness.json": facts.fairness.groups,
        "mitigation.json": facts.mitigations,
        "slices.json": facts.slices,
        "calibration.json": _calibration(facts),
        "intervals.json": facts.conformal,
        "partial_dependence.json": asked.dependence,
        "lime.json": asked.lime,
        "counterfactuals.json": asked.counterfactuals,
    }
    files = {"predictions.parquet": predictions_file(model, holdout, predicted)}
    files |= {
        f"partial_dependence/{number}.svg": chart.encode()
        for number, chart in enumerate(asked.charts)
    }
    if explained is not None:
        files["shap.parquet"] = explained.content
        documents["shap.json"] = {
            "importance": explained.importance,
            "additivity_error": explained.additivity_error,
            "approximate_members": explained.approximate,
            "square_root_members": explained.square_roots,
        }
    files |= {path: canonical_json(document) for path, document in documents.items() if document}
    files[CARD_FILE] = card(facts).encode()
    files[REPORT_FILE] = report(facts).encode()
    return Evidence(
        files=files,
        metrics=facts.metrics,
        metric_interval=facts.metric_interval,
        fairness=facts.fairness.differences,
        defects=defects(facts),
    )


def _facts(  # noqa: PLR0913, PLR0917  (each is a fact of its own)
    config: TrainConfig,
    problem: Problem,
    model: Model,
    model_digest: str,
    choice: Choice,
    search: SearchRun,
    predicted: Floats,
    shap: list[dict[str, Any]],
) -> Facts:
    goal, holdout, document = problem.search.goal, problem.holdout, model.document
    outputs = outputs_of(predicted)
    raw = model.outputs(holdout.inputs) if document.calibration else outputs
    judged = _judged(problem, model, outputs)
    found = calibration(holdout.target, outputs, goal.seed) if goal.classes else None
    metrics = all_scores(goal.task, holdout.target, outputs, document.threshold)
    if found is not None:
        metrics["expected_calibration_error"] = found.error
    costs = _costs(config, holdout.target, outputs, document.threshold)
    if costs is not None:
        metrics["cost"] = costs["threshold"]
    raw_error = None
    if document.calibration:
        raw_error = calibration_error(holdout.target, raw)
    interval = alike = interval_of_rows(
        goal.metric, holdout.target, outputs, document.threshold, goal.seed
    )
    if document.calibration or document.threshold != THRESHOLD:
        alike = interval_of_rows(goal.metric, holdout.target, raw, THRESHOLD, goal.seed)
    mitigations: list[dict[str, Any]] = []
    if goal.classes == 2:
        out_of_fold = calibrated(document.calibration, choice.winner.outputs)
        target = np.asarray(problem.search.judged.target)
        compared = Judged(target, out_of_fold, goal.metric, 2, document.threshold)
        mitigations = group_thresholds(compared, problem.judged_groups(), judged, holdout.groups)
    return Facts(
        config=config,
        document=document,
        model_digest=model_digest,
        rows=_row_counts(problem),
        judged_by=_judged_by(config, problem),
        metric=goal.metric,
        metrics=metrics,
        metric_interval=interval,
        alike_interval=alike,
        naive=all_scores(goal.task, holdout.target, _naive(problem), document.threshold),
        winner=choice.entry,
        leaderboard=choice.leaderboard,
        results=search.ended,
        cut=search.cut,
        importance=permutation_importance(
            model,
            holdout,
            goal.metric,
            config.spec.explain.permutation_repeats,
            goal.seed,
            threads=config.workers,
        ),
        calibration=found,
        raw_error=raw_error,
        costs=costs,
        conformal=intervals(model, holdout.target, predicted),
        fairness=fairness(judged, holdout.groups, config.spec.fairness.limits),
        slices=by_group(judged, holdout.slices),
        mitigations=mitigations,
        explanations=explanations(model, problem, config.spec.explain),
        shap=shap,
        left_out=problem.choice.left_out,
        warnings=problem.warnings,
    )


def _selection(config: TrainConfig, problem: Problem) -> dict[str, Any] | None:
    """Return which features the fit without each fold saw, and which the model sees."""
    declared, kept = config.spec.features.selection, problem.search.plan.kept
    if declared is None or kept is None:
        return None
    *folds, model = [[problem.schema.names[place] for place in features] for features in kept]
    return {**declared.to_json(), "folds": folds, "model": model}


def _judged(problem: Problem, model: Model, outputs: Floats) -> Judged:
    goal = problem.search.goal
    threshold = model.document.threshold
    return Judged(problem.holdout.target, outputs, goal.metric, goal.classes, threshold)


def _calibration(facts: Facts) -> dict[str, Any] | None:
    found = facts.calibration
    if found is None:
        return None
    return {
        "curve": found.curve,
        "expected_calibration_error": found.error,
        "by_chance": found.by_chance,
        "before_recalibration": facts.raw_error,
    }


def _costs(
    config: TrainConfig, target: Floats, outputs: Floats, threshold: float
) -> dict[str, float] | None:
    declared = config.spec.evaluation.threshold if config.spec.evaluation else None
    if declared is None or declared.costs is None:
        return None
    return {
        "threshold": error_cost(target, outputs[:, 0], threshold, declared.costs),
        "at_half": error_cost(target, outputs[:, 0], THRESHOLD, declared.costs),
    }


def _not_finite(predicted: Floats) -> int:
    finite = np.isfinite(predicted)
    return int(np.sum(~(finite if finite.ndim == 1 else finite.all(axis=1))))


def _judged_by(config: TrainConfig, problem: Problem) -> str:
    data, declared = problem.search, config.spec.ensemble
    if data.fit_count > 1:
        return f"{data.fold_count} folds"
    told = f"one fold of {data.fold_count}, by a single fit without it"
    members = most_members(config, data)
    if declared.type != "None" and members < declared.max_models:
        told += f"; in the time there was an ensemble could have {members} members at most"
    return told


def _row_counts(problem: Problem) -> dict[str, int]:
    counts = {
        "search": len(problem.search.target),
        "holdout": len(problem.holdout.target),
        "left out for want of a target": problem.target.missing,
    }
    rare = problem.target.rare
    return {**counts, "left out with a rare class": sum(rare.values())} if rare else counts


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
