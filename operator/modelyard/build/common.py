"""What all children share: metadata, labels, environment, the container of a runtime."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from modelyard.api.meta import API_VERSION, GROUP, SOURCE_REVISION, Model
from modelyard.api.runtime import CONFIG_VARIABLE

CODE_VERSION = version("modelyard")
KIND_LABEL = f"{GROUP}/kind"
NAME_LABEL = f"{GROUP}/name"
IDENTITY_LABEL = f"{GROUP}/run"
PLACEMENT_LABEL = f"{GROUP}/placement"
"""Label of what several Deployments have together: `Shared`."""
AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

SCRATCH = "scratch"
Runtime = Literal["dataset", "train", "serve", "monitor", "batch"]
_RESOURCES: dict[Runtime, tuple[str, str, str, str]] = {
    "dataset": ("250m", "512Mi", "1", "2Gi"),
    "train": ("500m", "1Gi", "4", "6Gi"),
    "serve": ("250m", "256Mi", "1", "1Gi"),
    "monitor": ("100m", "256Mi", "1", "1Gi"),
    "batch": ("500m", "1Gi", "2", "2Gi"),
}
"""What a runtime's container asks for where its object says nothing: requested CPU and memory, and
their limits. A namespace with a quota takes no pod that leaves one out."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Images:
    """The images that children run, and when a node pulls them."""

    runtime: str = f"modelyard/runtime:{CODE_VERSION}"
    ray: str = f"modelyard/ray:{CODE_VERSION}"
    pull_policy: str = "IfNotPresent"


DEFAULT_IMAGES = Images()


def metadata(owner: Manifest, name: str, component: str) -> Manifest:
    """Return the metadata of a child: labels, the commit it comes from, and its one owner."""
    meta = owner["metadata"]
    result: Manifest = {
        "name": name,
        "namespace": meta["namespace"],
        "labels": {
            **component_labels(component),
            "app.kubernetes.io/instance": meta["name"][:63],
            KIND_LABEL: owner["kind"],
            NAME_LABEL: meta["name"],
        },
        "ownerReferences": [owner_reference(owner)],
    }
    revision = (meta.get("annotations") or {}).get(SOURCE_REVISION)
    if revision:
        result["annotations"] = {SOURCE_REVISION: revision}
    return result


def component_labels(component: str) -> dict[str, str]:
    """Return the labels of what runs a component, whosever it is."""
    return {
        "app.kubernetes.io/name": component,
        "app.kubernetes.io/version": CODE_VERSION,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "modelyard",
        "app.kubernetes.io/managed-by": "modelyard-operator",
    }


def belongs_to(child: Manifest, owner: Manifest) -> bool:
    """Return whether an object is a child of another one, by its owner references."""
    references = child["metadata"].get("ownerReferences") or []
    return owner["metadata"]["uid"] in [reference["uid"] for reference in references]


def is_child_of_one(child: Manifest, owner: Manifest) -> bool:
    """Return whether an object is a child of another one alone."""
    return belongs_to(child, owner) and not is_shared(child)


def is_shared(child: Manifest) -> bool:
    """Return whether an object is what several Deployments have together."""
    return (child["metadata"].get("labels") or {}).get(PLACEMENT_LABEL) == "Shared"


def owner_reference(owner: Manifest) -> Manifest:
    """Return the reference by which a child is deleted together with its owner."""
    return {**shared_owner_reference(owner), "controller": True, "blockOwnerDeletion": True}


def shared_owner_reference(owner: Manifest) -> Manifest:
    """Return the reference by which a child is deleted with the last of its owners."""
    return {
        "apiVersion": API_VERSION,
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }


def config_variable(config: Model) -> Manifest:
    """Return the environment variable that carries a runtime's configuration.

    Kubernetes expands `$(NAME)` in values of variables and Argo `{{name}}`; within JSON both only
    stand in texts, so they are written as escapes and arrive as they were.
    """
    text = config.model_dump_json(by_alias=True, exclude_none=True)
    text = text.replace("$", "\\u0024").replace("{{", "\\u007b\\u007b")
    return {"name": CONFIG_VARIABLE, "value": text}


def secret_variable(name: str, secret: str, key: str) -> Manifest:
    """Return an environment variable whose value is a key of a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def store_variables(secret: str | None, prefix: str = "") -> list[Manifest]:
    """Return the variables with the credentials of a store's connection; none without a Secret."""
    if secret is None:
        return []
    return [secret_variable(prefix + key, secret, key) for key in AWS_KEYS]


def runtime_container(name: str, runtime: Runtime, env: list[Manifest], images: Images) -> Manifest:
    """Return the container that runs a runtime, under the restricted Pod Security profile."""
    return {
        "name": name,
        "image": images.runtime,
        "imagePullPolicy": images.pull_policy,
        "command": ["python", "-m", f"modelyard_runtimes.{runtime}"],
        "env": env,
        "resources": resources(*_RESOURCES[runtime]),
        "securityContext": container_security(),
        "volumeMounts": [{"name": SCRATCH, "mountPath": "/tmp"}],  # noqa: S108 - in its own pod
    }


def container_security() -> Manifest:
    """Return the security context of a container under the restricted Pod Security profile."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def pod_fields() -> Manifest:
    """Return what the pod of a runtime's container has besides: the room that it writes to.

    Security is said here again for the containers that a backend adds.
    """
    return {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": SCRATCH, "emptyDir": {}}],
    }


def resources(cpu: str, memory: str, most_cpu: str, most_memory: str) -> Manifest:
    """Return the requests and limits of a container."""
    return {
        "requests": {"cpu": cpu, "memory": memory},
        "limits": {"cpu": most_cpu, "memory": most_memory},
    }
