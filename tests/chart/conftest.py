"""The chart, rendered by the real helm for several sets of values."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "modelyard"

VALUE_SETS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one-replica": {"replicas": 1, "log": {"format": "text", "level": "DEBUG"}},
    "named-namespaces": {"watchNamespaces": ["cells", "shop"], "rbac": {"aggregatedRoles": False}},
    "observed": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboards": {"enabled": True},
    },
    "requests": {
        "autoscaling": {
            "prometheusUrl": "http://prometheus.monitoring:9090",
            "idleRequestsQuery": 'sum(rate(seen{service="$service",host=~".*$$"}[1m]))',
        }
    },
    "opa": {"opa": {"enabled": True, "tokenSecret": {"name": "opa-token"}}},
    "everything-else": {
        "global": {"imageRegistry": "mirror.example:5000", "imagePullSecrets": ["pull"]},
        "fullnameOverride": "yard",
        "commonLabels": {"team": "platform"},
        "image": {"digest": "sha256:" + "a" * 64, "pullPolicy": "Always"},
        "artifactStore": {"uri": "s3://models/a", "credentialsSecret": "keys"},
        "serviceAccount": {"create": False, "name": "mine"},
        "crds": {"keep": False},
        "networkPolicy": {
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "extraEgress": [{"ports": [{"port": 9000, "protocol": "TCP"}]}],
        },
        "podAnnotations": {"a": "b"},
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "extraVolumes": [{"name": "store", "persistentVolumeClaim": {"claimName": "store"}}],
        "extraVolumeMounts": [{"name": "store", "mountPath": "/store"}],
    },
}

Render = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="session")
def helm() -> str:
    """Path of the helm binary; its tests are skipped where it cannot be built."""
    tool = [sys.executable, str(REPOSITORY / "tests/tools/helm.py")]
    found = subprocess.run(tool, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return found.stdout.strip()


@pytest.fixture(scope="session")
def render(helm: str) -> Render:
    """Return what the chart renders with values; fails with helm's message when it refuses."""

    def run(values: dict[str, Any]) -> str:
        done = subprocess.run(
            [helm, "template", "test", str(CHART), "--namespace", "modelyard", "--values", "-"],
            input=yaml.safe_dump(values),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ValueError(done.stderr)
        return done.stdout

    return run


def documents(text: str) -> list[dict[str, Any]]:
    """Return the objects in a stream of YAML."""
    return [entry for entry in yaml.safe_load_all(text) if entry]


@pytest.fixture(scope="session", params=VALUE_SETS.values(), ids=VALUE_SETS.keys())
def rendered(render: Render, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The objects of each set of values."""
    return documents(render(request.param))
