"""The resources that are built in: what kubectl, kopf and an operator take for granted."""

import base64
from typing import Any

from modelyard.embedded.apiserver import events
from modelyard.embedded.apiserver.crd_schema import CRD_RESOURCE
from modelyard.embedded.apiserver.errors import Object
from modelyard.embedded.apiserver.jsonpath import JsonPath
from modelyard.embedded.apiserver.meta_schema import (
    anything,
    array_of,
    boolean,
    integer,
    map_of,
    rooted,
    string,
    struct,
)
from modelyard.embedded.apiserver.resources import Column, Resource
from modelyard.embedded.apiserver.tenant_kinds import TENANT_KINDS

NAMESPACES = "namespaces"
_IMMUTABLE = {
    "rule": "!has(oldSelf.immutable) || !oldSelf.immutable ||"
    " (has(self.immutable) && self.immutable && has(self.data) == has(oldSelf.data)"
    " && (!has(self.data) || self.data == oldSelf.data))",
    "message": "data and immutable cannot change once `immutable` is set",
    "reason": "FieldValueForbidden",
}


def path(source: str) -> Any:
    """A column's cell: the first value at a JSONPath."""
    return JsonPath(source).first


AGE = Column("Age", "date", path(".metadata.creationTimestamp"))


def _prepare_namespace(body: Object, old: Object | None) -> None:
    labels = body["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = body["metadata"]["name"]
    if old is None:
        body["spec"] = {"finalizers": ["kubernetes"]}
    deleting = "deletionTimestamp" in body["metadata"]
    body["status"] = {**body.get("status", {}), "phase": "Terminating" if deleting else "Active"}


def _prepare_secret(body: Object, old: Object | None) -> None:
    plain = body.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        body["data"] = {**(body.get("data") or {}), **encoded}
    body.setdefault("type", "Opaque")


def _ready(item: Object) -> str:
    wanted = item.get("spec", {}).get("replicas", 1)
    return f"{item.get('status', {}).get('readyReplicas', 0)}/{wanted}"


def _containers_ready(item: Object) -> str:
    statuses = item.get("status", {}).get("containerStatuses") or []
    total = len(item.get("spec", {}).get("containers") or [])
    return f"{sum(1 for status in statuses if status.get('ready'))}/{total}"


def _restarts(item: Object) -> int:
    statuses = item.get("status", {}).get("containerStatuses") or []
    return sum(status.get("restartCount", 0) for status in statuses)


def _ports(item: Object) -> str:
    ports = item.get("spec", {}).get("ports") or []
    return ",".join(f"{port.get('port')}/{port.get('protocol', 'TCP')}" for port in ports)


def _pod_spec() -> Object:
    containers = array_of(
        {**anything("A container."), "properties": {"name": string("Name of the container.")}},
        "The containers of the pod.",
        **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    return {**anything("What the pod runs."), "properties": {"containers": containers}}


def _core(plural: str, kind: str, schema: Object, **more: Any) -> Resource:
    return _builtin("", "v1", plural, kind, schema, **more)


def _builtin(
    group: str, version: str, plural: str, kind: str, schema: Object, **more: Any
) -> Resource:
    more.setdefault("namespaced", True)
    more.setdefault("singular", kind.lower())
    more.setdefault("storage", f"{plural}.{group}" if group else plural)
    return Resource(
        group=group, version=version, plural=plural, kind=kind, schema=rooted(schema), **more
    )


def _data_schema(description: str, value: Object, **more: Object) -> Object:
    properties = {
        "data": map_of(value, "The data, by key."),
        "immutable": boolean("Whether the data can no longer change."),
        **more,
    }
    return {**struct(properties, description), "x-kubernetes-validations": [_IMMUTABLE]}


_CONDITIONS = array_of(
    anything("A condition."),
    "What is known of the object's state.",
    **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
)
_STATUS = {**anything("The observed state."), "properties": {"conditions": _CONDITIONS}}


def _workload(description: str, spec: Object) -> Object:
    return struct({"spec": spec, "status": _STATUS}, description)


BUILTIN: tuple[Resource, ...] = (
    _core(
        NAMESPACES,
        "Namespace",
        _workload("A scope for names.", anything("The desired state.")),
        namespaced=False,
        short_names=("ns",),
        status=True,
        prepare=_prepare_namespace,
        fields={"status.phase": JsonPath(".status.phase")},
        columns=(Column("Status", "string", path(".status.phase")), AGE),
    ),
    _core(
        "configmaps",
        "ConfigMap",
        _data_schema(
            "Configuration data for programs to read.",
            string(),
            binaryData=map_of(string(format="byte"), "Binary data, by key, in base64."),
        ),
        short_names=("cm",),
        columns=(
            Column(
                "Data",
                "integer",
                lambda item: len(item.get("data") or ()) + len(item.get("binaryData") or ()),
            ),
            AGE,
        ),
    ),
    _core(
        "secrets",
        "Secret",
        _data_schema(
            "Secret data of a certain type.",
            string(format="byte"),
            stringData=map_of(string(), "Data as plain text; written, never read."),
            type=string("What the secret is for."),
        ),
        prepare=_prepare_secret,
        fields={"type": JsonPath(".type")},
        columns=(
            Column("Type", "string", path(".type")),
            Column("Data", "integer", lambda item: len(item.get("data") or ())),
            AGE,
        ),
    ),
    _core(
        "serviceaccounts",
        "ServiceAccount",
        struct(
            {
                "automountServiceAccountToken": boolean("Whether pods get a token."),
                "secrets": array_of(anything(), "Secrets that pods may use."),
                "imagePullSecrets": array_of(anything(), "Secrets to pull images with."),
            },
            "An identity for processes.",
        ),
        short_names=("sa",),
        columns=(Column("Secrets", "integer", lambda item: len(item.get("secrets") or ())), AGE),
    ),
    _core(
        "services",
        "Service",
        _workload("A name for a set of endpoints.", anything("The desired state.")),
        short_names=("svc",),
        status=True,
        columns=(
            Column("Type", "string", path(".spec.type")),
            Column("Cluster-IP", "string", path(".spec.clusterIP")),
            Column("Port(s)", "string", _ports),
            AGE,
        ),
    ),
    _core(
        "pods",
        "Pod",
        _workload("A set of containers that run together.", _pod_spec()),
        short_names=("po",),
        categories=("all",),
        status=True,
        fields={
            "status.phase": JsonPath(".status.phase"),
            "spec.nodeName": JsonPath(".spec.nodeName"),
        },
        columns=(
            Column("Ready", "string", _containers_ready),
            Column("Status", "string", path(".status.phase")),
            Column("Restarts", "integer", _restarts),
            AGE,
        ),
    ),
    _core("events", "Event", events.CORE_SCHEMA, **events.CORE),
    _builtin("events.k8s.io", "v1", "events", "Event", events.SCHEMA, **events.REPORTED),
    _builtin(
        "coordination.k8s.io",
        "v1",
        "leases",
        "Lease",
        struct(
            {
                "spec": struct(
                    {
                        "holderIdentity": string("Who holds the lease."),
                        "leaseDurationSeconds": integer("How long it holds unrenewed."),
                        "acquireTime": string("When it was acquired.", nullable=True),
                        "renewTime": string("When it was last renewed.", nullable=True),
                        "leaseTransitions": integer("How often the holder changed."),
                        "strategy": string("How a new holder is chosen."),
                        "preferredHolder": string("Who should hold it next."),
                    },
                    "The desired state.",
                )
            },
            "A claim that one of several candidates holds for a time.",
        ),
        columns=(Column("Holder", "string", path(".spec.holderIdentity")), AGE),
    ),
    _builtin(
        "apps",
        "v1",
        "deployments",
        "Deployment",
        _workload(
            "Pods that are kept running and updated. This server stores them; nothing runs them.",
            {
                **anything("The desired state."),
                "properties": {
                    "replicas": {"type": "integer", "default": 1},
                    "template": {
                        **anything("The pods to create."),
                        "properties": {"spec": _pod_spec()},
                    },
                },
            },
        ),
        short_names=("deploy",),
        categories=("all",),
        status=True,
        counts_generation=True,
        columns=(
            Column("Ready", "string", _ready),
            Column("Up-to-date", "integer", path(".status.updatedReplicas")),
            Column("Available", "integer", path(".status.availableReplicas")),
            AGE,
        ),
    ),
    *TENANT_KINDS,
    CRD_RESOURCE,
)
