"""Rules that look at several objects at once; each yields faults with a remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from modelyard.api.dataset import DatasetSpec
from modelyard.api.deployment import DeploymentSpec
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.monitor import MonitorSpec
from modelyard.api.project import ProjectSpec
from modelyard.cli import documents, sources
from modelyard.cli.faults import Fault
from modelyard.cli.manifests import Manifest, Tree
from modelyard.judge.batch_folders import REMEDY, overlap
from modelyard.judge.grants import Limited, refusals

_LIMITED: dict[str, type[Limited]] = {
    "Dataset": DatasetSpec,
    "Deployment": DeploymentSpec,
    "Experiment": ExperimentSpec,
    "Monitor": MonitorSpec,
}
_GENERATED_VERSION = re.compile(r"^(?P<experiment>.+)-[0-9a-f]{10}$")


def faults(tree: Tree) -> Iterator[Fault]:
    """Yield every fault that no single object shows."""
    yield from _projects(tree)
    for dataset in tree.of_kind("Dataset"):
        yield from _source(tree, dataset, ("spec", "source"))
        yield from _refusals(tree, dataset)
    for experiment in tree.of_kind("Experiment"):
        yield from _reference(tree, experiment, "Dataset", ("spec", "datasetRef", "name"))
        yield from _refusals(tree, experiment)
    for version in tree.of_kind("ModelVersion"):
        yield from _model_version(tree, version)
    for deployment in tree.of_kind("Deployment"):
        yield from _deployment(tree, deployment)
        yield from _batch(tree, deployment)
        yield from _refusals(tree, deployment)
    for monitor in tree.of_kind("Monitor"):
        yield from _reference(tree, monitor, "Deployment", ("spec", "deploymentRef", "name"))
        yield from _watched(tree, monitor)
        yield from _refusals(tree, monitor)


def _projects(tree: Tree) -> Iterator[Fault]:
    projects: dict[str, Manifest] = {}
    for project in tree.of_kind("Project"):
        earlier = projects.setdefault(project.key.namespace, project)
        if earlier is not project and earlier.key != project.key:
            yield project.fault(
                ("metadata", "name"),
                f"namespace {project.key.namespace} already has the Project {earlier.key.name} "
                f"({earlier.file}); keep one, or give this one another namespace",
            )
    missing: set[str] = set()
    for manifest in tree.manifests:
        namespace = manifest.key.namespace
        if manifest.ours and namespace not in projects and namespace not in missing:
            missing.add(namespace)
            yield manifest.fault(
                ("metadata", "namespace"),
                f"no Project in namespace {namespace}; add a manifest of kind Project there",
            )


def _refusals(tree: Tree, manifest: Manifest) -> Iterator[Fault]:
    """Yield why the Project of the namespace would refuse an object, if both are well-formed."""
    projects = [p for p in tree.of_kind("Project") if p.key.namespace == manifest.key.namespace]
    try:
        spec = _LIMITED[manifest.key.kind].model_validate(manifest.get("spec"))
        project = ProjectSpec.model_validate(projects[0].get("spec")) if projects else None
    except ValidationError:
        return
    for refusal in refusals(spec, project) if project else ():
        yield manifest.fault(refusal.path, refusal.fault)


def _names(tree: Tree, kind: str, namespace: str) -> list[str]:
    return [m.key.name for m in tree.of_kind(kind) if m.key.namespace == namespace]


def _remedy(kind: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    if known:
        return f"add it, or name one of: {', '.join(sorted(known)[:5])}"
    return f"add a manifest of kind {kind} with this name"


def _reference(tree: Tree, origin: Manifest, kind: str, path: documents.Path) -> Iterator[Fault]:
    name = origin.get(*map(str, path))
    if not isinstance(name, str):
        return
    namespace = origin.key.namespace
    known = _names(tree, kind, namespace)
    if name not in known:
        remedy = _remedy(kind, name, known)
        yield origin.fault(path, f"no {kind} {name!r} in namespace {namespace}; {remedy}")


def _source(tree: Tree, manifest: Manifest, field: tuple[str, ...]) -> Iterator[Fault]:
    """Yield the faults of where an object reads rows from; `field` is the path of its source."""
    source = sources.source_path(manifest, tree.directory)
    if source is not None and not source.exists():
        is_absolute = str(manifest.get(*field, "path")).startswith("/")
        hint = "" if is_absolute else f"; the path counts from {tree.directory}"
        yield manifest.fault((*field, "path"), f"no such file or directory: {source}{hint}")
    yield from _connection(tree, manifest, field)


def _connection(tree: Tree, manifest: Manifest, field: tuple[str, ...]) -> Iterator[Fault]:
    """Yield the fault of a connection that the Project does not have."""
    connection = manifest.get(*field, "connectionRef", "name")
    if not isinstance(connection, str):
        return
    known = [
        entry.get("name")
        for project in tree.of_kind("Project")
        if project.key.namespace == manifest.key.namespace
        for entry in _list(project.get("spec", "connections"))
    ]
    if connection not in known:
        yield manifest.fault(
            (*field, "connectionRef", "name"),
            f"the Project has no connection {connection!r}; add it to its spec.connections",
        )


def _list(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _is_version_of(tree: Tree, namespace: str, name: str) -> bool:
    match = _GENERATED_VERSION.match(name)
    return match is not None and match["experiment"] in _names(tree, "Experiment", namespace)


def _model_version(tree: Tree, version: Manifest) -> Iterator[Fault]:
    if version.get("spec", "import") is not None:
        return
    if not _GENERATED_VERSION.match(version.key.name):
        yield version.fault(
            ("metadata", "name"),
            "names no run; write <experiment>-<10 hex digits> as `modelyard plan` shows it, "
            "or set spec.import",
        )


def _deployment(tree: Tree, deployment: Manifest) -> Iterator[Fault]:
    yield from _model_choice(tree, deployment, "model")
    yield from _model_choice(tree, deployment, "canary")
    yield from _model_choice(tree, deployment, "traffic", "fallback")
    model = deployment.get("spec", "model")
    best = isinstance(model, dict) and "experiment" in model and "stage" not in model
    if best and _in_production(tree, deployment.key.namespace):
        yield deployment.fault(
            ("spec", "model"),
            "a production Project does not serve an experiment's best version unasked; "
            "add stage, or name a modelVersion",
        )
    beside = f"{deployment.key.name}-canary"
    taken = beside in _names(tree, "Deployment", deployment.key.namespace)
    if taken and deployment.get("spec", "canary") is not None:
        yield deployment.fault(
            ("spec", "canary"),
            f"its InferenceService would be {beside}, as that of the Deployment {beside} is; "
            "rename one of the two Deployments",
        )


def _batch(tree: Tree, deployment: Manifest) -> Iterator[Fault]:
    """Yield the faults of what a Deployment scores in batch, and where it writes."""
    input_field = ("spec", "batch", "input")
    if deployment.get(*input_field, "datasetRef", "name") is not None:
        yield from _reference(tree, deployment, "Dataset", (*input_field, "datasetRef", "name"))
    yield from _source(tree, deployment, (*input_field, "source"))
    yield from _connection(tree, deployment, ("spec", "batch", "output"))
    yield from _apart(tree, deployment)


def _apart(tree: Tree, deployment: Manifest) -> Iterator[Fault]:
    """Yield the fault of an output that lies inside the input, or around it."""
    source = deployment.get("spec", "batch", "input", "source")
    output = deployment.get("spec", "batch", "output")
    if not isinstance(source, dict) or not isinstance(output, dict):
        return
    path = sources.source_path(deployment, tree.directory)
    place = source.get("uri") if path is None else str(path)
    uri = output.get("uri")
    one_store = path is not None or source.get("connectionRef") == output.get("connectionRef")
    if isinstance(place, str) and isinstance(uri, str) and one_store and overlap(place, uri):
        yield deployment.fault(
            ("spec", "batch", "output", "uri"),
            f"it and spec.batch.input.source ({place}) lie one inside the other: {REMEDY}",
        )


def _watched(tree: Tree, monitor: Manifest) -> Iterator[Fault]:
    """Yield the fault of a Monitor on what answers no requests."""
    name = monitor.get("spec", "deploymentRef", "name")
    for deployment in tree.of_kind("Deployment"):
        same = (deployment.key.namespace, deployment.key.name) == (monitor.key.namespace, name)
        if same and deployment.get("spec", "mode") == "Batch":
            yield monitor.fault(
                ("spec", "deploymentRef", "name"),
                f"Deployment {name} has mode Batch, without requests; name one of mode Online",
            )


def _model_choice(tree: Tree, deployment: Manifest, *path: str) -> Iterator[Fault]:
    """Yield the faults of what a Deployment asks for to serve."""
    choice = deployment.get("spec", *path)
    if not isinstance(choice, dict):
        return
    if "experiment" in choice:
        yield from _reference(tree, deployment, "Experiment", ("spec", *path, "experiment"))
    version = choice.get("modelVersion")
    if isinstance(version, str) and not _is_version_of(tree, deployment.key.namespace, version):
        yield from _reference(tree, deployment, "ModelVersion", ("spec", *path, "modelVersion"))


def _in_production(tree: Tree, namespace: str) -> bool:
    return any(
        project.key.namespace == namespace and project.get("spec", "environment") == "production"
        for project in tree.of_kind("Project")
    )
