"""The one idempotent reconcile(key): read the object, observe it, write a changed status."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError

from modelyard.api.artifacts import run_key
from modelyard.api.kinds import BY_NAME
from modelyard.api.meta import FINALIZER, RECONCILE_AT, SOURCE_REVISION, Status
from modelyard.api.resources import OURS, Key
from modelyard.judge.conditions import (
    Readiness,
    conditions,
    kept_facts,
    progressing,
    ready_condition,
    stalled,
)
from modelyard.ports.artifacts import StoreUnavailable
from modelyard.ports.cluster import BackendMissing, Manifest, Refused
from modelyard.reconcile import (
    dataset,
    deployment,
    experiment,
    modelversion,
    monitor,
    policy,
    project,
)
from modelyard.reconcile.context import Halt, Observation, Ports, gather_project, spec_fault
from modelyard.reconcile.events import post_event
from modelyard.reconcile.pace import only_progress

LOGGER = logging.getLogger("modelyard.reconcile")
LOG_LEVELS = {"Normal": logging.INFO, "Warning": logging.WARNING}
RETRY_SECONDS = 15.0
"""How soon something outside is asked again: a store that was unreachable, a missing backend,
what the API server refused."""

OBSERVERS: dict[str, Callable[[Manifest, Ports], Awaitable[Observation]]] = {
    "Project": project.observe,
    "Dataset": dataset.observe,
    "Experiment": experiment.observe,
    "ModelVersion": modelversion.observe,
    "Deployment": deployment.observe,
    "Monitor": monitor.observe,
    "Policy": policy.observe,
}


async def reconcile(key: Key, ports: Ports) -> float | None:
    """Bring one object one step nearer to its spec; return seconds until it wants to be woken.

    Raises:
        ClusterError: the Kubernetes API did not answer; nothing was decided, run it again.
    """
    resource = OURS[key.kind]
    manifest = await ports.cluster.get(resource, key.namespace, key.name)
    if manifest is None:
        return None
    manifest.setdefault("kind", key.kind)
    if manifest["metadata"].get("deletionTimestamp"):
        return await finalize(manifest, ports)
    await guard_deletion(manifest, ports)
    observation = await observe(manifest, ports)
    held = await write_status(manifest, observation, ports)
    times = [one for one in (held, observation.requeue_after) if one is not None]
    return min(times, default=None)


async def observe(manifest: Manifest, ports: Ports) -> Observation:
    """Return what is true of an object; what halts or fails on the way becomes its readiness."""
    try:
        return await OBSERVERS[manifest["kind"]](manifest, ports)
    except Halt as halt:
        return _kept(manifest, halt.readiness, halt.requeue_after)
    except ValidationError as error:
        message = spec_fault(manifest["kind"], error)
        return _kept(manifest, stalled("InvalidSpec", message), None)
    except BackendMissing as error:
        return _kept(manifest, stalled("BackendMissing", f"{error}."), RETRY_SECONDS)
    except Refused as error:
        message = f"The API server refuses what this needs: {error}"
        return _kept(manifest, stalled("RequestRefused", message), RETRY_SECONDS)
    except StoreUnavailable as error:
        message = f"The artifact store does not answer: {error}."
        return _kept(manifest, progressing("StoreUnavailable", message), RETRY_SECONDS)


async def write_status(manifest: Manifest, observation: Observation, ports: Ports) -> float | None:
    """Write the status if it differs from the one that stands; post an Event when Ready changed.

    Returns:
        In how many seconds progress may be written that was held back; None where nothing was.
    """
    before: dict[str, Any] = manifest.get("status") or {}
    metadata = manifest["metadata"]
    now = ports.clock.now()
    found = conditions(
        before.get("conditions") or [],
        metadata["generation"],
        now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        observation.readiness,
        observation.facts,
    )
    annotations = metadata.get("annotations") or {}
    asked = annotations.get(RECONCILE_AT)
    status = observation.status.model_copy(
        update={
            "conditions": found,
            "observed_generation": metadata["generation"],
            "source_revision": annotations.get(SOURCE_REVISION),
            "last_handled_reconcile_at": None if asked is None else asked[:128],
        }
    ).to_json()
    if status == before:
        return None
    key = Key(manifest["kind"], metadata["namespace"], metadata["name"])
    if only_progress(before, status) and (left := ports.pace.left(key, now)):
        return left
    resource = OURS[manifest["kind"]]
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "status": status,
    }
    await ports.cluster.apply_status(resource, body)
    if status.get("progress") != before.get("progress"):
        ports.pace.note(key, now)
    was, is_now = ready_condition(manifest), next(c for c in found if c.type == "Ready")
    if (was.get("status"), was.get("reason")) != (is_now.status, is_now.reason):
        kind = observation.readiness.event_type
        LOGGER.log(LOG_LEVELS[kind], "%s: %s", is_now.reason, is_now.message)
        await post_event(manifest, kind, is_now.reason, is_now.message, ports)
    return None


async def guard_deletion(manifest: Manifest, ports: Ports) -> None:
    """Hold our finalizer exactly while deleting the object must delete run records too."""
    finalizers: list[str] = manifest["metadata"].get("finalizers") or []
    wanted = deletes_records(manifest)
    if wanted != (FINALIZER in finalizers):
        others = [name for name in finalizers if name != FINALIZER]
        to = [*others, FINALIZER] if wanted else others
        await ports.cluster.set_finalizers(OURS[manifest["kind"]], manifest, to)


def deletes_records(manifest: Manifest) -> bool:
    """Return whether deleting an object must delete its run records too."""
    return (manifest.get("spec") or {}).get("deletionPolicy") == "Delete"


async def finalize(manifest: Manifest, ports: Ports) -> float | None:
    """Remove the run records of an object that is being deleted, then let it go.

    Whoever cannot wait for a store that does not answer says deletionPolicy: Retain even now.
    """
    metadata = manifest["metadata"]
    finalizers: list[str] = metadata.get("finalizers") or []
    if FINALIZER not in finalizers:
        return None
    left = None
    if deletes_records(manifest):
        try:
            left = await remove_records(manifest, ports)
        except StoreUnavailable as error:
            await write_status(manifest, _kept(manifest, held(error), RETRY_SECONDS), ports)
            return RETRY_SECONDS
    others = [name for name in finalizers if name != FINALIZER]
    await ports.cluster.set_finalizers(OURS[manifest["kind"]], manifest, others)
    # Last: a namespace that is being deleted takes no Event, and must not wait for one.
    if left is not None:
        await post_event(manifest, "Warning", "RecordsLeft", left, ports)
    return None


async def remove_records(manifest: Manifest, ports: Ports) -> str | None:
    """Remove the run records of an object; return what may be left of them, and why.

    Raises:
        StoreUnavailable: the artifact store does not answer.
    """
    metadata = manifest["metadata"]
    key = run_key(metadata["namespace"], manifest["kind"], metadata["name"], "").rstrip("/")
    try:
        found = await gather_project(metadata["namespace"], ports)
        await found.store.remove(key)
    except Halt as halt:
        # A deleted namespace takes its Project along. Nobody can say any more whether it had a
        # store of its own; the object must not stay for ever.
        await ports.stores.open(ports.stores.default(), {}).remove(key)
        return f"Run records were deleted in the default artifact store only: {halt}"
    return None


def held(error: StoreUnavailable) -> Readiness:
    """Return why an object that is being deleted is still there."""
    message = (
        f"It is deleted once its run records are: the artifact store does not answer: {error}. "
        "Bring it back, or leave the records by setting spec.deletionPolicy to Retain."
    )
    return progressing("StoreUnavailable", message)


def _kept(manifest: Manifest, readiness: Readiness, requeue_after: float | None) -> Observation:
    """The earlier status stays, but for what Ready says; conditions of the kind's own stay too."""
    model: type[Status] = BY_NAME[manifest["kind"]].status
    return Observation(model.of(manifest), readiness, kept_facts(manifest), requeue_after)
