"""Which model a Deployment serves, and whether its InferenceService does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api.deployment import ModelChoice
from modelyard.judge.conditions import Readiness, is_ready, progressing, ready_condition, stalled
from modelyard.judge.run import secret_missing


@dataclass(frozen=True)
class Choice:
    """The name of the chosen ModelVersion, or why there is none."""

    name: str | None
    why_not: Readiness | None = None


def choose(
    model: ModelChoice,
    environment: str,
    experiment: dict[str, Any] | None,
    versions: Sequence[dict[str, Any]],
) -> Choice:
    """Return which ModelVersion a Deployment asks for.

    Args:
        model: The Deployment's `spec.model`.
        environment: Environment of the Project.
        experiment: The named Experiment, if it exists.
        versions: All ModelVersions of the namespace.
    """
    if model.model_version is not None:
        return Choice(model.model_version)
    if model.stage is not None:
        return _by_stage(str(model.experiment), model.stage, versions)
    if environment == "production":
        message = (
            "spec.model: in a production Project git chooses the model; add stage, "
            "or name a modelVersion."
        )
        return Choice(None, stalled("StageRequired", message))
    if experiment is None:
        message = f"spec.model.experiment: there is no Experiment {model.experiment}; commit one."
        return Choice(None, progressing("ExperimentMissing", message))
    best = (experiment.get("status") or {}).get("bestModelVersion")
    if not best or not is_ready(experiment):
        condition = ready_condition(experiment)
        why = (
            f"{condition['reason']}: {condition['message']}"
            if condition
            else "it was not judged yet"
        )
        message = f"Experiment {model.experiment} has no model for its present spec: {why}"
        return Choice(None, progressing("ExperimentNotReady", message))
    return Choice(best)


def _by_stage(experiment: str, stage: str, versions: Sequence[dict[str, Any]]) -> Choice:
    names = sorted(
        version["metadata"]["name"]
        for version in versions
        if (status := version.get("status") or {}).get("stage") == stage
        and (status.get("lineage") or {}).get("experiment") == experiment
    )
    if len(names) == 1:
        return Choice(names[0])
    if names:
        message = (
            f"{', '.join(names)} are all at the stage {stage}; leave one there. "
            "What serves goes on serving."
        )
        return Choice(None, stalled("AmbiguousStage", message))
    message = f"No ModelVersion of Experiment {experiment} is at the stage {stage}; commit one."
    return Choice(None, progressing("NoVersionAtStage", message))


@dataclass(frozen=True)
class Serving:
    """Whether an InferenceService serves what its spec says."""

    up_to_date: bool
    url: str | None
    why_not: Readiness | None


def judge_serving(service: dict[str, Any] | None) -> Serving:
    """Return whether an InferenceService serves its present spec, and where."""
    if service is None:
        return Serving(False, None, progressing("Starting", "The model server is being started."))
    status = service.get("status") or {}
    url = status.get("url")
    state = status.get("modelStatus") or {}
    observed = status.get("observedGeneration") == service["metadata"].get("generation")
    transition = state.get("transitionStatus")
    if observed and transition in ("BlockedByFailedLoad", "InvalidSpec"):
        failure = state.get("lastFailureInfo") or {}
        message = failure.get("message") or failure.get("reason") or "no message"
        return Serving(
            False, url, stalled("ModelLoadFailed", f"The model server failed: {message}")
        )
    condition = ready_condition(service)
    if observed and condition.get("status") == "True" and transition in (None, "UpToDate"):
        return Serving(True, url, None)
    loading = progressing("Loading", "The model server is loading the model.")
    why_not = secret_missing("model server", condition.get("message") or "") or loading
    return Serving(False, url, why_not)
