"""Monitor: keep its CronWorkflow as declared, read its last look, tell who asked to be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from modelyard.api.artifacts import LATEST, monitor_key
from modelyard.api.deployment import DeploymentStatus
from modelyard.api.meta import seconds
from modelyard.api.modelversion import ModelVersionStatus
from modelyard.api.monitor import AlertStatus, MonitorSpec, MonitorStatus
from modelyard.api.records import MonitorRecord, TrainRecord
from modelyard.api.resources import CRON_WORKFLOW, OURS
from modelyard.api.runs import MonitorConfig
from modelyard.build.common import Images, Manifest, config_variable, store_variables
from modelyard.build.pods import pod_needs
from modelyard.build.workflow import cron_workflow
from modelyard.judge.conditions import kept_facts, progressing, ready, stalled
from modelyard.judge.drift import Firing, alerts, drift_facts, drift_status
from modelyard.reconcile.context import (
    Halt,
    Observation,
    Ports,
    ProjectContext,
    check_grants,
    gather_project,
)
from modelyard.reconcile.events import post_event
from modelyard.reconcile.modelversion import record_of
from modelyard.reconcile.runs import read_record

RETRY_SECONDS = 15.0
"""How soon a webhook that did not answer is told again."""
SUSPENDED = "Nothing is looked at; set spec.suspend to false to go on."


@dataclass(frozen=True)
class Watched:
    """The model that serves behind the watched Deployment."""

    deployment: DeploymentStatus
    version: ModelVersionStatus
    record: TrainRecord


@dataclass(frozen=True)
class Told:
    """An alert's state with the webhooks that could not be told of it, and why not."""

    state: AlertStatus
    faults: list[str]


async def observe(manifest: Manifest, ports: Ports) -> Observation:
    """Keep a Monitor watching and return what it last found."""
    metadata = manifest["metadata"]
    spec = MonitorSpec.model_validate(manifest["spec"])
    before = MonitorStatus.of(manifest)
    project = await gather_project(metadata["namespace"], ports)
    if spec.suspend:
        await ports.cluster.delete(CRON_WORKFLOW, metadata["namespace"], metadata["name"])
        return Observation(before, progressing("Suspended", SUSPENDED), kept_facts(manifest))
    check_grants(spec, project)
    watched = await _watched(metadata["namespace"], spec.deployment_ref.name, project, ports)
    await ports.cluster.apply(
        CRON_WORKFLOW, desired(manifest, spec, watched, project, ports.images)
    )
    record = await _latest(manifest, watched, project)
    drift = drift_status(before, record, watched.record.artifact.digest)
    facts = drift_facts(drift, record, spec.drift)
    now = ports.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    states, firings = alerts(spec.alerts, before.alerts, facts, now)
    await _post(manifest, firings, ports)
    told = [await _tell(manifest, firing, ports) for firing in firings]
    now_told = {one.state.name: one.state for one in told}
    status = MonitorStatus(
        drift=drift,
        alerts=[now_told.get(state.name, state) for state in states],
        report_uri=_report(before, record),
    )
    faults = [fault for one in told for fault in one.faults]
    if faults:
        message = f"spec.alerts: {'; '.join(faults[:5])}. They are told again by themselves."
        readiness = progressing("AlertNotDelivered", message)
        return Observation(status, readiness, facts, RETRY_SECONDS)
    message = f"{watched.deployment.model_version} is looked at every {spec.interval}."
    return Observation(status, ready("Watching", message), facts, seconds(spec.interval) / 3)


async def _watched(namespace: str, name: str, project: ProjectContext, ports: Ports) -> Watched:
    deployment = await ports.shared.get(OURS["Deployment"], namespace, name)
    if deployment is None:
        message = f"spec.deploymentRef: there is no Deployment {name}; commit one."
        raise Halt(progressing("DeploymentMissing", message))
    if deployment["spec"].get("mode") == "Batch":
        message = f"Deployment {name} has mode Batch, without requests; name one of mode Online."
        raise Halt(stalled("NothingServes", message))
    status = DeploymentStatus.of(deployment)
    if status.model_version is None:
        raise Halt(progressing("NothingServes", f"Deployment {name} serves no model yet."))
    found = await ports.shared.get(OURS["ModelVersion"], namespace, status.model_version)
    version = ModelVersionStatus.of(found)
    if version.artifact is None:
        message = f"ModelVersion {status.model_version} has no artifact yet."
        raise Halt(progressing("ModelVersionNotReady", message))
    if version.lineage is None:
        message = (
            f"ModelVersion {status.model_version} was imported: there is no training snapshot to "
            "compare with."
        )
        raise Halt(stalled("NoReference", message))
    record = await record_of(namespace, status.model_version, project)
    return Watched(status, version, record)


def desired(
    manifest: Manifest,
    spec: MonitorSpec,
    watched: Watched,
    project: ProjectContext,
    images: Images,
) -> Manifest:
    """Return the CronWorkflow that looks every interval."""
    metadata = manifest["metadata"]
    config = MonitorConfig(
        namespace=metadata["namespace"],
        name=metadata["name"],
        deployment=spec.deployment_ref.name,
        spec=spec,
        model_uri=watched.record.artifact.uri,
        model_digest=watched.record.artifact.digest,
        snapshot_uri=watched.record.snapshot_uri,
        snapshot_digest=watched.record.snapshot_digest,
        payload_uri=watched.deployment.payload_uri or "",
        store=project.store.config,
        report_token=spec.report.token,
    )
    env = [config_variable(config), *store_variables(project.store_secret)]
    needs = pod_needs(spec.resources, project.spec.scheduling)
    return cron_workflow(manifest, metadata["name"], spec.interval, env, images, needs)


async def _latest(
    manifest: Manifest, watched: Watched, project: ProjectContext
) -> MonitorRecord | None:
    """Return the last look, if it was at the model that serves now."""
    metadata = manifest["metadata"]
    key = f"{monitor_key(metadata['namespace'], metadata['name'])}/{LATEST}"
    record = await read_record(project.store, key, MonitorRecord)
    if record is None or record.model_digest != watched.record.artifact.digest:
        return None
    return record


def _report(before: MonitorStatus, record: MonitorRecord | None) -> str | None:
    return (record.evidently_uri if record else None) or before.report_uri


async def _tell(manifest: Manifest, firing: Firing, ports: Ports) -> Told:
    """Tell the webhooks of an alert that do not know its state yet, whichever of them fail."""
    metadata, state = manifest["metadata"], firing.state
    body = {
        "alert": firing.alert.name,
        "state": state.state,
        "severity": firing.alert.severity,
        "monitor": f"{metadata['namespace']}/{metadata['name']}",
        "message": firing.message,
        "since": state.since,
    }
    untold, faults = [], []
    for position, route in enumerate(firing.alert.routes):
        if route.url is None:
            continue
        name = sha256(route.url.encode()).hexdigest()[:12]
        if not firing.changed and name not in (state.untold or ()):
            continue
        try:
            await ports.notifier.post(route.url, body)
        except OSError as error:
            untold.append(name)
            faults.append(f"{firing.alert.name} could not be told to routes[{position}]: {error}")
    return Told(state.model_copy(update={"untold": untold or None}), faults)


async def _post(manifest: Manifest, firings: Sequence[Firing], ports: Ports) -> None:
    """Post one Event for all alerts that fire, and one for all that are over."""
    told: dict[bool, list[str]] = {}
    for firing in (firing for firing in firings if firing.changed):
        message = f"{firing.alert.name} ({firing.alert.severity}): {firing.message}"
        told.setdefault(firing.state.state == "Firing", []).append(message)
    for fires, messages in told.items():
        kind, reason = ("Warning", "AlertFiring") if fires else ("Normal", "AlertResolved")
        await post_event(manifest, kind, reason, "; ".join(messages), ports)
