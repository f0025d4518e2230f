"""KServe InferenceServices that serve a model."""

from __future__ import annotations

from modelyard.api.resources import INFERENCE_SERVICE
from modelyard.build.common import Manifest, metadata, runtime_container

PORT = 8080


def inference_service(owner: Manifest, env: list[Manifest]) -> Manifest:
    """Return the InferenceService of a Deployment, under the Deployment's name.

    The predictor is a custom container: it reads the model by itself, since KServe's storage
    initializer does not check the digest that the gate's verdict was about.
    """
    container = runtime_container("kserve-container", "serve", env)
    container["args"] = ["--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104 - in its own pod
    container["ports"] = [{"containerPort": PORT, "protocol": "TCP"}]
    container["readinessProbe"] = {"httpGet": {"path": "/v2/health/ready", "port": PORT}}
    child = metadata(owner, owner["metadata"]["name"], "serve")
    child.setdefault("annotations", {})["serving.kserve.io/deploymentMode"] = "Standard"
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": child,
        "spec": {"predictor": {"containers": [container]}},
    }
