"""Which ModelVersion a Deployment asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api.deployment import ModelChoice
from modelyard.judge.conditions import Readiness, is_ready, progressing, ready_condition, stalled


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
        message = f"{', '.join(names)} are all at the stage {stage}; leave one there."
        return Choice(None, stalled("AmbiguousStage", message))
    message = f"No ModelVersion of Experiment {experiment} is at the stage {stage}; commit one."
    return Choice(None, progressing("NoVersionAtStage", message))
