"""What all children share: metadata, labels, environment, the container of a runtime."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from modelyard.api.meta import API_VERSION, GROUP, SOURCE_REVISION, Model
from modelyard.api.runtime import CONFIG_VARIABLE

CODE_VERSION = version("modelyard")
IMAGE = f"modelyard/runtime:{CODE_VERSION}"
KIND_LABEL = f"{GROUP}/kind"
NAME_LABEL = f"{GROUP}/name"
IDENTITY_LABEL = f"{GROUP}/run"
AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

Manifest = dict[str, Any]


def metadata(owner: Manifest, name: str, component: str) -> Manifest:
    """Return the metadata of a child: labels, the commit it comes from, and its one owner."""
    meta = owner["metadata"]
    result: Manifest = {
        "name": name,
        "namespace": meta["namespace"],
        "labels": {
            "app.kubernetes.io/name": component,
            "app.kubernetes.io/instance": meta["name"][:63],
            "app.kubernetes.io/version": CODE_VERSION,
            "app.kubernetes.io/component": component,
            "app.kubernetes.io/part-of": "modelyard",
            "app.kubernetes.io/managed-by": "modelyard-operator",
            KIND_LABEL: owner["kind"],
            NAME_LABEL: meta["name"],
        },
        "ownerReferences": [owner_reference(owner)],
    }
    revision = (meta.get("annotations") or {}).get(SOURCE_REVISION)
    if revision:
        result["annotations"] = {SOURCE_REVISION: revision}
    return result


def owner_reference(owner: Manifest) -> Manifest:
    """Return the reference by which a child is deleted together with its owner."""
    return {
        "apiVersion": API_VERSION,
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
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


def runtime_container(name: str, runtime: str, env: list[Manifest]) -> Manifest:
    """Return the container that runs a runtime, under the restricted Pod Security profile."""
    return {
        "name": name,
        "image": IMAGE,
        "command": ["python", "-m", f"modelyard_runtimes.{runtime}"],
        "env": env,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
