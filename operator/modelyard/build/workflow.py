"""Argo Workflows and CronWorkflows that run a runtime."""

from __future__ import annotations

import json

from modelyard.api.meta import seconds
from modelyard.api.resources import CRON_WORKFLOW, WORKFLOW
from modelyard.build.common import (
    Images,
    Manifest,
    Runtime,
    container_security,
    metadata,
    pod_fields,
    runtime_container,
)
from modelyard.build.pods import NO_NEEDS, PodNeeds

SERVICE_ACCOUNT = "modelyard-runtime"
KEPT_SECONDS = 24 * 3600
"""How long a finished Workflow stays for reading; its result lies in the artifact store."""


def workflow_spec(
    runtime: Runtime, env: list[Manifest], images: Images, needs: PodNeeds = NO_NEEDS
) -> Manifest:
    """Return the spec of a Workflow with one step.

    A runtime exits with 1 when it has said why it failed: only other ends (it was killed, its node
    went away) are worth another try; it then goes on from what it had stored.
    """
    return {
        "entrypoint": "main",
        "serviceAccountName": SERVICE_ACCOUNT,
        "ttlStrategy": {"secondsAfterCompletion": KEPT_SECONDS},
        "podSpecPatch": _argo_containers(),
        # Kueue knows pods, not Workflows: each try waits by itself.
        **({"podMetadata": {"labels": needs.labels}} if needs.labels else {}),
        **pod_fields(),
        **needs.pod,
        "templates": [
            {
                "name": "main",
                "retryStrategy": {
                    "limit": "5",
                    "expression": "asInt(lastRetry.exitCode) != 1",
                },
                "container": {**runtime_container("main", runtime, env, images), **needs.container},
            }
        ],
    }


def _argo_containers() -> str:
    """Return the patch by which the containers that Argo adds keep to the restricted profile too.

    Unless an administrator has told its controller so, they do not say it themselves.
    """
    security = {"securityContext": container_security()}
    patch = {
        "initContainers": [{"name": "init", **security}],
        "containers": [{"name": "wait", **security}],
    }
    return json.dumps(patch, sort_keys=True)


def workflow(  # noqa: PLR0913, PLR0917 - all that varies between Workflows
    owner: Manifest,
    name: str,
    runtime: Runtime,
    env: list[Manifest],
    images: Images,
    needs: PodNeeds = NO_NEEDS,
) -> Manifest:
    """Return the Workflow that runs a runtime once for its owner."""
    return {
        "apiVersion": WORKFLOW.api_version,
        "kind": WORKFLOW.kind,
        "metadata": metadata(owner, name, runtime),
        "spec": workflow_spec(runtime, env, images, needs),
    }


def cron_workflow(  # noqa: PLR0913, PLR0917 - all that varies between CronWorkflows
    owner: Manifest,
    name: str,
    interval: str,
    env: list[Manifest],
    images: Images,
    needs: PodNeeds = NO_NEEDS,
) -> Manifest:
    """Return the CronWorkflow that runs the monitor runtime every interval."""
    return {
        "apiVersion": CRON_WORKFLOW.api_version,
        "kind": CRON_WORKFLOW.kind,
        "metadata": metadata(owner, name, "monitor"),
        "spec": {
            # Go, which Argo reads it by, knows no days.
            "schedules": [f"@every {seconds(interval)}s"],
            "concurrencyPolicy": "Forbid",
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "workflowSpec": workflow_spec("monitor", env, images, needs),
        },
    }
