"""Writes the project tree that requirements describe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from modelyard.api.kinds import BY_NAME
from modelyard.api.meta import API_VERSION
from modelyard.cli.requirements.model import Question, Requirements, RequirementsIncomplete


def project_tree(requirements: Requirements, into: Path) -> dict[str, str]:
    """Return the files of a project: paths relative to `into`, and their YAML.

    Args:
        requirements: What `parse` returned, without open questions.
        into: Directory that the files will be written to; the path of the data is given from it.

    Raises:
        RequirementsIncomplete: with the questions that are open.
    """
    name = requirements.project_name
    if requirements.questions or name is None:
        raise RequirementsIncomplete(
            requirements.questions or [Question("project_name", "what is the project called")]
        )
    files = {
        "project.yaml": _object("Project", name, name, _project(requirements)),
        "dataset.yaml": _object("Dataset", name, name, _dataset(requirements, into)),
        "experiment.yaml": _object("Experiment", name, name, _experiment(requirements, name)),
        "deployment.yaml": _object("Deployment", name, name, _deployment(requirements, name)),
        "monitor.yaml": _object("Monitor", name, name, {"deploymentRef": {"name": name}}),
    }
    if (rate := requirements.requests_per_second) is not None:
        note = f"# Expected: {rate:.4g} requests/s on average. No field declares a rate yet.\n"
        files["deployment.yaml"] = note + files["deployment.yaml"]
    if requirements.threshold is not None:
        policy = f"minimum-{requirements.threshold.metric.replace('_', '-')}"
        files[f"policies/{policy}.yaml"] = _object("Policy", policy, name, _policy(requirements))
    return files


def _object(kind: str, name: str, namespace: str, spec: dict[str, Any]) -> str:
    """Return the YAML of an object, its spec checked by its model."""
    BY_NAME[kind].spec.model_validate(spec)
    manifest = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    text: str = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=100)
    return text


def _project(requirements: Requirements) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "description": requirements.objective[:1024],
        "environment": requirements.environment,
    }
    if requirements.data_uri is not None:
        secret = {"name": "data-credentials"}
        spec["connections"] = [{"name": "data", "type": "S3", "secretRef": secret}]
    return spec


def _dataset(requirements: Requirements, into: Path) -> dict[str, Any]:
    if requirements.data_path is not None:
        path = os.path.relpath(requirements.data_path, into.resolve())
        source: dict[str, Any] = {"path": Path(path).as_posix()}
    elif requirements.data_uri is not None:
        source = {"uri": requirements.data_uri, "connectionRef": {"name": "data"}}
    else:
        source = {"builtin": requirements.data_builtin}
    known = {"name": "target-known", "type": "NotNull", "column": requirements.target}
    return {
        "description": requirements.data_description[:1024],
        "source": source,
        "expectations": [{**known, "onFail": "Quarantine"}],
    }


def _experiment(requirements: Requirements, name: str) -> dict[str, Any]:
    optional = {"positiveLabel": requirements.positive_label, "metric": requirements.metric}
    spec: dict[str, Any] = {
        "description": requirements.objective[:1024],
        "datasetRef": {"name": name},
        "task": {
            "type": requirements.task_type,
            "target": requirements.target,
            **{key: value for key, value in optional.items() if value is not None},
        },
    }
    if requirements.exclude:
        spec["features"] = {"exclude": requirements.exclude}
    if requirements.sensitive:
        spec["fairness"] = {"sensitive": requirements.sensitive}
    return spec


def _deployment(requirements: Requirements, name: str) -> dict[str, Any]:
    """In production the model at stage Production serves, elsewhere the best one."""
    if requirements.environment == "production":
        return {"model": {"experiment": name, "stage": "Production"}}
    return {"model": {"experiment": name}}


def _policy(requirements: Requirements) -> dict[str, Any]:
    threshold = requirements.threshold
    assert threshold is not None  # noqa: S101 - for the type checker: the caller looked
    rule = {
        "name": threshold.metric.replace("_", "-"),
        "path": f"modelVersion.status.metrics.{threshold.metric}",
        "operator": threshold.operator,
        "value": threshold.value,
        "message": "Improve the model, or change the requirement knowingly.",
    }
    return {
        "description": f"What the requirements ask of {threshold.metric} on the holdout.",
        "gates": ["promote", "deploy"],
        "rules": [rule],
    }
