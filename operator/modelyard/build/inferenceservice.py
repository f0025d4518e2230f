"""KServe InferenceServices that serve a model."""

from __future__ import annotations

from typing import Any

from modelyard.api.deployment import DeploymentSpec
from modelyard.api.identity import canonical_json, digest
from modelyard.api.meta import MODEL_VERSION, SERVER_REVISION, SOURCE_REVISION
from modelyard.api.request_counts import NOT_COUNTED, RequestCounts
from modelyard.api.resources import INFERENCE_SERVICE
from modelyard.api.runtime import ServeConfig, SharedServeConfig
from modelyard.build.autoscaling import replicas
from modelyard.build.common import (
    Images,
    Manifest,
    config_variable,
    metadata,
    pod_fields,
    runtime_container,
)
from modelyard.build.pods import NO_NEEDS, PodNeeds

PORT = 8080
AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
_REVISION_DIGITS = 12


def inference_service(  # noqa: PLR0913, PLR0917 - all that varies between InferenceServices
    owner: Manifest,
    name: str,
    spec: DeploymentSpec,
    config: ServeConfig,
    secrets: list[Manifest],
    images: Images,
    needs: PodNeeds = NO_NEEDS,
    counts: RequestCounts = NOT_COUNTED,
) -> Manifest:
    """Return an InferenceService of a Deployment.

    The predictor is a custom container: it reads the model by itself, since KServe's storage
    initializer does not check the digest that the gate's verdict was about.

    Args:
        owner: The Deployment.
        name: Name of the InferenceService.
        spec: The Deployment's spec.
        config: What its servers are started with; the revision is set here.
        secrets: Environment variables whose values are keys of Secrets.
        images: The images that run.
        needs: What its pods ask for, and where they may run: no part of the revision but for
            what each asks for.
        counts: Where an autoscaler reads how many requests come.
    """
    env, revision = revised(config, secrets, images, needs)
    scaler, fields = replicas(owner, name, spec, counts)
    child = metadata(owner, name, "serve")
    annotations = child.setdefault("annotations", {})
    # KServe puts these on its pods: one that changed with each commit would restart them all.
    annotations.pop(SOURCE_REVISION, None)
    annotations |= {
        "serving.kserve.io/deploymentMode": "Standard",
        AUTOSCALER_CLASS: scaler,
        MODEL_VERSION: config.model_version,
        SERVER_REVISION: revision,
    }
    container = server_container(env, images, needs)
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": child,
        "spec": {"predictor": {**fields, "containers": [container], **pod_fields(), **needs.pod}},
    }


def revised(
    config: ServeConfig | SharedServeConfig,
    secrets: list[Manifest],
    images: Images,
    needs: PodNeeds,
) -> tuple[list[Manifest], str]:
    """Return the environment of model servers, and the revision that it tells them.

    The revision names all that makes other servers of them.
    """
    container = server_container([config_variable(config), *secrets], images, needs)
    revision = short_digest(container)
    told = config.model_copy(update={"revision": revision})
    return [config_variable(told), *secrets], revision


def short_digest(value: Any) -> str:
    """Return what names a value in revisions."""
    return digest(canonical_json(value)).removeprefix("sha256:")[:_REVISION_DIGITS]


def server_container(env: list[Manifest], images: Images, needs: PodNeeds) -> Manifest:
    """Return the container of a model server."""
    container = runtime_container("kserve-container", "serve", env, images)
    return container | {
        "args": ["--host", "0.0.0.0", "--port", str(PORT)],  # noqa: S104 - in its own pod
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": PORT}},
        # Why a server ended, a failed smoke test say, is read from what it printed last.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **needs.container,
    }
