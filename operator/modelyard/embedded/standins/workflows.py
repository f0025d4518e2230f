"""The stand-in for the Argo Workflows controller (v3.7): Workflows.

Phases, messages, nodes and conditions are what Argo reports; see
https://argo-workflows.readthedocs.io/en/release-3.7/fields/#workflowstatus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.embedded.client import Object, Resource
from modelyard.embedded.standins.attempts import INTERRUPTED, Attempt, counted
from modelyard.embedded.standins.containers import NotYet, read_environment
from modelyard.embedded.standins.context import Context, owner_of
from modelyard.embedded.standins.processes import Launch
from modelyard.embedded.standins.shapes import Unsupported
from modelyard.embedded.standins.times import from_rfc3339, rfc3339
from modelyard.embedded.standins.workflow_spec import WorkflowRun, parse_workflow

WORKFLOWS = Resource("argoproj.io", "v1alpha1", "workflows", "Workflow")

FINAL_PHASES = ("Succeeded", "Failed", "Error")
SHUTDOWN = "shutdown"
DEADLINE = "deadline"

_MISSING_RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class Decision:
    """Where a Workflow stands, and what is due.

    Attributes:
        phase: The Workflow's phase; a final one ends it for good.
        message: The Workflow's message.
        start: Whether a process is due.
        stop: Why the running process has to stop; empty when it has not to.
    """

    phase: str
    message: str = ""
    start: bool = False
    stop: str = ""


def decide(run: WorkflowRun, attempts: Sequence[Attempt], now: float) -> Decision:
    """Return where a Workflow stands after these attempts; it depends on nothing else."""
    tried = counted(attempts)
    if tried and tried[-1].running:
        return Decision("Running", stop=_stop_reason(run, attempts, now))
    if tried:
        return _after(run, attempts, now)
    if run.shutdown:
        return Decision("Failed", _shutdown_message(run))
    return _start_unless_overdue(run, attempts, now)


def _stop_reason(run: WorkflowRun, attempts: Sequence[Attempt], now: float) -> str:
    if run.shutdown:
        return SHUTDOWN
    if _overdue(run, attempts, now):
        return DEADLINE
    return ""


def _after(run: WorkflowRun, attempts: Sequence[Attempt], now: float) -> Decision:
    tried = counted(attempts)
    last = tried[-1]
    if last.exit_code == 0:
        return Decision("Succeeded")
    if run.shutdown:
        return Decision("Failed", _shutdown_message(run))
    if last.stop_reason == DEADLINE:
        return Decision("Failed", "Step exceeded its deadline")
    if run.retries is None:
        return Decision("Failed", _exit_message(last))
    if last.exit_code == run.final_exit_code:
        return Decision("Failed", "retryStrategy.expression evaluated to false")
    if len(tried) > run.retries:
        return Decision("Failed", "No more retries left")
    return _start_unless_overdue(run, attempts, now)


def _start_unless_overdue(run: WorkflowRun, attempts: Sequence[Attempt], now: float) -> Decision:
    if _overdue(run, attempts, now):
        return Decision("Failed", "Step exceeded its deadline")
    return Decision("Running", start=True)


def _overdue(run: WorkflowRun, attempts: Sequence[Attempt], now: float) -> bool:
    if run.deadline is None or not attempts:
        return False
    return now >= attempts[0].started_at + run.deadline


def _shutdown_message(run: WorkflowRun) -> str:
    return f"Stopped with strategy '{run.shutdown}'"


def _exit_message(attempt: Attempt) -> str:
    return f"main: Error (exit code {attempt.exit_code})"


class Workflows:
    """Runs each Workflow as a local process."""

    resource = WORKFLOWS

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, current: Object) -> float | None:
        """Bring the process and the status of a Workflow in line with its spec."""
        status = current.get("status") or {}
        attempts = self._context.processes.attempts(current["metadata"]["uid"])
        if status.get("phase") in FINAL_PHASES or "deletionTimestamp" in current["metadata"]:
            self._stop(attempts, "deleted")
            return await self._expire(current, status)
        try:
            run = parse_workflow(
                current.get("spec") or {}, self._context.python, self._context.allowed_modules
            )
            return await self._advance(current, run)
        except Unsupported as refusal:
            self._stop(attempts, SHUTDOWN)
            await self._write(current, self._refused(str(refusal)))
            return None

    async def _advance(self, current: Object, run: WorkflowRun) -> float | None:
        owner = owner_of(current)
        processes = self._context.processes
        now = self._context.now()
        decision = decide(run, processes.attempts(owner.uid), now)
        again = None
        if decision.start:
            try:
                environment = await read_environment(
                    self._context.client, owner.namespace, run.environment, run.environment_path
                )
                processes.start(owner, Launch(run.command, environment))
                decision = Decision("Running")
            except NotYet as missing:
                decision = Decision("Pending", f"CreateContainerConfigError: {missing}")
                again = _MISSING_RETRY_SECONDS
        attempts = processes.attempts(owner.uid)
        if decision.stop:
            self._stop(attempts, decision.stop)
        await self._write(current, _status(owner.name, run, decision, attempts, now))
        return again or _until_deadline(run, attempts, now)

    async def _expire(self, current: Object, status: Object) -> float | None:
        strategy = (current.get("spec") or {}).get("ttlStrategy") or {}
        seconds = strategy.get("secondsAfterCompletion")
        metadata = current["metadata"]
        if seconds is None or "finishedAt" not in status or "deletionTimestamp" in metadata:
            return None
        left = from_rfc3339(status["finishedAt"]) + seconds - self._context.now()
        if left > 0:
            return float(left)
        await self._context.client.delete(
            WORKFLOWS, metadata["namespace"], metadata["name"], metadata["uid"]
        )
        return None

    def _stop(self, attempts: Sequence[Attempt], reason: str) -> None:
        for attempt in attempts:
            if attempt.running:
                self._context.processes.stop(attempt, reason)

    def _refused(self, message: str) -> Object:
        now = rfc3339(self._context.now())
        return {
            "phase": "Error",
            "message": message,
            "startedAt": now,
            "finishedAt": now,
            "progress": "0/1",
            "conditions": [{"type": "Completed", "status": "True"}],
        }

    async def _write(self, current: Object, status: Object) -> None:
        # Argo's CRD has no status subresource: the object itself is patched.
        await self._context.write_status(WORKFLOWS, current, status, subresource="")


def _until_deadline(run: WorkflowRun, attempts: Sequence[Attempt], now: float) -> float | None:
    if run.deadline is None or not attempts or not attempts[-1].running:
        return None
    return max(attempts[0].started_at + run.deadline - now, 0.1)


def _status(
    name: str, run: WorkflowRun, decision: Decision, attempts: Sequence[Attempt], now: float
) -> Object:
    running = bool(attempts) and attempts[-1].running
    status: Object = {
        "phase": decision.phase,
        "progress": "1/1" if decision.phase == "Succeeded" else "0/1",
        "nodes": _nodes(name, run, decision, attempts),
        "conditions": [{"type": "PodRunning", "status": "True" if running else "False"}],
    }
    if decision.message:
        status["message"] = decision.message
    if attempts:
        status["startedAt"] = rfc3339(attempts[0].started_at)
    if decision.phase in FINAL_PHASES:
        status["finishedAt"] = _finished_at(attempts, now)
        status.setdefault("startedAt", status["finishedAt"])
        status["conditions"].append({"type": "Completed", "status": "True"})
    return status


def _finished_at(attempts: Sequence[Attempt], now: float) -> str:
    last = attempts[-1] if attempts else None
    if last is None or last.finished_at is None or last.stop_reason == INTERRUPTED:
        return rfc3339(now)
    return rfc3339(last.finished_at)


def _nodes(
    name: str, run: WorkflowRun, decision: Decision, attempts: Sequence[Attempt]
) -> dict[str, Object]:
    """Return the nodes: a Pod for each attempt, below a Retry node if there is a strategy."""
    pods = [
        _pod(_pod_name(name, run, index), name, run, attempt)
        for index, attempt in enumerate(counted(attempts))
    ]
    if decision.phase not in FINAL_PHASES and not (pods and pods[-1]["phase"] == "Running"):
        pods.append(_waiting_pod(_pod_name(name, run, len(pods)), name, run, decision))
    nodes = {pod["id"]: pod for pod in pods}
    if run.retries is not None:
        root = _node(name, name, run, "Retry", decision.phase)
        root["children"] = [pod["id"] for pod in pods]
        if decision.message:
            root["message"] = decision.message
        nodes[name] = root
    return nodes


def _pod_name(name: str, run: WorkflowRun, index: int) -> str:
    return name if run.retries is None else f"{name}({index})"


def _node(name: str, workflow: str, run: WorkflowRun, kind: str, phase: str) -> Object:
    return {
        "id": _node_id(name, workflow),
        "name": name,
        "displayName": name,
        "type": kind,
        "templateName": run.template,
        "templateScope": f"local/{workflow}",
        "phase": phase,
    }


def _pod(name: str, workflow: str, run: WorkflowRun, attempt: Attempt) -> Object:
    phase = "Running" if attempt.running else "Succeeded" if attempt.exit_code == 0 else "Failed"
    node = _node(name, workflow, run, "Pod", phase)
    node["startedAt"] = rfc3339(attempt.started_at)
    if attempt.finished_at is not None:
        node["finishedAt"] = rfc3339(attempt.finished_at)
        node["outputs"] = {"exitCode": str(attempt.exit_code)}
    if phase == "Failed":
        node["message"] = _exit_message(attempt)
    return node


def _waiting_pod(name: str, workflow: str, run: WorkflowRun, decision: Decision) -> Object:
    node = _node(name, workflow, run, "Pod", "Pending")
    node["message"] = decision.message or "not started yet"
    return node


def _node_id(name: str, workflow: str) -> str:
    """Return the id of a node: the Workflow's name and the FNV-1a hash of the node's."""
    if name == workflow:
        return name
    value = 2166136261
    for byte in name.encode():
        value = (value ^ byte) * 16777619 % 2**32
    return f"{workflow}-{value}"
