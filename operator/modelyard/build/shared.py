"""The server that all Deployments with placement.server Shared of a namespace have together.

Which models it has stands in a ConfigMap, an entry for each Deployment, that is mounted into it. So
its pod stays as it is when a model comes, changes or goes. Both children are owned by all of these
Deployments, and go with the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from modelyard.api.identity import canonical_json
from modelyard.api.meta import SERVER_REVISION
from modelyard.api.project import SharedServing
from modelyard.api.quantity import amount
from modelyard.api.resources import CONFIG_MAP, INFERENCE_SERVICE
from modelyard.api.runtime import (
    MODEL_CONFIG_SUFFIX,
    ServeConfig,
    SharedServeConfig,
    StoreConfig,
)
from modelyard.build.common import (
    PLACEMENT_LABEL,
    Images,
    Manifest,
    component_labels,
    pod_fields,
    resources,
    shared_owner_reference,
)
from modelyard.build.inferenceservice import (
    AUTOSCALER_CLASS,
    revised,
    server_container,
    short_digest,
)
from modelyard.build.pods import PodNeeds

SHARED_MODELS = "shared-models"
"""Name of the InferenceService and of the ConfigMap."""
MODELS_FOLDER = "/etc/modelyard/models"
_MIB = 2**20
_REQUESTED_MIB = 256
"""What the server itself asks for, as a dedicated one does; its models come on top."""
_MOST_MIB = 1024


def entry(config: ServeConfig) -> ServeConfig:
    """Return the configuration of a model with the revision that names all of it."""
    bare = config.model_copy(update={"revision": ""})
    return bare.model_copy(update={"revision": short_digest(bare.to_json())})


def entry_of(config_map: Manifest | None, name: str) -> ServeConfig | None:
    """Return the entry of a Deployment; None where there is none."""
    text = ((config_map or {}).get("data") or {}).get(f"{name}{MODEL_CONFIG_SUFFIX}")
    return ServeConfig.model_validate_json(text) if text else None


def config_map(
    current: Manifest | None,
    owner: Manifest,
    config: ServeConfig | None,
    deployments: Iterable[Manifest],
) -> Manifest | None:
    """Return the ConfigMap with the entry of one Deployment as it is to be; None without entries.

    Entries of Deployments that are gone are left out. One that is no longer Shared keeps its own
    until it takes it out itself, since it is served by it.

    Args:
        current: The ConfigMap as it is.
        owner: The Deployment.
        config: Its entry; none is left when unset.
        deployments: All of the namespace.
    """
    name = owner["metadata"]["name"]
    known = {one["metadata"]["name"]: one for one in deployments} | {name: owner}
    metadata = dict(
        (current or {}).get("metadata") or {"namespace": owner["metadata"]["namespace"]}
    )
    owned_by = {reference["uid"] for reference in metadata.get("ownerReferences") or []}
    kept = {
        of: text
        for key, text in ((current or {}).get("data") or {}).items()
        if (of := key.removesuffix(MODEL_CONFIG_SUFFIX)) != name
        and of in known
        and _has_entry(known[of], owned_by)
    }
    if config is not None:
        kept[name] = canonical_json(config.to_json()).decode()
    if not kept:
        return None
    metadata |= {
        "name": SHARED_MODELS,
        "labels": (metadata.get("labels") or {}) | _labels(),
        "ownerReferences": [shared_owner_reference(known[of]) for of in sorted(kept)],
    }
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": metadata,
        "data": {f"{of}{MODEL_CONFIG_SUFFIX}": kept[of] for of in sorted(kept)},
    }


def _has_entry(deployment: Manifest, owned_by: set[str]) -> bool:
    """Return whether an entry is that of a Deployment, and not of an earlier one of its name."""
    metadata = deployment["metadata"]
    if metadata.get("deletionTimestamp"):
        return False
    return asks_for_shared(deployment) or metadata["uid"] in owned_by


def asks_for_shared(deployment: Mapping[str, Any]) -> bool:
    """Return whether a Deployment is to be served by the shared server."""
    placement = (deployment.get("spec") or {}).get("placement") or {}
    return bool(placement.get("server") == "Shared")


def shared_inference_service(  # noqa: PLR0913, PLR0917 - all that varies between them
    namespace: str,
    owners: list[Manifest],
    serving: SharedServing,
    store: StoreConfig,
    secrets: list[Manifest],
    images: Images,
    needs: PodNeeds,
) -> Manifest:
    """Return the InferenceService of a namespace.

    Args:
        namespace: The namespace.
        owners: References to the Deployments that have an entry.
        serving: What the Project says of it.
        store: The Project's artifact store.
        secrets: Environment variables whose values are keys of Secrets.
        images: The images that run.
        needs: On which nodes it may run.
    """
    memory = int(amount(serving.memory))
    config = SharedServeConfig(namespace=namespace, memory=memory, store=store)
    needs = replace(needs, container={"resources": _resources(memory)})
    env, revision = revised(config, secrets, images, needs)
    container = server_container(env, images, needs)
    container["args"] += ["--models-folder", MODELS_FOLDER]
    mount = {"name": "models", "mountPath": MODELS_FOLDER, "readOnly": True}
    container["volumeMounts"] = [*container["volumeMounts"], mount]
    pod = pod_fields()
    pod["volumes"] = [*pod["volumes"], {"name": "models", "configMap": {"name": SHARED_MODELS}}]
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": {
            "name": SHARED_MODELS,
            "namespace": namespace,
            "labels": _labels(),
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                AUTOSCALER_CLASS: "none",
                SERVER_REVISION: revision,
            },
            "ownerReferences": owners,
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": 1,
                "containers": [container],
                **pod,
                **needs.pod,
            }
        },
    }


def _labels() -> dict[str, str]:
    return {**component_labels("serve"), PLACEMENT_LABEL: "Shared"}


def _resources(memory: int) -> Manifest:
    mib = -(-memory // _MIB)
    return resources("250m", f"{mib + _REQUESTED_MIB}Mi", "2", f"{mib + _MOST_MIB}Mi")
