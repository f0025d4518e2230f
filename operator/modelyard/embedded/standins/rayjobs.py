"""The stand-in for the KubeRay operator (v1.5): RayJobs.

The entrypoint runs as one local process with the environment of the head container; what needs
workers starts them itself on this machine. Status fields are those of
https://ray-project.github.io/kuberay/reference/api/#rayjob.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.embedded.client import Object, Resource
from modelyard.embedded.standins.attempts import INTERRUPTED, Attempt, counted
from modelyard.embedded.standins.containers import (
    CONTAINER_SHAPE,
    VOLUMES_SHAPE,
    NotYet,
    module_command,
    read_environment,
)
from modelyard.embedded.standins.context import Context, owner_of
from modelyard.embedded.standins.processes import Launch
from modelyard.embedded.standins.shapes import (
    ANY,
    Shape,
    Unsupported,
    require,
    require_supported,
)
from modelyard.embedded.standins.times import rfc3339

RAY_JOBS = Resource("ray.io", "v1", "rayjobs", "RayJob")

DEADLINE = "deadline"

RAY_JOB_SHAPE: Shape = {
    "entrypoint": ANY,
    "suspend": ANY,
    "shutdownAfterJobFinishes": ANY,
    "ttlSecondsAfterFinished": ANY,
    "backoffLimit": ANY,
    "activeDeadlineSeconds": ANY,
    "submissionMode": ANY,
    "submitterPodTemplate": ANY,
    "rayClusterSpec": {
        "rayVersion": ANY,
        "authOptions": ANY,
        "headGroupSpec": {
            "rayStartParams": ANY,
            "template": {
                "metadata": ANY,
                "spec": {
                    "containers": [{**CONTAINER_SHAPE, "ports": ANY}],
                    "serviceAccountName": ANY,
                    "securityContext": ANY,
                    "nodeSelector": ANY,
                    "tolerations": ANY,
                    "affinity": ANY,
                    "volumes": VOLUMES_SHAPE,
                },
            },
        },
        "workerGroupSpecs": ANY,
    },
}
_HEAD = "spec.rayClusterSpec.headGroupSpec.template.spec.containers"
_FINAL = ("Complete", "Failed")
_MISSING_RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class RayRun:
    """What a RayJob's spec asks for; `deadline` is in seconds.

    One that is suspended has no process, and starts a new one when it goes on.
    """

    command: tuple[str, ...]
    environment: list[Object]
    backoff_limit: int
    deadline: float | None
    suspended: bool = False


@dataclass(frozen=True)
class Decision:
    """Where a RayJob stands, and what is due.

    Attributes:
        deployment: status.jobDeploymentStatus.
        job: status.jobStatus; empty when there is no job.
        reason: status.reason.
        message: status.message.
        start: Whether a process is due.
        stop: Why the running process has to stop; empty when it has not to.
    """

    deployment: str
    job: str = ""
    reason: str = ""
    message: str = ""
    start: bool = False
    stop: str = ""


def decide(run: RayRun, attempts: Sequence[Attempt], now: float) -> Decision:
    """Return where a RayJob stands after these attempts; it depends on nothing else."""
    tried = counted(attempts)
    if run.suspended and not (tried and tried[-1].exit_code == 0):
        running = bool(tried and tried[-1].running)
        return Decision("Suspending" if running else "Suspended", stop=INTERRUPTED)
    overdue = bool(
        run.deadline is not None and attempts and now >= attempts[0].started_at + run.deadline
    )
    if tried and tried[-1].running:
        if overdue:
            return Decision("Running", "RUNNING", stop=DEADLINE)
        return Decision("Running", "RUNNING")
    if tried and tried[-1].exit_code == 0:
        return Decision("Complete", "SUCCEEDED", message="Job finished successfully.")
    if overdue:
        message = f"The RayJob has passed the activeDeadlineSeconds ({run.deadline})."
        return Decision("Failed", "FAILED", "DeadlineExceeded", message)
    if len(tried) > run.backoff_limit:
        return Decision("Failed", "FAILED", "AppFailed", _exit_message(tried[-1]))
    if tried:
        message = _exit_message(tried[-1])
        return Decision("Retrying", "FAILED", "AppFailed", message, start=True)
    return Decision("Initializing", "PENDING", start=True)


def _exit_message(attempt: Attempt) -> str:
    return f"Job entrypoint command failed with exit code {attempt.exit_code}"


def parse_ray_job(spec: Object, python: str, allowed_modules: Sequence[str]) -> RayRun:
    """Return what a RayJob's spec asks for.

    Raises:
        Unsupported: it asks for what the embedded plane does not do.
    """
    require_supported(spec, RAY_JOB_SHAPE, "spec")
    cluster = spec.get("rayClusterSpec") or {}
    head = cluster.get("headGroupSpec") or {}
    containers = ((head.get("template") or {}).get("spec") or {}).get("containers") or []
    require(len(containers) == 1, _HEAD, "use exactly one container")
    for field in ("command", "args"):
        require(field not in containers[0], f"{_HEAD}[0].{field}", "use spec.entrypoint")
    words = shlex.split(spec.get("entrypoint") or "")
    return RayRun(
        command=module_command(python, words, allowed_modules, "spec.entrypoint"),
        environment=containers[0].get("env", []),
        backoff_limit=spec.get("backoffLimit", 0),
        deadline=spec.get("activeDeadlineSeconds"),
        suspended=spec.get("suspend", False),
    )


class RayJobs:
    """Runs each RayJob as a local process."""

    resource = RAY_JOBS

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, current: Object) -> float | None:
        """Bring the process and the status of a RayJob in line with its spec."""
        status = current.get("status") or {}
        attempts = self._context.processes.attempts(current["metadata"]["uid"])
        over = status.get("jobDeploymentStatus") in _FINAL
        if over or "deletionTimestamp" in current["metadata"]:
            self._stop(attempts, "deleted")
            return None
        try:
            run = parse_ray_job(
                current.get("spec") or {}, self._context.python, self._context.allowed_modules
            )
            return await self._advance(current, run)
        except Unsupported as refusal:
            self._stop(attempts, "refused")
            decision = Decision("Failed", reason="ValidationFailed", message=str(refusal))
            await self._write(current, decision)
            return None

    async def _advance(self, current: Object, run: RayRun) -> float | None:
        owner = owner_of(current)
        processes = self._context.processes
        decision = decide(run, processes.attempts(owner.uid), self._context.now())
        again = None
        if decision.start:
            await self._write(current, decision)
            try:
                path = f"{_HEAD}[0].env"
                environment = await read_environment(
                    self._context.client, owner.namespace, run.environment, path
                )
                processes.start(owner, Launch(run.command, environment))
                decision = Decision("Running", "RUNNING")
            except NotYet as missing:
                decision = Decision(
                    "Initializing", "PENDING", message=f"CreateContainerConfigError: {missing}"
                )
                again = _MISSING_RETRY_SECONDS
        attempts = processes.attempts(owner.uid)
        if decision.stop:
            self._stop(attempts, decision.stop)
        await self._write(current, decision)
        if run.deadline is not None and attempts and attempts[-1].running:
            again = max(attempts[0].started_at + run.deadline - self._context.now(), 0.1)
        return again

    def _stop(self, attempts: Sequence[Attempt], reason: str) -> None:
        for attempt in attempts:
            if attempt.running:
                self._context.processes.stop(attempt, reason)

    async def _write(self, current: Object, decision: Decision) -> None:
        attempts = self._context.processes.attempts(current["metadata"]["uid"])
        status = _status(current, decision, attempts, self._context.now())
        await self._context.write_status(RAY_JOBS, current, status, subresource="status")


def _status(current: Object, decision: Decision, attempts: Sequence[Attempt], now: float) -> Object:
    metadata = current["metadata"]
    tried = counted(attempts)
    known = current.get("status") or {}
    status: Object = {
        "jobDeploymentStatus": decision.deployment,
        "startTime": known.get("startTime") or rfc3339(now),
        "succeeded": sum(attempt.exit_code == 0 for attempt in tried),
        "failed": sum(bool(attempt.exit_code) for attempt in tried),
        "observedGeneration": metadata.get("generation", 0),
    }
    optional = {
        "jobStatus": decision.job,
        "reason": decision.reason,
        "message": decision.message,
    }
    status.update({name: value for name, value in optional.items() if value})
    if attempts and decision.job:
        last = attempts[-1]
        status["jobId"] = f"{metadata['name']}-{last.number}"
        status["rayClusterName"] = f"{metadata['name']}-{last.number}"
        status["rayJobInfo"] = {"startTime": rfc3339(last.started_at)}
        if last.finished_at is not None:
            status["rayJobInfo"]["endTime"] = rfc3339(last.finished_at)
    if decision.deployment in _FINAL:
        over = attempts[-1].finished_at if attempts else None
        status["endTime"] = rfc3339(over or now)
    return status
