"""etcd is lost: the same commit on a new API server finds the artifact store, and runs nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import NAMESPACE, ROOT, Cluster, commit_tree, winner, workflows

pytestmark = pytest.mark.timeout(900)
HOLD = 'echo "$MODELYARD_CONFORMANCE_KUBECONFIG"; read'


@pytest.fixture
def kubeconfig() -> Iterator[Path]:
    """The kubeconfig of another API server, on an etcd in which nothing is."""
    command = [sys.executable, ROOT / "tests" / "tools" / "api_server.py", "bash", "-c", HOLD]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as server:
        assert server.stdout is not None
        found = server.stdout.readline().strip()
        if not found:
            pytest.skip("no second API server can be started")
        yield Path(found)
        server.communicate("\n")


@pytest.fixture
def restored(iris: Cluster, kubeconfig: Path, tmp_path: Path) -> Iterator[Cluster]:
    """The other server, with a copy of the artifact store and the same commit."""
    shutil.copytree(iris.store, tmp_path / "artifacts")
    found = Cluster(tmp_path, kubeconfig)
    try:
        found.install()
        found.start_standins()
        found.start_operator()
        commit_tree(found)
        yield found
    finally:
        found.stop_all()


def served(cluster: Cluster) -> dict[str, Any]:
    status: dict[str, Any] = cluster.get("Deployment", NAMESPACE, NAMESPACE)["status"]
    return status


def test_git_and_the_artifact_store_bring_everything_back(iris: Cluster, restored: Cluster) -> None:
    assert workflows(restored) == [], "nothing ran again"
    before, after = winner(iris), winner(restored)
    assert after["metadata"]["name"] == before["metadata"]["name"]
    digest = after["status"]["artifact"]["digest"]
    assert digest == before["status"]["artifact"]["digest"]
    assert str(restored.store) in after["status"]["artifact"]["uri"]
    assert served(restored)["modelDigest"] == served(iris)["modelDigest"] == digest
    answer = httpx.get(f"{served(restored)['url']}/v2/models/{NAMESPACE}/ready", timeout=30)
    assert answer.status_code == 200
    assert answer.headers["x-modelyard-model-digest"] == digest
