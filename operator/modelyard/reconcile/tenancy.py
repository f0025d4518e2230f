"""Keeps a Project's namespace a tenant: applies what should be there, prunes what should not."""

from __future__ import annotations

from modelyard.api.project import ProjectSpec
from modelyard.api.resources import ENDPOINT_SLICE, TENANCY, Resource
from modelyard.api.runtime import StoreConfig
from modelyard.build.common import KIND_LABEL, NAME_LABEL
from modelyard.build.isolation import egress_to_api_server, egress_to_stores
from modelyard.build.tenancy import tenancy
from modelyard.judge.conditions import progressing, stalled
from modelyard.judge.desired import holds
from modelyard.ports.cluster import BackendMissing, ClusterError, Conflict, Manifest
from modelyard.reconcile.context import Halt, Ports

API_SERVER = ("default", "kubernetes")
"""Namespace and name of the API server's own Service and EndpointSlice."""
RETRY_SECONDS = 15.0


async def keep_tenant(manifest: Manifest, spec: ProjectSpec, ports: Ports) -> None:
    """Apply what a Project makes of its namespace where it differs; write nothing otherwise.

    Raises:
        Halt: the API server refuses an object, for example for want of rights, or there is no
            Kueue.
    """
    try:
        desired = tenancy(manifest, spec, await _egress(spec, ports))
        for resource in TENANCY:
            wanted = [child for child in desired if child["kind"] == resource.kind]
            await _keep(manifest, resource, wanted, ports)
    except Conflict:
        raise
    except BackendMissing as error:  # of the last kind: all others are kept
        message = f"spec.quota.clusterQueue: {error}."
        raise Halt(stalled("BackendMissing", message), RETRY_SECONDS) from error
    except ClusterError as error:
        message = f"What makes the namespace a tenant cannot be kept: {error}"
        raise Halt(progressing("TenancyRefused", message), RETRY_SECONDS) from error


async def _keep(
    manifest: Manifest, resource: Resource, wanted: list[Manifest], ports: Ports
) -> None:
    namespace = manifest["metadata"]["namespace"]
    found = await ports.cluster.list_objects(resource, namespace)
    live = {child["metadata"]["name"]: child for child in found}
    for child in wanted:
        if not holds(live.get(child["metadata"]["name"]), child):
            await ports.cluster.apply(resource, child)
    names = {child["metadata"]["name"] for child in wanted}
    for name, child in live.items():
        if name not in names and _belongs(child, manifest):
            await ports.cluster.delete(resource, namespace, name)


def _belongs(child: Manifest, project: Manifest) -> bool:
    labels = child["metadata"].get("labels") or {}
    owner = labels.get(KIND_LABEL), labels.get(NAME_LABEL)
    return owner == ("Project", project["metadata"]["name"])


async def _egress(spec: ProjectSpec, ports: Ports) -> list[Manifest]:
    """Return whom runs must reach: the API server, the artifact store, every connection."""
    endpoints = await ports.cluster.get(ENDPOINT_SLICE, *API_SERVER)
    stores = [
        StoreConfig(uri="s3://", endpoint=connection.endpoint, region=connection.region)
        for connection in spec.connections
    ]
    if spec.artifact_store is None:
        stores.append(ports.stores.default())
    return [*egress_to_api_server(endpoints), *egress_to_stores(stores)]
