"""RayJobs that run a search."""

from __future__ import annotations

from modelyard.api.resources import RAY_JOB
from modelyard.build.common import (
    Images,
    Manifest,
    metadata,
    pod_fields,
    resources,
    runtime_container,
)
from modelyard.build.pods import NO_NEEDS, PodNeeds

RAY_VERSION = "2.60.0"
OBJECT_STORE_BYTES = 200_000_000
"""Each node's object store holds the search's data once; /dev/shm of a pod is small."""
PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001}


def ray_job(  # noqa: PLR0913, PLR0917 - all that varies between RayJobs
    owner: Manifest,
    name: str,
    workers: int,
    env: list[Manifest],
    images: Images,
    needs: PodNeeds = NO_NEEDS,
) -> Manifest:
    """Return the RayJob that runs the train runtime, with a worker for each trial at once.

    The head runs the search's loop and offers no CPU to trials. KubeRay adds the commands of the
    containers; the submitter hands the entrypoint to the head and follows its log.
    """
    head = _container("ray-head", env, images) | needs.container
    head["ports"] = [{"name": port, "containerPort": number} for port, number in PORTS.items()]
    worker = _container("ray-worker", env, images) | needs.container
    submitter = _container("ray-job-submitter", [], images)
    submitter["resources"] = resources("50m", "256Mi", "1", "1Gi")
    store = {"object-store-memory": str(OBJECT_STORE_BYTES)}
    meta = metadata(owner, name, "train")
    meta["labels"] |= needs.labels
    return {
        "apiVersion": RAY_JOB.api_version,
        "kind": RAY_JOB.kind,
        "metadata": meta,
        "spec": {
            "entrypoint": "python -m modelyard_runtimes.train",
            "submissionMode": "K8sJobMode",
            "submitterPodTemplate": {"spec": _pod(submitter, needs) | {"restartPolicy": "Never"}},
            "shutdownAfterJobFinishes": True,
            # That of the cluster, which holds its nodes until then; the RayJob and its log stay.
            "ttlSecondsAfterFinished": 0,
            "backoffLimit": 5,
            "rayClusterSpec": {
                "rayVersion": RAY_VERSION,
                # Whoever reaches the head's ports can run code as the search. Ray asks for a token
                # by itself; only with this does KubeRay make one and give it to all.
                "authOptions": {"mode": "token"},
                "headGroupSpec": {
                    "rayStartParams": {
                        "dashboard-host": "0.0.0.0",  # noqa: S104 - in its own pod
                        "num-cpus": "0",
                        **store,
                    },
                    "template": {"spec": _pod(head, needs)},
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "trials",
                        "replicas": workers,
                        "minReplicas": workers,
                        "maxReplicas": workers,
                        "rayStartParams": {"num-cpus": "1", **store},
                        "template": {"spec": _pod(worker, needs)},
                    }
                ],
            },
        },
    }


def _container(name: str, env: list[Manifest], images: Images) -> Manifest:
    container = runtime_container(name, "train", env, images) | {"image": images.ray}
    del container["command"]
    return container


def _pod(container: Manifest, needs: PodNeeds) -> Manifest:
    return {"containers": [container], **pod_fields(), **needs.pod}
