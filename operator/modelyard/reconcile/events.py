"""Kubernetes Events about our objects, posted on changes only, and never in floods."""

from __future__ import annotations

from datetime import datetime

from modelyard.api.identity import digest
from modelyard.api.meta import API_VERSION
from modelyard.api.resources import EVENT
from modelyard.ports.cluster import Manifest
from modelyard.reconcile.context import Ports

REPEAT_SECONDS = 60.0
"""How soon an Event of the same reason about the same object is told again, at the earliest."""


async def post_event(
    manifest: Manifest, kind: str, reason: str, message: str, ports: Ports
) -> None:
    """Post an Event; one that stands is counted up instead, once a minute at most."""
    metadata = manifest["metadata"]
    now = ports.clock.now()
    name = f"{metadata['name']}.{digest((metadata['uid'] + kind + reason).encode())[7:23]}"
    told = {"message": message[:1024], "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    first = _first(manifest, name, kind, reason) | told
    if await ports.cluster.create(EVENT, first | {"firstTimestamp": told["lastTimestamp"]}):
        return
    known = await ports.cluster.get(EVENT, metadata["namespace"], name)
    if known is None:
        return  # it has just expired; what it told is told by the status too
    if (now - datetime.fromisoformat(known["lastTimestamp"])).total_seconds() >= REPEAT_SECONDS:
        await ports.cluster.replace(EVENT, known | told | {"count": known["count"] + 1})


def _first(manifest: Manifest, name: str, kind: str, reason: str) -> Manifest:
    metadata = manifest["metadata"]
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": name, "namespace": metadata["namespace"]},
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
        "source": {"component": "modelyard-operator"},
        "reportingComponent": "modelyard-operator",
        "count": 1,
    }
