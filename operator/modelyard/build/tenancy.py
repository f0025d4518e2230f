"""What makes a namespace a tenant: identities, roles of members, limits of what may run."""

from __future__ import annotations

from modelyard.api.project import Member, ProjectSpec, Quota
from modelyard.api.resources import (
    LIMIT_RANGE,
    LOCAL_QUEUE,
    RESOURCE_QUOTA,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    Resource,
)
from modelyard.build.common import Manifest, metadata
from modelyard.build.isolation import network_policies
from modelyard.build.pods import GPU
from modelyard.build.workflow import SERVICE_ACCOUNT as RUNTIME

RBAC_GROUP = "rbac.authorization.k8s.io"
LIMITS = "modelyard"
"""Name of the ResourceQuota and of the LimitRange."""
ASSUMED_REQUESTS = {"cpu": "100m", "memory": "128Mi"}
"""What a container counts for that requests nothing, such as the sidecar of Argo's executor."""


def tenancy(owner: Manifest, spec: ProjectSpec, egress: list[Manifest]) -> list[Manifest]:
    """Return all that a Project makes of its namespace.

    Args:
        owner: The Project.
        spec: Its spec.
        egress: Egress rules towards the API server and the stores of the Project.
    """
    return [
        *_runtime_identity(owner),
        *_role_bindings(owner, spec.members),
        *_limits(owner, spec.quota),
        *network_policies(owner, spec.network_policy, egress),
        *_local_queue(owner, spec.quota),
    ]


def _child(owner: Manifest, resource: Resource, name: str, **body: object) -> Manifest:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata(owner, name, "tenancy"),
        **body,
    }


def _runtime_identity(owner: Manifest) -> list[Manifest]:
    """Return the ServiceAccount of runs, with no more rights than Argo's executor needs."""
    reports = {
        "apiGroups": ["argoproj.io"],
        "resources": ["workflowtaskresults"],
        "verbs": ["create", "patch"],
    }
    subject = {
        "kind": SERVICE_ACCOUNT.kind,
        "name": RUNTIME,
        "namespace": owner["metadata"]["namespace"],
    }
    return [
        _child(owner, SERVICE_ACCOUNT, RUNTIME),
        _child(owner, ROLE, RUNTIME, rules=[reports]),
        _binding(owner, RUNTIME, ROLE.kind, [subject]),
    ]


def _role_bindings(owner: Manifest, members: list[Member]) -> list[Manifest]:
    """Return a RoleBinding for each role that somebody has, to the ClusterRole of the chart."""
    namespace = owner["metadata"]["namespace"]
    subjects: dict[str, list[Manifest]] = {}
    for member in sorted(members, key=lambda member: (member.kind, member.name)):
        subjects.setdefault(member.role, []).append(_subject(member, namespace))
    return [
        _binding(owner, f"modelyard-{role.lower()}", "ClusterRole", subjects[role])
        for role in sorted(subjects)
    ]


def _subject(member: Member, namespace: str) -> Manifest:
    if member.kind == "ServiceAccount":
        return {"kind": member.kind, "name": member.name, "namespace": namespace}
    return {"kind": member.kind, "name": member.name, "apiGroup": RBAC_GROUP}


def _binding(owner: Manifest, name: str, kind: str, subjects: list[Manifest]) -> Manifest:
    role = {"apiGroup": RBAC_GROUP, "kind": kind, "name": name}
    return _child(owner, ROLE_BINDING, name, roleRef=role, subjects=subjects)


def _limits(owner: Manifest, quota: Quota) -> list[Manifest]:
    """Return the ResourceQuota, and what containers count for that request nothing.

    Under a quota on processors or memory Kubernetes refuses pods that do not say what they request.
    """
    hard = {
        "pods": quota.pods,
        "requests.cpu": quota.cpu,
        "requests.memory": quota.memory,
        f"requests.{GPU}": quota.gpu,
    }
    declared = {name: str(most) for name, most in hard.items() if most is not None}
    if not declared:
        return []
    assumed = {
        name: asked for name, asked in ASSUMED_REQUESTS.items() if f"requests.{name}" in declared
    }
    found = [_child(owner, RESOURCE_QUOTA, LIMITS, spec={"hard": declared})]
    if assumed:
        limit = {"type": "Container", "defaultRequest": assumed}
        found.append(_child(owner, LIMIT_RANGE, LIMITS, spec={"limits": [limit]}))
    return found


def _local_queue(owner: Manifest, quota: Quota) -> list[Manifest]:
    """Return the LocalQueue by which the namespace's runs draw from the declared ClusterQueue."""
    if quota.local_queue is None:
        return []
    spec = {"clusterQueue": quota.cluster_queue}
    return [_child(owner, LOCAL_QUEUE, quota.local_queue, spec=spec)]
