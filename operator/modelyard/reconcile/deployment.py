"""Deployment: choose the model, ask the deploy gate, keep its InferenceService as declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from modelyard.api.artifacts import payload_key
from modelyard.api.deployment import DeploymentSpec, DeploymentStatus
from modelyard.api.meta import GROUP, Verdict
from modelyard.api.modelversion import ModelVersionStatus
from modelyard.api.resources import INFERENCE_SERVICE, OURS
from modelyard.api.runtime import PRIVACY_KEY_VARIABLE, ServeConfig
from modelyard.build.common import Manifest, config_variable, secret_variable, store_variables
from modelyard.build.inferenceservice import inference_service
from modelyard.judge.conditions import (
    Readiness,
    is_ready,
    progressing,
    ready,
    ready_condition,
    stalled,
)
from modelyard.judge.gate import GateReason
from modelyard.judge.serving import Serving, choose, judge_serving
from modelyard.reconcile.context import Halt, Observation, Ports, ProjectContext, gather_project
from modelyard.reconcile.gates import ask_gate

MODEL_VERSION_ANNOTATION = f"{GROUP}/model-version"
MODEL_DIGEST_ANNOTATION = f"{GROUP}/model-digest"
POLL_SECONDS = 5.0
GATE_REASONS = get_args(GateReason)


@dataclass(frozen=True)
class Candidate:
    """The ModelVersion that should serve."""

    manifest: Manifest
    status: ModelVersionStatus

    @property
    def name(self) -> str:
        """Name of the ModelVersion."""
        name: str = self.manifest["metadata"]["name"]
        return name


async def observe(manifest: Manifest, ports: Ports) -> Observation:
    """Bring a Deployment one step nearer to serving its model and return what is true now."""
    namespace = manifest["metadata"]["namespace"]
    spec = DeploymentSpec.model_validate(manifest["spec"])
    project = await gather_project(namespace, ports)
    name = manifest["metadata"]["name"]
    service = await ports.cluster.get(INFERENCE_SERVICE, namespace, name)
    if spec.suspend:
        message = "Suspended: what serves goes on serving; set spec.suspend to false to go on."
        return _observation(service, project, manifest, [], progressing("Suspended", message))
    candidate, why_not = await _candidate(manifest, spec, project, ports)
    if candidate is None:
        return _observation(service, project, manifest, [], why_not)
    gate = await ask_gate(
        "deploy",
        manifest,
        project,
        ports,
        model_version=candidate.manifest,
        experiment=await _experiment(candidate, namespace, ports),
        dataset=await _dataset(candidate, namespace, ports),
    )
    if gate.closed is not None:
        result = _observation(service, project, manifest, gate.verdicts, gate.closed)
        return Observation(result.status, result.readiness, requeue_after=gate.requeue_after)
    env = await _environment(candidate, spec, project, manifest, ports)
    desired = inference_service(manifest, env)
    desired["metadata"]["annotations"] |= {
        MODEL_VERSION_ANNOTATION: candidate.name,
        MODEL_DIGEST_ANNOTATION: candidate.status.artifact.digest
        if candidate.status.artifact
        else "",
    }
    service = await ports.cluster.apply(INFERENCE_SERVICE, desired)
    return _observation(service, project, manifest, gate.verdicts, None)


async def _candidate(
    manifest: Manifest, spec: DeploymentSpec, project: ProjectContext, ports: Ports
) -> tuple[Candidate | None, Readiness | None]:
    namespace = manifest["metadata"]["namespace"]
    cluster, model = ports.cluster, spec.model
    experiment = None
    if model.experiment is not None:
        experiment = await cluster.get(OURS["Experiment"], namespace, model.experiment)
    versions = await cluster.list_objects(OURS["ModelVersion"], namespace)
    choice = choose(model, project.spec.environment, experiment, versions)
    if choice.name is None:
        return None, choice.why_not
    found = next((entry for entry in versions if entry["metadata"]["name"] == choice.name), None)
    if found is None:
        message = f"There is no ModelVersion {choice.name}; commit it, or wait for its Experiment."
        return None, progressing("ModelVersionMissing", message)
    status = ModelVersionStatus.model_validate(found.get("status") or {})
    if status.artifact is None or not (is_ready(found) or _only_stage_denied(found)):
        condition = ready_condition(found)
        why = (
            f"{condition['reason']}: {condition['message']}"
            if condition
            else "it was not judged yet"
        )
        return None, progressing(
            "ModelVersionNotReady", f"ModelVersion {choice.name} is not ready: {why}"
        )
    return Candidate(found, status), None


def _only_stage_denied(version: Manifest) -> bool:
    """A version whose promotion was denied is still a good model, at its earlier stage."""
    return ready_condition(version).get("reason") in GATE_REASONS


async def _experiment(candidate: Candidate, namespace: str, ports: Ports) -> Manifest | None:
    lineage = candidate.status.lineage
    if lineage is None or lineage.experiment is None:
        return None
    return await ports.cluster.get(OURS["Experiment"], namespace, lineage.experiment)


async def _dataset(candidate: Candidate, namespace: str, ports: Ports) -> Manifest | None:
    lineage = candidate.status.lineage
    if lineage is None or lineage.dataset is None:
        return None
    return await ports.cluster.get(OURS["Dataset"], namespace, lineage.dataset)


async def _environment(
    candidate: Candidate,
    spec: DeploymentSpec,
    project: ProjectContext,
    manifest: Manifest,
    ports: Ports,
) -> list[Manifest]:
    metadata, artifact = manifest["metadata"], candidate.status.artifact
    if artifact is None:
        raise Halt(stalled("ArtifactMissing", f"ModelVersion {candidate.name} has no artifact."))
    lineage = candidate.status.lineage
    logged = spec.payload_logging.sample_percent > 0
    config = ServeConfig(
        name=metadata["name"],
        namespace=metadata["namespace"],
        model_uri=artifact.uri,
        model_digest=artifact.digest,
        model_version=candidate.name,
        payload_uri=payload_uri(project, manifest) if logged else None,
        sample_percent=spec.payload_logging.sample_percent,
        workers=spec.workers,
        store=project.store.config,
        source_revision=lineage.source_revision if lineage else "",
    )
    env = [config_variable(config), *store_variables(project.store_secret)]
    dataset = await _dataset(candidate, metadata["namespace"], ports)
    key = ((dataset or {}).get("spec", {}).get("privacy") or {}).get("keyRef")
    if key:
        env.append(secret_variable(PRIVACY_KEY_VARIABLE, key["name"], key["key"]))
    return env


def payload_uri(project: ProjectContext, manifest: Manifest) -> str:
    """Return where a Deployment's payloads are logged."""
    metadata = manifest["metadata"]
    root = project.store.config.uri.rstrip("/")
    return f"{root}/{payload_key(metadata['namespace'], metadata['name'])}"


def _observation(
    service: Manifest | None,
    project: ProjectContext,
    manifest: Manifest,
    verdicts: list[Verdict],
    why_not: Readiness | None,
) -> Observation:
    """Return the status: what serves is told by the InferenceService, whatever is wanted next."""
    before = DeploymentStatus.model_validate(manifest.get("status") or {})
    serving: Serving = judge_serving(service)
    annotations = (service or {}).get("metadata", {}).get("annotations") or {}
    serves_now = serving.up_to_date
    status = DeploymentStatus(
        url=serving.url,
        model_version=annotations.get(MODEL_VERSION_ANNOTATION)
        if serves_now
        else before.model_version,
        model_digest=annotations.get(MODEL_DIGEST_ANNOTATION)
        if serves_now
        else before.model_digest,
        payload_uri=payload_uri(project, manifest),
        verdicts=verdicts,
    )
    blocked = why_not or serving.why_not
    if blocked is None:
        blocked = ready("Serving", f"{status.model_version} serves all requests.")
    waits = POLL_SECONDS if why_not is None and serving.why_not is not None else None
    return Observation(status, blocked, requeue_after=waits)
