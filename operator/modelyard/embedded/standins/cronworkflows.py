"""The stand-in for the Argo Workflows controller (v3.7): CronWorkflows.

A CronWorkflow of `@every <duration>` makes a Workflow named `<name>-<unix time>`, unless one still
runs, and keeps the last finished ones. See
https://argo-workflows.readthedocs.io/en/release-3.7/cron-workflows/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelyard.embedded.client import ApiError, Object, Resource
from modelyard.embedded.standins.context import Context
from modelyard.embedded.standins.shapes import (
    ANY,
    Shape,
    Unsupported,
    require,
    require_supported,
)
from modelyard.embedded.standins.times import every, from_rfc3339, rfc3339
from modelyard.embedded.standins.workflow_spec import parse_workflow
from modelyard.embedded.standins.workflows import FINAL_PHASES, WORKFLOWS

CRON_WORKFLOWS = Resource("argoproj.io", "v1alpha1", "cronworkflows", "CronWorkflow")

CRON_LABEL = "workflows.argoproj.io/cron-workflow"
SCHEDULED_TIME = "workflows.argoproj.io/scheduled-time"

CRON_SHAPE: Shape = {
    "schedules": [ANY],
    "concurrencyPolicy": ANY,
    "successfulJobsHistoryLimit": ANY,
    "failedJobsHistoryLimit": ANY,
    "workflowMetadata": {"labels": ANY, "annotations": ANY},
    "workflowSpec": ANY,
}


@dataclass(frozen=True)
class Cron:
    """What a CronWorkflow's spec asks for; `interval` is in seconds."""

    interval: float
    successful_limit: int
    failed_limit: int
    metadata: dict[str, Any]
    workflow_spec: Object


class CronWorkflows:
    """Makes Workflows by the clock."""

    resource = CRON_WORKFLOWS

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, current: Object) -> float | None:
        """Make the Workflow that is due, delete those past the history limits, write the status."""
        if "deletionTimestamp" in current["metadata"]:
            return None
        try:
            cron = self._parse(current.get("spec") or {})
        except Unsupported as refusal:
            await self._write(current, _refused(current, str(refusal)))
            return None
        children = await self._children(current)
        active = [child for child in children if _phase(child) not in FINAL_PHASES]
        finished = [child for child in children if _phase(child) in FINAL_PHASES]
        status = dict(current.get("status") or {}) | {"phase": "Active"}
        status.pop("conditions", None)
        status.update(_count(status, active, finished))
        now, due = self._context.now(), _next_time(current, cron)
        if now >= due:
            status["lastScheduledTime"] = rfc3339(now)
            due = now + cron.interval
            if not active:
                active = [await self._create(current, cron, now)]
        status["active"] = [_reference(child) for child in active]
        await self._write(current, status)
        await self._trim(cron, finished)
        return max(due - now, 0.1)

    def _parse(self, spec: Object) -> Cron:
        require_supported(spec, CRON_SHAPE, "spec")
        schedules = spec.get("schedules") or []
        require(len(schedules) == 1, "spec.schedules", "use exactly one schedule")
        interval = every(schedules[0])
        if interval is None:
            raise Unsupported("spec.schedules[0]", "use @every <duration>, for example @every 15s")
        policy = spec.get("concurrencyPolicy")
        require(policy == "Forbid", "spec.concurrencyPolicy", "use Forbid")
        workflow_spec = spec.get("workflowSpec") or {}
        parse_workflow(
            workflow_spec, self._context.python, self._context.allowed_modules, "spec.workflowSpec"
        )
        return Cron(
            interval=interval,
            successful_limit=spec.get("successfulJobsHistoryLimit", 3),
            failed_limit=spec.get("failedJobsHistoryLimit", 1),
            metadata=spec.get("workflowMetadata") or {},
            workflow_spec=workflow_spec,
        )

    async def _children(self, current: Object) -> list[Object]:
        """Return the CronWorkflow's Workflows, oldest first."""
        metadata = current["metadata"]
        found = await self._context.client.list(WORKFLOWS, metadata["namespace"])
        children = [
            child
            for child in found["items"]
            if metadata["uid"] in _owner_uids(child)
            and "deletionTimestamp" not in child["metadata"]
        ]
        return sorted(children, key=lambda child: str(child["metadata"]["creationTimestamp"]))

    async def _create(self, current: Object, cron: Cron, now: float) -> Object:
        parent = current["metadata"]
        name = f"{parent['name']}-{int(now)}"
        document: Object = {
            "apiVersion": WORKFLOWS.api_version,
            "kind": WORKFLOWS.kind,
            "metadata": {
                "name": name,
                "namespace": parent["namespace"],
                "labels": {**cron.metadata.get("labels", {}), CRON_LABEL: parent["name"]},
                "annotations": {
                    **cron.metadata.get("annotations", {}),
                    SCHEDULED_TIME: rfc3339(now),
                },
                "ownerReferences": [
                    {
                        "apiVersion": CRON_WORKFLOWS.api_version,
                        "kind": CRON_WORKFLOWS.kind,
                        "name": parent["name"],
                        "uid": parent["uid"],
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": cron.workflow_spec,
        }
        try:
            return await self._context.client.create(WORKFLOWS, parent["namespace"], document)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        return await self._context.client.get(WORKFLOWS, parent["namespace"], name)

    async def _trim(self, cron: Cron, finished: list[Object]) -> None:
        successful = [child for child in finished if _phase(child) == "Succeeded"]
        failed = [child for child in finished if _phase(child) != "Succeeded"]
        for children, limit in ((successful, cron.successful_limit), (failed, cron.failed_limit)):
            for child in children[: max(len(children) - limit, 0)]:
                metadata = child["metadata"]
                await self._context.client.delete(
                    WORKFLOWS, metadata["namespace"], metadata["name"], metadata["uid"]
                )

    async def _write(self, current: Object, status: Object) -> None:
        await self._context.write_status(CRON_WORKFLOWS, current, status, subresource="")


def _phase(workflow: Object) -> str:
    return str((workflow.get("status") or {}).get("phase", ""))


def _owner_uids(workflow: Object) -> set[str]:
    return {owner["uid"] for owner in workflow["metadata"].get("ownerReferences", [])}


def _next_time(current: Object, cron: Cron) -> float:
    last = (current.get("status") or {}).get("lastScheduledTime")
    return from_rfc3339(last or current["metadata"]["creationTimestamp"]) + cron.interval


def _count(status: Object, active: list[Object], finished: list[Object]) -> Object:
    """Return the counts of ended Workflows: those that were active and no longer are."""
    still = {child["metadata"]["uid"] for child in active}
    over = {child["metadata"]["uid"]: _phase(child) for child in finished}
    ended = [
        over.get(reference["uid"], "Failed")
        for reference in status.get("active", [])
        if reference["uid"] not in still
    ]
    succeeded = ended.count("Succeeded")
    return {
        "succeeded": status.get("succeeded", 0) + succeeded,
        "failed": status.get("failed", 0) + len(ended) - succeeded,
    }


def _reference(workflow: Object) -> Object:
    metadata = workflow["metadata"]
    return {
        "apiVersion": WORKFLOWS.api_version,
        "kind": WORKFLOWS.kind,
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def _refused(current: Object, message: str) -> Object:
    status = dict(current.get("status") or {})
    status["conditions"] = [{"type": "SpecError", "status": "True", "message": message}]
    return status
