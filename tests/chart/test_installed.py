"""The chart on a real API server: an upgrade renews the definitions, and objects outlive it all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.conftest import KUBECONFIG, Cluster, manifest

from .conftest import CHART

SPACE = "release"
DEFINITION = "policies.modelyard.dev"
RULE = {"name": "named", "path": "modelVersion.metadata.name", "operator": "Exists", "value": True}


@pytest.fixture
def server(tmp_path: Path) -> Cluster:
    if KUBECONFIG is None:
        pytest.skip("no real API server is given; `make conformance` starts one")
    found = Cluster(tmp_path, Path(KUBECONFIG))
    found.kubectl("create", "namespace", SPACE)
    return found


@pytest.fixture
def release(server: Cluster, helm: str) -> Iterator[Callable[..., None]]:
    """Runs helm on the release `yard`, which is gone in the end."""

    def run(*words: str) -> None:
        environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
        command = [helm, *words, "--namespace", SPACE]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    yield run
    run("uninstall", "yard", "--ignore-not-found")


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The chart as an earlier version would be: Policies have no description yet."""
    chart = tmp_path / "earlier"
    shutil.copytree(CHART, chart)
    for path, change in (
        (chart / "Chart.yaml", lambda found: found.update(version="0.0.9")),
        (
            chart / "files" / "crds" / "policies.yaml",
            lambda found: fields(found).pop("description"),
        ),
    ):
        document = yaml.safe_load(path.read_text())
        change(document)
        path.write_text(yaml.safe_dump(document))
    return chart


def fields(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the spec of a kind."""
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: dict[str, Any] = schema["properties"]["spec"]["properties"]
    return found


def test_an_upgrade_renews_the_definitions_and_objects_outlive_the_release(
    server: Cluster, release: Callable[..., None], earlier: Path
) -> None:
    def known() -> bool:
        found = json.loads(server.kubectl("get", "crd", DEFINITION, "-o", "json"))
        return "description" in fields(found)

    # Other tests have installed the definitions without helm.
    release("install", "yard", str(earlier), "--take-ownership")
    assert not known()
    server.apply(manifest("Policy", "named", {"gates": ["promote"], "rules": [RULE]}, SPACE))
    uid = server.get("Policy", "named", SPACE)["metadata"]["uid"]

    release("upgrade", "yard", str(CHART))
    assert known()
    release("uninstall", "yard")
    assert known()
    assert server.get("Policy", "named", SPACE)["metadata"]["uid"] == uid
