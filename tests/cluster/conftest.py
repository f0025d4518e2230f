"""The operator on a real cluster: $KUBECONFIG, and the images that values name.

`$MODELYARD_CLUSTER_VALUES` is a file of values for the chart: the images as the cluster has them.
`$MODELYARD_CLUSTER_STORE` is an S3 endpoint with a bucket `models` that pods reach.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
NAMESPACE = "modelyard-test"


class Kubernetes:
    """kubectl and helm against the cluster."""

    def __init__(self, helm: str) -> None:
        self._helm = helm

    def kubectl(self, *words: str, manifest: dict[str, Any] | None = None) -> str:
        """Return what kubectl prints; fail with what it says."""
        program = str(Path(sys.executable).parent / "kubectl")
        return self._run([program, *words], json.dumps(manifest) if manifest else None)

    def helm(self, *words: str) -> str:
        """Return what helm prints; fail with what it says."""
        return self._run([self._helm, *words])

    def get(self, namespace: str, kind: str, name: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(
            self.kubectl("-n", namespace, "get", kind, name, "-o", "json")
        )
        return found

    def ready(self, namespace: str, kind: str, name: str, seconds: float) -> dict[str, Any]:
        """Return an object once it is Ready; fail with its condition."""
        end, condition = time.monotonic() + seconds, {}
        while time.monotonic() < end:
            found = self.get(namespace, kind, name)
            conditions = (found.get("status") or {}).get("conditions") or []
            condition = next((c for c in conditions if c["type"] == "Ready"), {})
            if condition.get("status") == "True":
                return found
            time.sleep(2)
        raise AssertionError(f"{kind}/{name}: {condition}")

    @staticmethod
    def _run(command: list[str], text: str | None = None) -> str:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def cluster() -> Kubernetes:
    """The cluster; its tests skip where none is named."""
    for variable in ("KUBECONFIG", "MODELYARD_CLUSTER_VALUES", "MODELYARD_CLUSTER_STORE"):
        if variable not in os.environ:
            pytest.skip(f"no cluster: ${variable} is not set, see tests/cluster/conftest.py")
    tool = [sys.executable, str(REPOSITORY / "tests/tools/helm.py")]
    found = subprocess.run(tool, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return Kubernetes(found.stdout.strip())


@pytest.fixture(scope="session")
def operator(cluster: Kubernetes) -> Iterator[str]:
    """The namespace of the operator, installed by the chart."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": NAMESPACE, "labels": labels}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    cluster.kubectl("apply", "-f", "-", manifest=namespace)
    values = os.environ["MODELYARD_CLUSTER_VALUES"]
    chart = str(REPOSITORY / "charts/modelyard")
    cluster.helm(
        *("upgrade", "--install", "modelyard", chart, "--namespace", NAMESPACE),
        *("--values", values, "--wait", "--timeout", "60s"),
    )
    yield NAMESPACE
    cluster.helm("uninstall", "modelyard", "--namespace", NAMESPACE)
