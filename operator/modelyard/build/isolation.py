"""NetworkPolicies of a Project: who reaches its pods, and whom they reach."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from modelyard.api.meta import GROUP
from modelyard.api.project import NetworkPolicy
from modelyard.api.resources import NETWORK_POLICY
from modelyard.api.runtime import StoreConfig
from modelyard.build.common import Manifest, metadata
from modelyard.build.inferenceservice import PORT

ISOLATION = "modelyard-isolation"
PREDICTORS = "modelyard-predictors"
PLATFORM_LABEL = f"{GROUP}/platform"
"""Label of namespaces of gateways, monitoring and operators; only who runs the cluster sets it."""
NAMESPACE_NAME = "kubernetes.io/metadata.name"
PREDICTOR_LABEL = "serving.kserve.io/inferenceservice"
ANYWHERE: tuple[Manifest, ...] = (
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fd00:ec2::254/128"]}},
)
"""Every address but those where clouds answer with the node's credentials."""
NODE_DNS = "169.254.20.10/32"
"""Address of a DNS cache on the node, where there is one."""


def network_policies(
    owner: Manifest, policy: NetworkPolicy, egress: list[Manifest]
) -> list[Manifest]:
    """Return the NetworkPolicies of a Project; none where they are turned off."""
    if policy.mode == "None":
        return []
    own: Manifest = {"podSelector": {}}
    platform = {"namespaceSelector": {"matchLabels": {PLATFORM_LABEL: "true"}}}
    found = [
        _policy(
            owner,
            ISOLATION,
            podSelector={},
            policyTypes=["Ingress", "Egress"],
            ingress=[{"from": [own, platform]}],
            egress=[{"to": [own, platform]}, _dns(), *egress],
        )
    ]
    if policy.allow_from:
        callers = {"key": NAMESPACE_NAME, "operator": "In", "values": sorted(policy.allow_from)}
        predictors = {"key": PREDICTOR_LABEL, "operator": "Exists"}
        found.append(
            _policy(
                owner,
                PREDICTORS,
                podSelector={"matchExpressions": [predictors]},
                policyTypes=["Ingress"],
                ingress=[
                    {
                        "from": [{"namespaceSelector": {"matchExpressions": [callers]}}],
                        "ports": [{"protocol": "TCP", "port": PORT}],
                    }
                ],
            )
        )
    return found


def egress_to_api_server(endpoints: Manifest | None) -> list[Manifest]:
    """Return the egress rules to the API server, from the EndpointSlice of its Service.

    NetworkPolicies know addresses, not Services; where the slice is not there nothing is allowed.
    """
    found = endpoints or {}
    addresses = [a for e in found.get("endpoints") or [] for a in e.get("addresses") or []]
    ports = [entry["port"] for entry in found.get("ports") or [] if entry.get("port")]
    if not addresses or not ports:
        return []
    peers = [{"ipBlock": {"cidr": _single(address)}} for address in sorted(addresses)]
    return [{"to": peers, "ports": [{"protocol": "TCP", "port": port} for port in sorted(ports)]}]


def egress_to_stores(stores: Iterable[StoreConfig]) -> list[Manifest]:
    """Return the egress rules to object stores; each rule once, in a lasting order."""
    rules = {repr(rule): rule for store in stores for rule in _egress_to(store)}
    return [rules[key] for key in sorted(rules)]


def _egress_to(store: StoreConfig) -> list[Manifest]:
    """Return the rule to one store.

    A Service of the cluster is known by its namespace: the port of its pods may be another than the
    Service's. A host outside has addresses that change, so its port is opened to every address.
    What is no URL opens nothing: opening the store will say so.
    """
    if not store.uri.startswith("s3://"):
        return []
    try:
        url = urlsplit(store.endpoint or "https://s3.amazonaws.com")
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    except ValueError:
        return []
    labels = host.removesuffix(".cluster.local").split(".")
    if len(labels) == 3 and labels[2] == "svc":
        return [{"to": [{"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: labels[1]}}}]}]
    peers = _addresses(host)
    return [{"to": peers, "ports": [{"protocol": "TCP", "port": port}]}] if peers else []


def _addresses(host: str) -> list[Manifest]:
    """Return the peers that a host name or address means; a link-local one means none."""
    try:
        address = ip_address(host)
    except ValueError:
        return list(ANYWHERE)
    return [] if address.is_link_local else [{"ipBlock": {"cidr": _single(host)}}]


def _single(address: str) -> str:
    """Return the network of one address."""
    parsed = ip_address(address)
    return f"{parsed}/{parsed.max_prefixlen}"


def _dns() -> Manifest:
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {"to": [{"namespaceSelector": {}}, {"ipBlock": {"cidr": NODE_DNS}}], "ports": ports}


def _policy(owner: Manifest, name: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": NETWORK_POLICY.api_version,
        "kind": NETWORK_POLICY.kind,
        "metadata": metadata(owner, name, "tenancy"),
        "spec": spec,
    }
