"""RayJobs that run a search."""

from __future__ import annotations

from modelyard.api.resources import RAY_JOB
from modelyard.build.common import Manifest, metadata, runtime_container
from modelyard.build.pods import NO_NEEDS, PodNeeds
from modelyard.build.workflow import KEPT_SECONDS

RAY_VERSION = "2.60.0"


def ray_job(
    owner: Manifest, name: str, workers: int, env: list[Manifest], needs: PodNeeds = NO_NEEDS
) -> Manifest:
    """Return the RayJob that runs the train runtime, with a worker for each trial at once."""
    head = {**runtime_container("ray-head", "train", env), **needs.container}
    worker = {**runtime_container("ray-worker", "train", env), **needs.container}
    for container in (head, worker):
        del container["command"]
    return {
        "apiVersion": RAY_JOB.api_version,
        "kind": RAY_JOB.kind,
        "metadata": metadata(owner, name, "train"),
        "spec": {
            "entrypoint": "python -m modelyard_runtimes.train",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "backoffLimit": 5,
            "rayClusterSpec": {
                "rayVersion": RAY_VERSION,
                "headGroupSpec": {
                    "rayStartParams": {"dashboard-host": "0.0.0.0"},  # noqa: S104 - in its own pod
                    "template": {"spec": {"containers": [head], **needs.pod}},
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "trials",
                        "replicas": workers,
                        "minReplicas": workers,
                        "maxReplicas": workers,
                        "rayStartParams": {},
                        "template": {"spec": {"containers": [worker], **needs.pod}},
                    }
                ],
            },
        },
    }
