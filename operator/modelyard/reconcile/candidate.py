"""The ModelVersion that a Deployment asks for: whether it can serve, and what with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from modelyard.api.artifacts import Artifact, payload_key
from modelyard.api.deployment import DeploymentSpec, ModelChoice, Traffic
from modelyard.api.modelversion import ModelVersionStatus
from modelyard.api.resources import OURS
from modelyard.api.runtime import PRIVACY_KEY_VARIABLE, FallbackModel, ServeConfig
from modelyard.build.common import Manifest, secret_variable, store_variables
from modelyard.judge.conditions import Readiness, is_ready, progressing, ready_condition
from modelyard.judge.gate import GateReason
from modelyard.judge.model_choice import choose
from modelyard.reconcile.context import Ports, ProjectContext
from modelyard.reconcile.gates import GateOutcome, ask_gate

GATE_REASONS = get_args(GateReason)


@dataclass(frozen=True)
class Candidate:
    """A ModelVersion that could serve, with what it stems from."""

    manifest: Manifest
    status: ModelVersionStatus
    artifact: Artifact
    experiment: Manifest | None
    dataset: Manifest | None

    @property
    def name(self) -> str:
        """Name of the ModelVersion."""
        name: str = self.manifest["metadata"]["name"]
        return name


async def gather_candidate(
    model: ModelChoice, project: ProjectContext, ports: Ports
) -> Candidate | Readiness:
    """Return the ModelVersion that is asked for, or why none can serve."""
    namespace, shared = project.manifest["metadata"]["namespace"], ports.shared
    experiment = None
    if model.experiment is not None:
        experiment = await shared.get(OURS["Experiment"], namespace, model.experiment)
    versions = await shared.list_objects(OURS["ModelVersion"], namespace)
    choice = choose(model, project.spec.environment, experiment, versions)
    if choice.why_not is not None:
        return choice.why_not
    found = next((entry for entry in versions if entry["metadata"]["name"] == choice.name), None)
    if found is None:
        message = f"There is no ModelVersion {choice.name}; commit it, or wait for its Experiment."
        return progressing("ModelVersionMissing", message)
    status = ModelVersionStatus.of(found)
    if status.artifact is None or not (is_ready(found) or _only_stage_denied(found)):
        condition = ready_condition(found)
        why = (
            f"{condition['reason']}: {condition['message']}"
            if condition
            else "it was not judged yet"
        )
        message = f"ModelVersion {choice.name} is not ready: {why}"
        return progressing("ModelVersionNotReady", message)
    return Candidate(
        found,
        status,
        status.artifact,
        await _origin("Experiment", status, namespace, ports),
        await _origin("Dataset", status, namespace, ports),
    )


def _only_stage_denied(version: Manifest) -> bool:
    """A version whose promotion was denied is still a good model, at its earlier stage."""
    return ready_condition(version).get("reason") in GATE_REASONS


async def _origin(
    kind: str, status: ModelVersionStatus, namespace: str, ports: Ports
) -> Manifest | None:
    """Return the Experiment or the Dataset that a ModelVersion stems from, while it exists."""
    if status.lineage is None:
        return None
    name = status.lineage.experiment if kind == "Experiment" else status.lineage.dataset
    return await ports.shared.get(OURS[kind], namespace, name) if name else None


async def ask_deploy_gate(
    owner: Manifest, candidate: Candidate, project: ProjectContext, ports: Ports
) -> GateOutcome:
    """Return whether the deploy gate lets a Deployment serve a ModelVersion."""
    return await ask_gate(
        "deploy",
        owner,
        project,
        ports,
        model_version=candidate.manifest,
        experiment=candidate.experiment,
        dataset=candidate.dataset,
    )


def serve_config(
    owner: Manifest,
    spec: DeploymentSpec,
    candidate: Candidate,
    fallback: Candidate | None,
    project: ProjectContext,
) -> ServeConfig:
    """Return what the model servers of a ModelVersion are started with, and of its fallback."""
    metadata, lineage = owner["metadata"], candidate.status.lineage
    logged = spec.payload_logging.sample_percent > 0
    traffic = spec.traffic or Traffic()
    return ServeConfig(
        name=metadata["name"],
        namespace=metadata["namespace"],
        model_uri=candidate.artifact.uri,
        model_digest=candidate.artifact.digest,
        model_version=candidate.name,
        payload_uri=payload_uri(project, owner) if logged else None,
        sample_percent=spec.payload_logging.sample_percent,
        workers=spec.workers,
        max_in_flight=traffic.max_in_flight,
        rate_limit=traffic.rate_limit,
        breaker=traffic.breaker,
        fallback=None if fallback is None else _fallback_model(fallback),
        batching=spec.batching,
        explainer=spec.explainer,
        smoke_test=spec.smoke_test,
        store=project.store.config,
        source_revision=lineage.source_revision if lineage else "",
    )


def _fallback_model(fallback: Candidate) -> FallbackModel:
    artifact = fallback.artifact
    return FallbackModel(
        model_uri=artifact.uri, model_digest=artifact.digest, model_version=fallback.name
    )


def serve_secrets(candidate: Candidate, project: ProjectContext) -> list[Manifest]:
    """Return the variables of model servers whose values are keys of Secrets."""
    variables = store_variables(project.store_secret)
    key = privacy_key(candidate)
    if key is not None:
        variables.append(secret_variable(PRIVACY_KEY_VARIABLE, key["name"], key["key"]))
    return variables


def privacy_key(candidate: Candidate) -> Manifest | None:
    """Return which key of which Secret hashes columns of the Dataset; None without one."""
    key: Manifest | None
    key = ((candidate.dataset or {}).get("spec", {}).get("privacy") or {}).get("keyRef")
    return key or None


def payload_uri(project: ProjectContext, owner: Manifest) -> str:
    """Return where a Deployment's payloads are logged."""
    metadata = owner["metadata"]
    root = project.store.config.uri.rstrip("/")
    return f"{root}/{payload_key(metadata['namespace'], metadata['name'])}"
