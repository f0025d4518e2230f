"""Finished runs of a search at the Project's tracking server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.api.experiment import ENSEMBLE, ExperimentStatus, TrackingStatus
from modelyard.api.identity import model_version_name
from modelyard.api.project import MLflow
from modelyard.api.records import TrainRecord
from modelyard.judge.conditions import Fact
from modelyard.ports.cluster import Manifest
from modelyard.ports.tracking import (
    PASSWORD,
    TOKEN,
    USERNAME,
    TrackedMetric,
    TrackedRun,
    TrackingUnavailable,
)
from modelyard.reconcile.context import Ports, ProjectContext

RETRY_SECONDS = 60.0
LOGINS = ((TOKEN,), (USERNAME, PASSWORD))


@dataclass(frozen=True)
class Tracked:
    """Where a run is tracked, the condition that says so, and when to try again."""

    status: TrackingStatus | None = None
    facts: tuple[Fact, ...] = ()
    requeue_after: float | None = None


async def track(
    manifest: Manifest,
    project: ProjectContext,
    record: TrainRecord,
    before: ExperimentStatus,
    ports: Ports,
) -> Tracked:
    """Tell the Project's tracking server of a finished run, once.

    A server that does not answer holds up nothing: it is told later.
    """
    if project.spec.tracking is None:
        return Tracked()
    server = project.spec.tracking.mlflow
    known = before.tracking
    if known is not None and (known.identity, known.uri) == (record.identity, server.uri):
        return Tracked(known, (_tracked(known),))
    namespace = manifest["metadata"]["namespace"]
    try:
        credentials = await _credentials(namespace, server, ports)
        run_id = await ports.tracker.track(server.uri, credentials, tracked_run(record))
    except TrackingUnavailable as error:
        message = f"spec.tracking.mlflow of the Project: {error}; it is tried again every minute."
        fact = Fact("Tracked", False, "TrackingUnavailable", message)
        return Tracked(None, (fact,), RETRY_SECONDS)
    status = TrackingStatus(identity=record.identity, run_id=run_id, uri=server.uri)
    return Tracked(status, (_tracked(status),))


def _tracked(status: TrackingStatus) -> Fact:
    message = f"The run is {status.run_id} at {status.uri}."
    return Fact("Tracked", True, "RunTracked", message)


async def _credentials(namespace: str, server: MLflow, ports: Ports) -> Mapping[str, str]:
    if server.secret_ref is None:
        return {}
    name = server.secret_ref.name
    data = await ports.cluster.secret(namespace, name)
    if data is None:
        raise TrackingUnavailable(f"Secret {name} is missing in namespace {namespace}; create it")
    if not any(all(data.get(key) for key in keys) for keys in LOGINS):
        wanted = f"neither {TOKEN} nor {USERNAME} and {PASSWORD}"
        raise TrackingUnavailable(f"Secret {name} has {wanted}; add it")
    return data


def tracked_run(record: TrainRecord) -> TrackedRun:
    """Return a run as a tracking server shows it, from its record alone."""
    spec = record.config.spec.to_json() if record.config else {}
    made = record.provenance
    tags = {
        "modelyard.namespace": record.namespace,
        "modelyard.experiment": record.name,
        "modelyard.modelVersion": model_version_name(record.name, record.identity),
        "modelyard.modelDigest": record.artifact.digest,
        "modelyard.modelUri": record.artifact.uri,
        "modelyard.evidenceUri": record.evidence.uri,
        "modelyard.dataFingerprint": record.lineage.data_fingerprint,
        "modelyard.codeVersion": made.code_version,
        "modelyard.replayable": json.dumps(record.replayable),
        "mlflow.source.git.commit": record.lineage.source_revision or "",
        "mlflow.note.content": str(spec.get("description", "")),
    }
    return TrackedRun(
        experiment=f"{record.namespace}/{record.name}",
        name=model_version_name(record.name, record.identity),
        identity=record.identity,
        started_at=made.started_at,
        finished_at=made.finished_at,
        parameters=dict(_leaves(spec)),
        metrics=[
            *(TrackedMetric(name, value) for name, value in sorted(record.metrics.items())),
            *(
                TrackedMetric(f"trials.{record.metric}", entry.metric, step=int(entry.trial))
                for entry in record.leaderboard
                if entry.trial != ENSEMBLE
            ),
        ],
        tags={key: value for key, value in tags.items() if value},
    )


def _leaves(fields: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of a spec by path; a list is one value."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        elif name != "description":
            yield f"{path}{name}", value if isinstance(value, str) else json.dumps(value)
