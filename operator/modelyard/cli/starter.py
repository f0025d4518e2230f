"""The project that `modelyard init` writes: one small, complete set of manifests.

The projects in `examples/specs` are exactly what this file makes of the templates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from modelyard.api.meta import API_VERSION, NAME_PATTERN
from modelyard.cli.faults import CommandError, writing


@dataclass(frozen=True)
class Starter:
    """What differs between starter projects."""

    title: str
    description: str
    source: dict[str, str]
    task: dict[str, str]
    gate: tuple[str, str, float]
    """Holdout metric, operator and threshold below which no model serves."""
    least_rows: int = 50
    trials: int = 24
    folds: int = 5
    learners: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draft:
    """A project that can be written, and what has to be said about it."""

    name: str
    files: dict[str, str]
    said: list[str] = field(default_factory=list)
    notes: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """What is said, as JSON."""


def _classification(target: str, metric: str) -> dict[str, str]:
    return {"type": "Classification", "target": target, "metric": metric}


TEMPLATES: dict[str, Starter] = {
    "breast-cancer": Starter(
        title="breast cancer",
        description="569 tumours with 30 measured features: malignant or benign.",
        source={"builtin": "breast_cancer"},
        task=_classification("target", "roc_auc"),
        gate=("roc_auc", "GreaterOrEqual", 0.95),
        trials=12,
        folds=3,
    ),
    "wine": Starter(
        title="wine",
        description="178 wines with 13 chemical measurements: which of three growers.",
        source={"builtin": "wine"},
        task=_classification("target", "log_loss"),
        gate=("accuracy", "GreaterOrEqual", 0.85),
        trials=10,
        folds=3,
    ),
    "diabetes": Starter(
        title="diabetes",
        description="442 patients with 10 features: how far the disease is after a year.",
        source={"builtin": "diabetes"},
        task={"type": "Regression", "target": "target", "metric": "rmse"},
        gate=("r2", "GreaterOrEqual", 0.25),
        trials=12,
        folds=3,
    ),
    "iris": Starter(
        title="iris",
        description="150 flowers with 4 measurements: which of three species.",
        source={"builtin": "iris"},
        task=_classification("target", "log_loss"),
        gate=("accuracy", "GreaterOrEqual", 0.85),
        trials=8,
        folds=3,
    ),
    "digits": Starter(
        title="digits",
        description="1,797 images of 8 x 8 pixels: which digit.",
        source={"builtin": "digits"},
        task=_classification("target", "accuracy"),
        gate=("accuracy", "GreaterOrEqual", 0.9),
        trials=8,
        folds=3,
        learners=("Linear", "ExtraTrees"),
    ),
}


def from_template(name: str | None, template: str) -> Draft:
    """Return a project after a template, named after it unless told otherwise.

    Raises:
        CommandError: there is no such template, or the name is none that Kubernetes takes.
    """
    if template not in TEMPLATES:
        raise CommandError(f"no template {template!r}; there are: {', '.join(TEMPLATES)}")
    name = check_name(name or template)
    return Draft(name, project_files(name, TEMPLATES[template]))


def project_files(name: str, starter: Starter) -> dict[str, str]:
    """Return file name and text of every manifest of a starter project.

    Args:
        name: Name of the project, of its namespace and of its objects.
        starter: What the project is about.
    """
    metric, operator, threshold = starter.gate
    specs: dict[str, tuple[str, dict[str, Any]]] = {
        "project": ("Project", _project(starter)),
        "dataset": ("Dataset", _dataset(starter)),
        "experiment": ("Experiment", _experiment(name, starter)),
        "policy": ("Policy", _policy(metric, operator, threshold)),
        "deployment": ("Deployment", {"model": {"experiment": name}}),
        "monitor": ("Monitor", _monitor(name)),
    }
    return {
        f"{file}.yaml": _manifest(kind, name if kind != "Policy" else "good-enough", name, spec)
        for file, (kind, spec) in specs.items()
    }


def _project(starter: Starter) -> dict[str, Any]:
    return {
        "description": f"From data to a watched model: {starter.title}.",
        "environment": "development",
        "quota": {"parallelTrials": 2},
    }


def _dataset(starter: Starter) -> dict[str, Any]:
    return {
        "description": starter.description,
        "source": starter.source,
        "expectations": [
            {"name": "enough-rows", "type": "RowCount", "min": starter.least_rows},
            {
                "name": "target-known",
                "type": "NotNull",
                "column": starter.task["target"],
                "onFail": "Quarantine",
            },
        ],
    }


def _experiment(name: str, starter: Starter) -> dict[str, Any]:
    search: dict[str, Any] = {"trials": starter.trials}
    if starter.learners:
        search["learners"] = list(starter.learners)
    return {
        "datasetRef": {"name": name},
        "task": starter.task,
        "validation": {"folds": starter.folds, "holdout": 0.2},
        "search": search,
        "execution": {"parallelism": 2},
        "seed": 42,
    }


def _policy(metric: str, operator: str, threshold: float) -> dict[str, Any]:
    return {
        "description": f"No model serves whose {metric} on the holdout is not good enough.",
        "gates": ["deploy"],
        "rules": [
            {
                "name": metric.replace("_", "-"),
                "path": f"modelVersion.status.metrics.{metric}",
                "operator": operator,
                "value": threshold,
                "message": "search longer, get better data, or lower the threshold knowingly",
            }
        ],
    }


def _monitor(name: str) -> dict[str, Any]:
    return {
        "deploymentRef": {"name": name},
        "interval": "5s",
        "alerts": [{"name": "drift", "when": "DriftDetected", "severity": "warning"}],
    }


def _manifest(kind: str, name: str, namespace: str, spec: dict[str, Any]) -> str:
    body = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    return yaml.dump(body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=88)


class _Dumper(yaml.SafeDumper):
    """Indents list items under their key, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002 - PyYAML's signature
        super().increase_indent(flow, False)


def check_name(name: str) -> str:
    """Return a project's name when Kubernetes accepts it.

    Raises:
        CommandError: it does not; the message proposes one that it does.
    """
    if re.match(NAME_PATTERN, name) and len(name) <= 40:
        return name
    proposal = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "my-project"
    raise CommandError(
        f"{name!r} cannot name a project: at most 40 lower-case letters, digits and -; "
        f"try {proposal}"
    )


def write(directory: Path, files: dict[str, str]) -> list[Path]:
    """Write a project into a directory that holds none of its files yet.

    Raises:
        CommandError: a file is there already, so nothing was written; or none can be written.
    """
    paths = {directory / name: text for name, text in files.items()}
    present = [str(path) for path in paths if path.exists()]
    if present:
        raise CommandError(f"{', '.join(present)}: there already; choose another NAME or directory")
    with writing(directory, "choose another NAME or directory"):
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return list(paths)
