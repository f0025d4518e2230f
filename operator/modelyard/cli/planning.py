"""What `up` would change, run and judge, before it does.

A run's identity follows from the spec and the data, so the plan knows what the artifact store
already holds, and the name of the ModelVersion once the data is snapshotted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelyard.api import meta
from modelyard.api.artifacts import FAILURE, RECORD, Failure, run_key
from modelyard.api.dataset import DatasetSpec
from modelyard.api.deployment import DeploymentSpec
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.identity import model_version_name, run_identity
from modelyard.api.policy import Gate, PolicySpec
from modelyard.api.project import ProjectSpec
from modelyard.api.resources import Key
from modelyard.api.runtime import StoreConfig
from modelyard.cli import apply
from modelyard.cli.apply import Origin
from modelyard.cli.client import Client, Object, Refused, key_of
from modelyard.cli.differences import FieldChange, changes_between
from modelyard.cli.manifests import Manifest, Tree
from modelyard.cli.stores import StoreReader
from modelyard.judge.gate import matches
from modelyard.judge.grants import workers
from modelyard.judge.identity import batch_identity, dataset_identity
from modelyard.judge.policy_paths import KIND_AT
from modelyard.judge.schedule import run_token
from modelyard.ports.artifacts import StoreUnavailable

GATE_OF: dict[str, Gate] = {kind: gate for gate, kind in KIND_AT.items()}


@dataclass(frozen=True)
class Run:
    """What the operator will do: Cached (the record is there), Runs, Waits or Unknown.

    Failed is a run that ended without a result and is not started again.
    """

    state: str
    message: str
    identity: str = ""
    fingerprint: str = ""
    model_version: str = ""


@dataclass(frozen=True)
class PlannedObject:
    """One object: Create, Change, Unchanged, Delete or Refused, and what follows."""

    key: Key
    action: str
    file: str = ""
    changes: list[FieldChange] = field(default_factory=list)
    run: Run | None = None
    policies: list[str] = field(default_factory=list)
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "kind": self.key.kind,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "action": self.action,
            "file": self.file,
            "message": self.message,
            "changes": [
                {"path": change.path, "before": change.before, "after": change.after}
                for change in self.changes
            ],
            "run": self.run
            and {
                "state": self.run.state,
                "message": self.run.message,
                "identity": self.run.identity,
                "modelVersion": self.run.model_version,
            },
            "policies": self.policies,
        }


class Planner:
    """Compares a sound tree with what an API server holds, or with nothing when there is none."""

    def __init__(self, tree: Tree, origin: Origin, client: Client | None, store: Path) -> None:
        """Plan for `tree`; `store` is the default artifact store of the project."""
        self._tree = tree
        self._origin = origin
        self._client = client
        self._store = StoreConfig(uri=store.resolve().as_uri())

    def plan(self) -> list[PlannedObject]:
        """Return every object of the tree in the order of application, then what is pruned."""
        manifests = apply.in_order(list(self._tree.manifests))
        planned = [self._planned(manifest) for manifest in manifests]
        if self._client is not None:
            stale = apply.stale(self._tree, self._origin, self._client)
            planned += [PlannedObject(key_of(body), "Delete") for body in stale]
        return planned

    def _planned(self, manifest: Manifest) -> PlannedObject:
        live = self._live(manifest)
        wanted = apply.desired(manifest, self._origin, live)
        planned = PlannedObject(
            manifest.key,
            "Create",
            manifest.file,
            run=self._run(wanted, live),
            policies=list(self._policies(manifest)),
            message=_rollout(wanted),
        )
        try:
            applied = self._dry_run(manifest, wanted)
        except Refused as refused:
            return replace(planned, action="Refused", message=str(refused))
        if live is None:
            return planned
        changes = list(changes_between(live, applied))
        return replace(planned, action="Change" if changes else "Unchanged", changes=changes)

    def _dry_run(self, manifest: Manifest, wanted: Object) -> Object:
        """Return what the API server would make of an object; itself where it cannot be asked."""
        if self._client is None or not self._namespace_exists(self._client, manifest):
            return wanted
        return self._client.apply(wanted, manifest.key, dry_run=True)

    def _namespace_exists(self, client: Client, manifest: Manifest) -> bool:
        namespace = manifest.key.namespace
        return not namespace or client.get("v1", Key("Namespace", "", namespace)) is not None

    def _live(self, manifest: Manifest) -> Object | None:
        if self._client is None:
            return None
        return self._client.get(manifest.api_version, manifest.key)

    def _run(self, body: Object, live: Object | None) -> Run | None:
        key = key_of(body)
        if key.kind == "Dataset":
            return self._dataset_run(body)
        if key.kind == "Experiment":
            spec = ExperimentSpec.model_validate(body["spec"])
            last_slot = _last_slot(live)
            return _unless_held(self._experiment_run(key, spec, last_slot), spec, last_slot)
        if key.kind == "Deployment" and body["spec"].get("mode") == "Batch":
            batch = DeploymentSpec.model_validate(body["spec"])
            return _unless_held(self._batch_run(body, batch, live), batch, _last_slot(live))
        return None

    def _dataset_run(self, body: Object) -> Run:
        key = key_of(body)
        identity = dataset_identity(body, DatasetSpec.model_validate(body["spec"]))
        runs = Run("Runs", "takes a snapshot of the source", identity)

        def cached(record: dict[str, Any]) -> Run:
            message = f"snapshot of {record['snapshot']['rows']} rows is there"
            return Run("Cached", message, identity, record["fingerprint"])

        return self._cached(key, runs, identity, cached)

    def _experiment_run(self, key: Key, spec: ExperimentSpec, last_slot: str | None) -> Run:
        fingerprint = self._fingerprint(key.namespace, spec.dataset_ref.name)
        project = self._project(key.namespace) or ProjectSpec()
        trials = f"{spec.search.trials} trials, {workers(spec.execution, project.quota)} at once"
        if not fingerprint:
            message = f"{trials}; the model's name is known once the data is snapshotted"
            return Run("Runs", message)
        token = run_token(spec, last_slot)
        identity = run_identity("Experiment", spec.shaping_fields(), fingerprint, token)
        version = model_version_name(key.name, identity)
        runs = Run("Runs", trials, identity, fingerprint, version)
        there = Run("Cached", f"the model is there: {version}", identity, fingerprint, version)
        return self._cached(key, runs, identity, lambda _: there)

    def _batch_run(self, body: Object, spec: DeploymentSpec, live: Object | None) -> Run:
        """Return the run of a batch; known only where the model is the one that scored last."""
        key, runs = key_of(body), Run("Runs", "scores the rows once the model is known")
        model = ((live or {}).get("status") or {}).get("modelDigest")
        if spec.batch is None or model is None:
            return runs
        rows = (body["metadata"].get("annotations") or {}).get(meta.SOURCE_DIGEST, "")
        if spec.batch.input.dataset_ref is not None:
            rows = self._fingerprint(key.namespace, spec.batch.input.dataset_ref.name)
            if not rows:
                return Run("Runs", "scores the rows once the data is snapshotted")
        identity = batch_identity(spec.batch, model, rows, run_token(spec, _last_slot(live)))
        runs = Run("Runs", "scores the rows, if the model is still the same", identity)

        def cached(record: dict[str, Any]) -> Run:
            return Run("Cached", f"the rows lie in {record['result']['outputUri']}", identity)

        return self._cached(key, runs, identity, cached)

    def _cached(
        self, key: Key, runs: Run, identity: str, told: Callable[[dict[str, Any]], Run]
    ) -> Run:
        """Return what is told of the record of a run, or that it failed; `runs` where neither."""
        try:
            record = self._read(key, identity, RECORD)
            failed = self._read(key, identity, FAILURE) if record is None else None
        except StoreUnavailable as error:
            return _unknown(runs, error)
        if failed is not None:
            failure = Failure.model_validate(failed)
            return runs if failure.retryable else _failed(runs, failure)
        return runs if record is None else told(record)

    def _fingerprint(self, namespace: str, name: str) -> str:
        for dataset in self._tree.of_kind("Dataset"):
            if dataset.key.namespace == namespace and dataset.key.name == name:
                live = self._live(dataset)
                run = self._run(apply.desired(dataset, self._origin, live), live)
                if run is None or run.state in ("Runs", "Failed"):
                    return ""
                return run.fingerprint or _status_fingerprint(live, run.identity)
        return ""

    def _read(self, key: Key, identity: str, name: str) -> dict[str, Any] | None:
        """Return a file of a run; raises StoreUnavailable where the store cannot be read."""
        reader = StoreReader(self._store, self._client)
        place = f"{run_key(*_place(key), identity)}/{name}"
        data = reader.read(key.namespace, self._project(key.namespace), place)
        found: dict[str, Any] | None = json.loads(data) if data else None
        return found

    def _project(self, namespace: str) -> ProjectSpec | None:
        for project in self._tree.of_kind("Project"):
            if project.key.namespace == namespace:
                return ProjectSpec.model_validate(project.body["spec"])
        return None

    def _policies(self, manifest: Manifest) -> Iterator[str]:
        """Yield the Policies of the tree that judge an object at its gate."""
        gate = GATE_OF.get(manifest.key.kind) if manifest.ours else None
        if gate is None:
            return
        labels = manifest.get("metadata", "labels") or {}
        stage = manifest.get("spec", "stage") if manifest.key.kind == "ModelVersion" else None
        project = self._project(manifest.key.namespace)
        environment = project.environment if project else "development"
        for policy in self._tree.of_kind("Policy"):
            spec = PolicySpec.model_validate(policy.body["spec"])
            near = policy.key.namespace == manifest.key.namespace
            if near and matches(spec, gate, environment, labels, stage):
                yield policy.key.name


def _unless_held(run: Run, spec: ExperimentSpec | DeploymentSpec, last_slot: str | None) -> Run:
    """Return a run as one that waits, where the spec does not let it start."""
    if spec.suspend:
        until = "once spec.suspend is false"
    elif spec.run.cancel:
        until = "once spec.run.cancel is false"
    elif spec.schedule is not None and last_slot is None:
        until = "from the first slot of spec.schedule on"
    else:
        return run
    if run.state != "Runs":
        return run
    return Run("Waits", f"{run.message}, {until}", fingerprint=run.fingerprint)


def _rollout(body: Object) -> str:
    """Return what a Deployment's canary will get of the requests; nothing without one."""
    spec = body.get("spec") or {}
    canary = spec.get("canary") if body["kind"] == "Deployment" else None
    if canary is None:
        return ""
    version = canary.get("modelVersion") or f"{canary['experiment']} at {canary['stage']}"
    if "gateway" not in spec:
        return f"canary: {version} at its own URL; no traffic is split without spec.gateway"
    share = f"{canary['percent']} % of the requests at {spec['gateway']['hostname']}"
    return f"canary: {version} gets {share} once it answers"


def _last_slot(live: Object | None) -> str | None:
    """Return the slot of its schedule that an object last ran for."""
    schedule = ((live or {}).get("status") or {}).get("schedule") or {}
    slot: str | None = schedule.get("lastSlot")
    return slot


def _place(key: Key) -> tuple[str, str, str]:
    return key.namespace, key.kind, key.name


def _failed(run: Run, failure: Failure) -> Run:
    """Say that a run failed before; nothing comes of it."""
    message = (
        f"failed before with {failure.reason} and runs again once the data, the spec or "
        f"spec.run.token changes: {failure.message}"
    )
    return replace(run, state="Failed", message=message, model_version="")


def _unknown(run: Run, error: StoreUnavailable) -> Run:
    """Say that a run may be cached where nobody can look."""
    message = f"{run.message}, unless the store has its record; it cannot be read: {error}"
    return replace(run, state="Unknown", message=message)


def _status_fingerprint(live: Object | None, identity: str) -> str:
    """Return the fingerprint that the operator found for a run, when it is the present one."""
    status = (live or {}).get("status") or {}
    present = (status.get("run") or {}).get("identity") == identity
    return str(status.get("fingerprint") or "") if present else ""


_SIGNS = {"Create": "+", "Change": "~", "Delete": "-", "Refused": "!", "Unchanged": " "}


def lines(planned: list[PlannedObject]) -> Iterator[str]:
    """Yield the plan for a person."""
    for entry in planned:
        yield f"{_SIGNS[entry.action]} {entry.action:9} {entry.key}"
        if entry.message:
            yield f"      {entry.message}"
        for change in entry.changes:
            yield f"      {change.path}: {_shown(change.before)} -> {_shown(change.after)}"
        if entry.run is not None:
            yield f"      run: {entry.run.state}: {entry.run.message}"
            if entry.run.model_version and entry.run.state != "Cached":
                yield f"      makes: ModelVersion/{entry.run.model_version}"
        if entry.policies:
            yield f"      judged by: {', '.join(entry.policies)}"
    counts = {action: sum(e.action == action for e in planned) for action in _SIGNS}
    yield ", ".join(f"{number} {action.lower()}" for action, number in counts.items() if number)


def _shown(value: Any) -> str:
    return "(unset)" if value is None else str(value)
