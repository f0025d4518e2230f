"""Gateway API HTTPRoutes that split the requests of a Deployment among InferenceServices."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.api.deployment import Gateway
from modelyard.api.resources import HTTP_ROUTE
from modelyard.build.common import Manifest, metadata

PREDICTOR_SUFFIX = "-predictor"
"""By which KServe names the Service of an InferenceService's predictor, in Standard mode."""
PREDICTOR_PORT = 80
ROUTE_SUFFIX = "-traffic"
"""KServe takes the Deployment's own name for HTTPRoutes that it makes."""


def http_route(
    owner: Manifest, name: str, gateway: Gateway, weights: Mapping[str, int]
) -> Manifest:
    """Return the HTTPRoute of a Deployment.

    Args:
        owner: The Deployment.
        name: Name of the HTTPRoute.
        gateway: Where it is attached.
        weights: Weight by name of InferenceService.
    """
    parent = {"name": gateway.name}
    if gateway.namespace is not None:
        parent["namespace"] = gateway.namespace
    backends = [
        {"name": f"{service}{PREDICTOR_SUFFIX}", "port": PREDICTOR_PORT, "weight": weight}
        for service, weight in weights.items()
    ]
    return {
        "apiVersion": HTTP_ROUTE.api_version,
        "kind": HTTP_ROUTE.kind,
        "metadata": metadata(owner, name, "route"),
        "spec": {
            "parentRefs": [parent],
            "hostnames": [gateway.hostname],
            "rules": [{"backendRefs": backends}],
        },
    }
