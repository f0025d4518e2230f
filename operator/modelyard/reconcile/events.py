"""Kubernetes Events about our objects, posted on changes only."""

from __future__ import annotations

from modelyard.api.identity import digest
from modelyard.api.meta import API_VERSION
from modelyard.api.resources import EVENT
from modelyard.ports.cluster import Manifest
from modelyard.reconcile.context import Ports


async def post_event(
    manifest: Manifest, kind: str, reason: str, message: str, ports: Ports
) -> None:
    """Post an Event about an object; the same one at the same time exists once."""
    metadata = manifest["metadata"]
    now = ports.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    unique = digest(f"{metadata['uid']}{reason}{message}{now}".encode())[7:23]
    await ports.cluster.create(
        EVENT,
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{unique}",
                "namespace": metadata["namespace"],
            },
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": manifest["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": "modelyard-operator"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        },
    )
