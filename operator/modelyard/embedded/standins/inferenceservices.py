"""The stand-in for the KServe controller (v0.20, Standard mode): InferenceServices.

A change of the predictor starts a server of the new revision at the same socket; when it can
answer, the old one is told to end. So no request fails during a switch, and a revision that does
not come up leaves the earlier one serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from pathlib import Path

from modelyard.api.request_counts import COUNTS_FOLDER_VARIABLE
from modelyard.embedded.client import Object, Resource
from modelyard.embedded.procfs import ProcessId, session_members
from modelyard.embedded.standins.attempts import Attempt, Owner
from modelyard.embedded.standins.autoscaler import (
    NO_LOAD,
    SYNC_SECONDS,
    Autoscaler,
    Load,
    Scaling,
)
from modelyard.embedded.standins.containers import NotYet, read_environment
from modelyard.embedded.standins.context import Context, owner_of
from modelyard.embedded.standins.inferenceservice_status import Observation, refused, status_of
from modelyard.embedded.standins.predictor import (
    PREDICTOR_PATH,
    Plan,
    Revision,
    digest_of,
    last_ready_of,
    parse_inference_service,
    plan,
    revision_of,
)
from modelyard.embedded.standins.processes import Launch
from modelyard.embedded.standins.requests import requests_answered
from modelyard.embedded.standins.shapes import Unsupported
from modelyard.embedded.standins.volumes import RENEW_SECONDS, ConfigVolume, at_folders, renew

INFERENCE_SERVICES = Resource(
    "serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService"
)

_READINESS_SECONDS = 0.05
_MISSING_RETRY_SECONDS = 2.0
_KEPT_RECORDS = 6


class InferenceServices:
    """Runs the model server of each InferenceService."""

    resource = INFERENCE_SERVICES

    def __init__(self, context: Context) -> None:
        self._context = context
        self._autoscaler = Autoscaler()

    async def reconcile(self, current: Object) -> float | None:
        """Bring the servers and the status of an InferenceService in line with its spec."""
        owner = owner_of(current)
        if "deletionTimestamp" in current["metadata"]:
            self._autoscaler.forget(owner.uid)
            self._context.forget(owner)
            return None
        try:
            target = parse_inference_service(
                current.get("spec") or {}, self._context.python, self._context.allowed_modules
            )
        except Unsupported as refusal:
            # What serves keeps serving: a mistake in the spec is no reason for an outage.
            status = refused(current, str(refusal), self._context.now())
            await self._context.write_status(INFERENCE_SERVICES, current, status, "status")
            return None
        attempts = self._context.processes.attempts(owner.uid)
        target = await self._scaled(owner, target, attempts)
        found = plan(target.digest, target.replicas, attempts)
        for attempt in found.stop:
            self._context.processes.stop(attempt, "replaced", target.grace)
        if target.replicas == 0:
            self._rest(owner, attempts)
        elif found.serving:
            self._context.activator.let_go(owner.uid)
        missing, delay = await self._start(current, target, found)
        await self._report(current, target, missing)
        self._prune(owner.uid)
        delays = [] if delay is None else [delay]
        if target.scaling is not None:
            delays.append(SYNC_SECONDS)
        if target.volumes:
            await self._renew(owner, target)
            delays.append(RENEW_SECONDS)
        return min(delays, default=None)

    async def _renew(self, owner: Owner, target: Revision) -> None:
        """Bring what servers find mounted in line with the API; what is gone there stays here."""
        with suppress(NotYet):
            await renew(
                self._context.client, owner.namespace, target.volumes, self._volumes_of(owner)
            )

    def _volumes_of(self, owner: Owner) -> Path:
        return self._context.processes.folder(owner) / "volumes"

    async def _scaled(
        self, owner: Owner, target: Revision, attempts: Sequence[Attempt]
    ) -> Revision:
        """Return the revision asked for with as many replicas as its load takes."""
        if target.scaling is None:
            self._autoscaler.forget(owner.uid)
            return target
        serving = [a for a in attempts if digest_of(a) == target.digest and a.running and a.ready]
        now = self._context.now()
        if not serving and self._context.activator.is_asked(owner.uid):
            self._autoscaler.wake(owner.uid, now)
        due = self._autoscaler.is_due(owner.uid, now)
        load = await self._load(owner, target.scaling, serving) if due else NO_LOAD
        return replace(
            target, replicas=self._autoscaler.replicas(owner.uid, target.scaling, load, now)
        )

    async def _load(self, owner: Owner, scaling: Scaling, serving: Sequence[Attempt]) -> Load:
        """Return what the servers of the revision asked for have done so far."""
        if scaling.measure == "cpu":
            return Load(len(serving), {one.number: _cpu_seconds(one) for one in serving})
        url = self._context.sockets.url(owner) if serving else None
        answered = await requests_answered(url) if url else None
        return Load(len(serving), {} if answered is None else {0: answered})

    def _rest(self, owner: Owner, attempts: Sequence[Attempt]) -> None:
        """Hold the requests that come while there is no server."""
        listener = self._context.sockets.acquire(owner, _holder(attempts))
        self._context.activator.hold(owner, listener)

    async def _start(
        self, current: Object, target: Revision, found: Plan
    ) -> tuple[str, float | None]:
        """Start the servers that are due; return what one waits for, and when to look again."""
        now = self._context.now()
        missing = ""
        delays = [_READINESS_SECONDS] if found.starting else []
        for digest, due in found.start.items():
            delays.append(max(due - now, _READINESS_SECONDS))
            if now < due:
                continue
            try:
                await self._start_server(current, self._revision(current, target, digest))
            except NotYet as reason:
                missing = str(reason)
                delays[-1] = _MISSING_RETRY_SECONDS
        return missing, min(delays, default=None)

    def _revision(self, current: Object, target: Revision, digest: str) -> Revision:
        """Return a revision by its digest: the one asked for, or one that ran before."""
        attempts = self._context.processes.attempts(current["metadata"]["uid"])
        if digest == target.digest:
            return replace(target, number=_number(digest, attempts))
        earlier = next(a.labels for a in reversed(attempts) if digest_of(a) == digest)
        revision = revision_of(
            earlier["container"],
            self._context.python,
            self._context.allowed_modules,
            volumes=tuple(ConfigVolume(*volume) for volume in earlier.get("volumes", ())),
        )
        return replace(
            revision,
            digest=digest,
            number=earlier["revision"],
            counted=earlier.get("counted", False),
        )

    async def _start_server(self, current: Object, revision: Revision) -> None:
        owner = owner_of(current)
        processes = self._context.processes
        environment = await read_environment(
            self._context.client,
            owner.namespace,
            revision.container.get("env", []),
            f"{PREDICTOR_PATH}.env",
        )
        volumes = self._volumes_of(owner)
        await renew(self._context.client, owner.namespace, revision.volumes, volumes)
        listen = self._context.sockets.acquire(owner, _holder(processes.attempts(owner.uid)))
        if revision.counted:
            folder = processes.folder(owner) / f"metrics-{revision.number}"
            folder.mkdir(parents=True, exist_ok=True)
            environment |= {COUNTS_FOLDER_VARIABLE: str(folder)}
        labels = {
            "digest": revision.digest,
            "revision": revision.number,
            "container": revision.container,
            "counted": revision.counted,
            "volumes": [astuple(volume) for volume in revision.volumes],
        }
        command = at_folders(revision.command, revision.volumes, volumes)
        processes.start(owner, Launch(command, environment, listen), labels)

    async def _report(self, current: Object, target: Revision, missing: str) -> None:
        owner = owner_of(current)
        attempts = self._context.processes.attempts(owner.uid)
        found = plan(target.digest, target.replicas, attempts)
        last_ready = last_ready_of(attempts)
        observation = Observation(
            serving=len(found.serving),
            previous=found.previous is not None,
            created_revision=str(_number(target.digest, attempts)),
            ready_revision=str(last_ready.labels["revision"]) if last_ready else "",
            url=self._context.sockets.url(owner) if last_ready or target.replicas == 0 else "",
            at_rest=target.replicas == 0,
            failure=found.failure,
            missing=missing,
        )
        status = status_of(current, observation, self._context.now())
        await self._context.write_status(INFERENCE_SERVICES, current, status, "status")

    def _prune(self, uid: str) -> None:
        """Keep the records of the last servers, and of the one that was ready last."""
        attempts = self._context.processes.attempts(uid)
        last_ready = last_ready_of(attempts)
        over = [a for a in attempts if not a.running and a is not last_ready]
        self._context.processes.prune(over[:-_KEPT_RECORDS])


def _holder(attempts: Sequence[Attempt]) -> ProcessId | None:
    """Return a process that holds the socket of a service."""
    running = [attempt for attempt in attempts if attempt.running]
    return running[-1].process if running else None


def _cpu_seconds(server: Attempt) -> float:
    """Return the CPU seconds of a server and its workers so far."""
    members = session_members(server.process) if server.process else []
    return sum(member.cpu_seconds for member in members)


def _number(digest: str, attempts: Sequence[Attempt]) -> int:
    """Return the number of the revision asked for: it grows with each change of the predictor."""
    numbers = {int(attempt.labels["revision"]): digest_of(attempt) for attempt in attempts}
    newest = max(numbers, default=0)
    return newest if numbers.get(newest) == digest else newest + 1
