"""What the operator may do, and what people may: the one source of the chart's RBAC.

A test records every call of a full reconcile and finds no rule missing here and none unused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from modelyard.api.kinds import KINDS
from modelyard.api.meta import GROUP
from modelyard.api.resources import OURS, TENANCY
from modelyard.build.shared import SHARED_MODELS

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")
_OURS = tuple(resource.plural for resource in OURS.values())
_HELD = tuple(kind.plural for kind in KINDS if "deletion_policy" in kind.spec.model_fields)
_OWNERS = ("projects", "datasets", "experiments", "deployments", "monitors")
_EDITED = ("datasets", "deployments", "experiments", "monitors")


@dataclass(frozen=True)
class Permission:
    """Verbs on resources of one API group; on all objects, or on named ones only."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()

    def rule(self) -> dict[str, Any]:
        """Return the rule of a Role or ClusterRole."""
        rule: dict[str, Any] = {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            "verbs": list(self.verbs),
        }
        return {**rule, "resourceNames": list(self.names)} if self.names else rule


def _tenancy() -> Iterable[Permission]:
    """What a Project makes of its namespace is listed, applied and pruned."""
    for group, resources in groupby(TENANCY, lambda resource: resource.api_version):
        plurals = tuple(resource.plural for resource in resources)
        yield Permission(group.rpartition("/")[0], plurals, ("list", "create", "patch", "delete"))


PEOPLE_ROLES = tuple(f"modelyard-{role}" for role in ("admin", "approver", "editor", "viewer"))

NAMESPACED: tuple[Permission, ...] = (
    Permission(GROUP, _OURS, READ),
    Permission(GROUP, tuple(f"{plural}/status" for plural in _OURS), ("patch",)),
    # The spec is git's: these are patched for their finalizers alone.
    Permission(GROUP, _HELD, ("patch",)),
    # Where owner references are enforced, blocking an owner's deletion takes this right.
    Permission(GROUP, tuple(f"{plural}/finalizers" for plural in _OWNERS), ("update",)),
    Permission(GROUP, ("modelversions",), ("create", "patch")),
    # Children are applied, which is a patch that may create.
    Permission("argoproj.io", ("workflows",), (*READ, "create", "patch", "delete")),
    Permission("argoproj.io", ("cronworkflows",), ("list", "watch", "create", "patch", "delete")),
    Permission("ray.io", ("rayjobs",), (*READ, "create", "patch", "delete")),
    Permission("serving.kserve.io", ("inferenceservices",), (*READ, "create", "patch", "delete")),
    # What KServe leaves behind of an autoscaler when replicas follow another measure.
    Permission("autoscaling", ("horizontalpodautoscalers",), ("get", "delete")),
    Permission("keda.sh", ("scaledobjects",), ("get", "delete")),
    Permission("", ("secrets",), ("get",)),
    # Which models the shared server of a namespace has; a new one has no name to be granted by.
    Permission("", ("configmaps",), ("create",)),
    Permission("", ("configmaps",), ("get", "update", "delete"), (SHARED_MODELS,)),
    Permission("gateway.networking.k8s.io", ("httproutes",), (*READ, "create", "patch", "delete")),
    # The same thing told again only counts up.
    Permission("", ("events",), ("get", "create", "update")),
    Permission("", ("pods",), ("list",)),
    # What Kueue says of runs that wait; their queue is looked for before they start.
    Permission("kueue.x-k8s.io", ("workloads",), ("list",)),
    Permission("kueue.x-k8s.io", ("localqueues",), ("get",)),
    *_tenancy(),
    # Nobody grants what they may not do themselves: what runs report to Argo, and people's roles.
    Permission("argoproj.io", ("workflowtaskresults",), ("create", "patch")),
    Permission("rbac.authorization.k8s.io", ("clusterroles",), ("bind",), PEOPLE_ROLES),
)
"""In every namespace that the operator watches. What is installed it asks discovery, which
everybody may read."""

DEFAULT: tuple[Permission, ...] = (
    Permission("discovery.k8s.io", ("endpointslices",), ("get",), ("kubernetes",)),
)
"""In the namespace `default`: where the API server is, for the NetworkPolicies of Projects."""

LEASE: tuple[Permission, ...] = (
    Permission("coordination.k8s.io", ("leases",), ("get", "create", "update")),
)
"""In the operator's own namespace: electing the replica that leads."""

VIEWER: tuple[Permission, ...] = (Permission(GROUP, _OURS, READ),)
EDITOR: tuple[Permission, ...] = (*VIEWER, Permission(GROUP, _EDITED, WRITE))
ADMIN: tuple[Permission, ...] = (*VIEWER, Permission(GROUP, _OURS, WRITE))
APPROVER: tuple[Permission, ...] = (*VIEWER, Permission(GROUP, ("modelversions",), ("patch",)))


def rules(permissions: Iterable[Permission]) -> list[dict[str, Any]]:
    """Return the rules of a Role or ClusterRole."""
    return [permission.rule() for permission in permissions]


def operator_rules() -> dict[str, list[dict[str, Any]]]:
    """Return the operator's rules by where they hold."""
    return {
        "namespaced": rules(NAMESPACED),
        "default": rules(DEFAULT),
        "lease": rules(LEASE),
    }


def people_rules() -> dict[str, list[dict[str, Any]]]:
    """Return the rules of people by the name of their role."""
    return {
        "admin": rules(ADMIN),
        "approver": rules(APPROVER),
        "editor": rules(EDITOR),
        "viewer": rules(VIEWER),
    }
