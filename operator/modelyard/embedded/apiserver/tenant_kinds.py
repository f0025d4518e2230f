"""The built-in kinds that make a namespace a tenant. They are stored and shown; they bind nobody.

This server has one user and one machine. Who applies them here sees what a cluster would enforce.
"""

from collections.abc import Mapping
from typing import Any

from modelyard.embedded.apiserver.errors import Object
from modelyard.embedded.apiserver.jsonpath import JsonPath
from modelyard.embedded.apiserver.meta_schema import (
    anything,
    array_of,
    integer,
    map_of,
    rooted,
    string,
    struct,
)
from modelyard.embedded.apiserver.resources import Column, Resource

UNENFORCED = "This server stores it and enforces nothing."
RBAC = "rbac.authorization.k8s.io"
_QUANTITY: Object = {"x-kubernetes-int-or-string": True, "description": "An amount."}
_QUANTITIES = map_of(_QUANTITY, "Amounts by resource.")
_AGE = Column("Age", "date", JsonPath(".metadata.creationTimestamp").first)
_CREATED = Column("Created At", "string", JsonPath(".metadata.creationTimestamp").first)


def _texts(description: str) -> Object:
    return array_of(string(), description)


_SELECTOR = struct(
    {
        "matchLabels": map_of(string(), "Labels that must all be there."),
        "matchExpressions": array_of(
            struct(
                {
                    "key": string("Key of the label."),
                    "operator": string("In, NotIn, Exists or DoesNotExist."),
                    "values": _texts("Values to compare with."),
                },
                "A requirement.",
                required=["key", "operator"],
            ),
            "Requirements that must all hold.",
        ),
    },
    "Selects by labels; an empty one selects everything.",
    **{"x-kubernetes-map-type": "atomic"},
)
_PORTS = array_of(
    struct(
        {
            "protocol": string("TCP, UDP or SCTP.", default="TCP"),
            "port": {"x-kubernetes-int-or-string": True, "description": "Number or name."},
            "endPort": integer("Last port of a range."),
        },
        "A port.",
    ),
    "Ports; all when unset.",
)
_PEERS = array_of(
    struct(
        {
            "podSelector": _SELECTOR,
            "namespaceSelector": _SELECTOR,
            "ipBlock": struct(
                {"cidr": string("A range of addresses."), "except": _texts("Ranges left out.")},
                "Addresses.",
                required=["cidr"],
            ),
        },
        "A peer.",
    ),
    "Peers; everybody when unset.",
)
_ROLE_REFERENCE = struct(
    {
        "apiGroup": string("Group of the role.", default=RBAC),
        "kind": string("Role or ClusterRole."),
        "name": string("Name of the role."),
    },
    "The role that is granted; it cannot change.",
    required=["kind", "name"],
    **{
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-validations": [
            {"rule": "self == oldSelf", "message": "cannot change roleRef"}
        ],
    },
)


def _resource(
    group: str, plural: str, kind: str, properties: Object, description: str, **more: Any
) -> Resource:
    return Resource(
        group=group,
        version="v1",
        plural=plural,
        singular=kind.lower(),
        kind=kind,
        namespaced=True,
        schema=rooted(struct(properties, f"{description} {UNENFORCED}", **more.pop("schema", {}))),
        storage=f"{plural}.{group}" if group else plural,
        **more,
    )


def _hard(item: Object) -> str:
    amounts: Mapping[str, Any] = item.get("spec", {}).get("hard") or {}
    return ", ".join(f"{name}: {amounts[name]}" for name in sorted(amounts))


def _role(item: Object) -> str:
    reference = item.get("roleRef") or {}
    return f"{reference.get('kind')}/{reference.get('name')}"


def _pod_selector(item: Object) -> str:
    selector = item.get("spec", {}).get("podSelector") or {}
    labels = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    labels += [
        f"{entry['key']} {entry['operator'].lower()} {','.join(entry.get('values') or ())}".strip()
        for entry in selector.get("matchExpressions") or ()
    ]
    return ",".join(labels) or "<none>"


TENANT_KINDS = (
    _resource(
        "",
        "resourcequotas",
        "ResourceQuota",
        {
            "spec": struct(
                {
                    "hard": _QUANTITIES,
                    "scopes": _texts("Which pods count."),
                    "scopeSelector": anything("Which pods count."),
                },
                "The desired limits.",
            ),
            "status": struct(
                {"hard": _QUANTITIES, "used": _QUANTITIES}, "What is enforced and used."
            ),
        },
        "The most that a namespace may use.",
        short_names=("quota",),
        status=True,
        columns=(Column("Limit", "string", _hard), _AGE),
    ),
    _resource(
        "",
        "limitranges",
        "LimitRange",
        {
            "spec": struct(
                {
                    "limits": array_of(
                        struct(
                            {
                                "type": string("Container, Pod or PersistentVolumeClaim."),
                                "default": _QUANTITIES,
                                "defaultRequest": _QUANTITIES,
                                "max": _QUANTITIES,
                                "min": _QUANTITIES,
                                "maxLimitRequestRatio": _QUANTITIES,
                            },
                            "Limits of one type.",
                            required=["type"],
                        ),
                        "Limits by type.",
                    )
                },
                "The desired limits.",
                required=["limits"],
            )
        },
        "Limits and defaults of single pods and containers.",
        short_names=("limits",),
        columns=(_CREATED,),
    ),
    _resource(
        RBAC,
        "roles",
        "Role",
        {
            "rules": array_of(
                struct(
                    {
                        "verbs": _texts("What may be done."),
                        "apiGroups": _texts("Groups of the resources."),
                        "resources": _texts("Resources; a subresource follows a slash."),
                        "resourceNames": _texts("Names that may be touched; all when unset."),
                    },
                    "Verbs on resources.",
                    required=["verbs"],
                ),
                "What the role allows.",
            )
        },
        "Rights in a namespace.",
        columns=(_CREATED,),
    ),
    _resource(
        RBAC,
        "rolebindings",
        "RoleBinding",
        {
            "subjects": array_of(
                struct(
                    {
                        "kind": string("User, Group or ServiceAccount."),
                        "apiGroup": string("Group of the subject."),
                        "name": string("Name of the subject."),
                        "namespace": string("Namespace of a ServiceAccount."),
                    },
                    "Who gets the role.",
                    required=["kind", "name"],
                    **{"x-kubernetes-map-type": "atomic"},
                ),
                "Those who get the role.",
            ),
            "roleRef": _ROLE_REFERENCE,
        },
        "Grants a role in a namespace.",
        schema={"required": ["roleRef"]},
        columns=(Column("Role", "string", _role), _AGE),
    ),
    _resource(
        "networking.k8s.io",
        "networkpolicies",
        "NetworkPolicy",
        {
            "spec": struct(
                {
                    "podSelector": _SELECTOR,
                    "policyTypes": _texts("Ingress, Egress or both."),
                    "ingress": array_of(
                        struct({"from": _PEERS, "ports": _PORTS}, "Who may call."),
                        "Who may call the pods.",
                    ),
                    "egress": array_of(
                        struct({"to": _PEERS, "ports": _PORTS}, "Whom they may call."),
                        "Whom the pods may call.",
                    ),
                },
                "The desired isolation.",
            )
        },
        "Which traffic pods may have.",
        short_names=("netpol",),
        counts_generation=True,
        columns=(Column("Pod-Selector", "string", _pod_selector), _AGE),
    ),
)
