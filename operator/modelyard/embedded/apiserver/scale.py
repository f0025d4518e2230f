"""The scale subresource: `autoscaling/v1` Scale over an object's own fields."""

from typing import Any

from modelyard.embedded.apiserver.errors import Object, bad_request
from modelyard.embedded.apiserver.jsonpath import JsonPath
from modelyard.embedded.apiserver.resources import Scale


def of(declared: Scale, item: Object) -> Object:
    """The Scale of an object."""
    metadata = item["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Object = {"replicas": JsonPath(declared.ready).first(item) or 0}
    if declared.selector:
        status["selector"] = JsonPath(declared.selector).first(item) or ""
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": JsonPath(declared.replicas).first(item) or 0},
        "status": status,
    }


def scaled(declared: Scale, item: Object, wanted: Any) -> Object:
    """The object with the number of replicas that a Scale asks for, in place.

    Raises:
        ApiError: 400 if the Scale holds no such number.
    """
    replicas = (wanted.get("spec") or {}).get("replicas") if isinstance(wanted, dict) else None
    if not isinstance(replicas, int) or replicas < 0:
        raise bad_request("spec.replicas must be a number of at least 0")
    *parents, last = declared.replicas.lstrip(".").split(".")
    node = item
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = replicas
    version = (wanted.get("metadata") or {}).get("resourceVersion")
    if version:
        item["metadata"]["resourceVersion"] = version
    return item
