"""Project: one in a namespace, which it makes a tenant, with a reachable artifact store."""

from __future__ import annotations

from modelyard.api.project import ProjectSpec, ProjectStatus
from modelyard.api.resources import OURS
from modelyard.judge.conditions import ready, stalled
from modelyard.ports.cluster import Manifest
from modelyard.reconcile.context import Halt, Observation, Ports, oldest, open_project
from modelyard.reconcile.tenancy import keep_tenant

CHECK_SECONDS = 20.0
"""How often the artifact store is asked whether it still answers, and the namespace looked at."""


async def observe(manifest: Manifest, ports: Ports) -> Observation:
    """Check that a Project is alone in its namespace, keep it a tenant, ask its store."""
    metadata = manifest["metadata"]
    first = oldest(await ports.cluster.list_objects(OURS["Project"], metadata["namespace"]))
    if first is not None and first["metadata"]["name"] != metadata["name"]:
        message = (
            f"Namespace {metadata['namespace']} belongs to Project {first['metadata']['name']}; "
            "a namespace has one Project, move this one to another namespace."
        )
        raise Halt(stalled("ProjectConflict", message))
    await keep_tenant(manifest, ProjectSpec.model_validate(manifest["spec"]), ports)
    project = await open_project(manifest, ports)
    uri = project.store.config.uri
    await project.store.folders("runs")
    return Observation(
        ProjectStatus(artifact_store_uri=uri),
        ready("StoreReachable", f"Artifacts are kept in {uri}."),
        requeue_after=CHECK_SECONDS,
    )
