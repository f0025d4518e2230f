"""Leases by which one of several operators leads."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from modelyard.api.resources import LEASE
from modelyard.build.common import Manifest

RELEASED_SECONDS = 1
"""The shortest time that a Lease may name; a Lease without a holder is free at once."""


class Candidate(NamedTuple):
    """Who wants to lead, and by which Lease."""

    namespace: str
    name: str
    identity: str


def lease(candidate: Candidate, seconds: int, now: datetime, before: Manifest | None) -> Manifest:
    """Return a Lease that a candidate claims or renews.

    Args:
        candidate: Who leads by it.
        seconds: How long the claim stands unrenewed.
        now: The present time, for people who read it.
        before: The Lease as it was read, if there is one: written only if it is still that.
    """
    found = (before or {}).get("spec") or {}
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    renews = found.get("holderIdentity") == candidate.identity
    transitions = found.get("leaseTransitions") or 0
    metadata = {"name": candidate.name, "namespace": candidate.namespace}
    if before is not None:
        metadata = before["metadata"]
        transitions += 0 if renews else 1
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": metadata,
        "spec": {
            "holderIdentity": candidate.identity,
            "leaseDurationSeconds": seconds,
            "acquireTime": found.get("acquireTime", moment) if renews else moment,
            "renewTime": moment,
            "leaseTransitions": transitions,
        },
    }


def released(before: Manifest) -> Manifest:
    """Return a Lease that its holder gives up."""
    spec = before["spec"] | {"holderIdentity": "", "leaseDurationSeconds": RELEASED_SECONDS}
    return before | {"spec": spec}
