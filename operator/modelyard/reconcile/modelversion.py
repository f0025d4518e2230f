"""ModelVersion: find the run record behind a name, verify the digest, ask the promote gate."""

from __future__ import annotations

import json
import re

from modelyard.api.artifacts import MANIFEST, RECORD, Artifact, run_key
from modelyard.api.artifacts import Manifest as ArtifactManifest
from modelyard.api.identity import IDENTITY_IN_NAME, digest
from modelyard.api.modelversion import ModelVersionSpec, ModelVersionStatus, Stage
from modelyard.api.records import TrainRecord
from modelyard.api.resources import OURS
from modelyard.build.common import Manifest
from modelyard.judge.conditions import progressing, ready, stalled
from modelyard.reconcile.context import Halt, Observation, Ports, ProjectContext, gather_project
from modelyard.reconcile.gates import ask_gate
from modelyard.reconcile.runs import read_record

_IDENTITY = re.compile(f"[0-9a-f]{{{IDENTITY_IN_NAME}}}")

RETRY_SECONDS = 30.0
"""How soon the artifact store is asked again for what it did not hold."""


async def observe(manifest: Manifest, ports: Ports) -> Observation:
    """Fill the status of a ModelVersion from its run record, and judge its stage."""
    metadata = manifest["metadata"]
    spec = ModelVersionSpec.model_validate(manifest.get("spec") or {})
    project = await gather_project(metadata["namespace"], ports)
    if spec.import_ is not None:
        status = await _imported(spec, project)
    else:
        record = await record_of(metadata["namespace"], metadata["name"], project)
        await _verify(record.artifact, project)
        status = _from_record(record)
    return await _staged(manifest, spec, status, project, ports)


async def record_of(namespace: str, name: str, project: ProjectContext) -> TrainRecord:
    """Return the run record that a name points to: `<experiment>-<10 hex of run identity>`."""
    experiment, _, prefix = name.rpartition("-")
    if not experiment or not _IDENTITY.fullmatch(prefix):
        message = (
            f"{name!r} is not <experiment>-<{IDENTITY_IN_NAME} hex of a run identity>; "
            "`modelyard plan` shows the name, or set spec.import."
        )
        raise Halt(stalled("UnknownRun", message))
    for identity in await project.store.folders(run_key(namespace, "Experiment", experiment, "")):
        if identity.startswith(prefix):
            key = run_key(namespace, "Experiment", experiment, identity)
            record = await read_record(project.store, f"{key}/{RECORD}", TrainRecord)
            if record is not None:
                return record
    message = f"Experiment {experiment} has no finished run {prefix} yet; it waits for that run."
    raise Halt(progressing("WaitingForRun", message), requeue_after=RETRY_SECONDS)


async def _verify(artifact: Artifact, project: ProjectContext) -> ArtifactManifest:
    """Return the manifest of an artifact whose digest is the recorded one."""
    data = await project.store.read_uri(f"{artifact.uri}/{MANIFEST}")
    if data is None:
        message = f"The artifact store has no {artifact.uri}; restore it from a backup."
        raise Halt(stalled("ArtifactMissing", message), requeue_after=RETRY_SECONDS)
    if digest(data) != artifact.digest:
        message = (
            f"{artifact.uri} has the digest {digest(data)}, expected {artifact.digest}; the bytes "
            "are not those that were judged."
        )
        raise Halt(stalled("DigestMismatch", message))
    return ArtifactManifest.model_validate(json.loads(data))


async def _check_card(status: ModelVersionStatus, project: ProjectContext) -> None:
    """Refuse to promote a model whose card is not the one that its run wrote."""
    if status.card_digest is None or status.card_uri is None:
        return
    data = await project.store.read_uri(status.card_uri)
    if data is not None and digest(data) == status.card_digest:
        return
    found = "there is none" if data is None else f"it has the digest {digest(data)}"
    message = (
        f"The model card at {status.card_uri} must have the digest {status.card_digest}, but "
        f"{found}; restore it from a backup."
    )
    raise Halt(stalled("StaleCard", message), requeue_after=RETRY_SECONDS)


async def _imported(spec: ModelVersionSpec, project: ProjectContext) -> ModelVersionStatus:
    assert spec.import_ is not None  # noqa: S101 - the caller asked
    claimed = Artifact(uri=spec.import_.uri.rstrip("/"), digest=spec.import_.digest, size_bytes=0)
    listing = await _verify(claimed, project)
    return ModelVersionStatus(artifact=claimed.model_copy(update={"size_bytes": listing.size()}))


def _from_record(record: TrainRecord) -> ModelVersionStatus:
    return ModelVersionStatus(
        artifact=record.artifact,
        task_type=record.task_type,
        metrics=record.metrics,
        metric_interval=record.metric_interval,
        fairness=record.fairness[:20],
        defects=record.defects[:20],
        lineage=record.lineage,
        card_uri=record.card_uri,
        card_digest=record.card_digest,
        evidence_uri=record.evidence.uri,
    )


async def _staged(
    manifest: Manifest,
    spec: ModelVersionSpec,
    status: ModelVersionStatus,
    project: ProjectContext,
    ports: Ports,
) -> Observation:
    """Put the declared stage in force once its gate is open; until then the earlier one holds."""
    if spec.stage == "None":
        status = status.model_copy(update={"stage": "None"})
        return Observation(status, ready("Registered", "The model is registered, at no stage."))
    await _check_card(status, project)
    judged = {**manifest, "status": status.to_json()}
    experiment = await _experiment(manifest, status, ports)
    gate = await ask_gate(
        "promote", judged, project, ports,
        model_version=judged, experiment=experiment, target_stage=spec.stage,
    )  # fmt: skip
    stage = spec.stage if gate.closed is None else _earlier_stage(manifest, spec.stage)
    status = status.model_copy(update={"stage": stage, "verdicts": gate.verdicts})
    outcome = gate.closed or ready("Promoted", f"The model is at the stage {spec.stage}.")
    return Observation(status, outcome, requeue_after=gate.requeue_after)


def _earlier_stage(manifest: Manifest, denied: Stage) -> Stage:
    before = ModelVersionStatus.of(manifest).stage
    return before if before is not None and before != denied else "None"


async def _experiment(
    manifest: Manifest, status: ModelVersionStatus, ports: Ports
) -> Manifest | None:
    if status.lineage is None or status.lineage.experiment is None:
        return None
    namespace = manifest["metadata"]["namespace"]
    return await ports.shared.get(OURS["Experiment"], namespace, status.lineage.experiment)
