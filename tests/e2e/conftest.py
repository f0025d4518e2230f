"""A yard: a git repository of manifests, `modelyard up` on it, and eyes on what comes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from modelyard.api.resources import OURS, WORKFLOW, Key
from modelyard.cli.client import Client
from modelyard.embedded import plane
from modelyard.judge.law import violations

NAMESPACE = "cells"
PATIENCE = 90.0
"""Nothing may take longer; no test asserts that anything is quicker."""


def manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }


PROJECT: dict[str, dict[str, Any]] = {
    "project": manifest("Project", "cells", {}),
    "dataset": manifest("Dataset", "cells", {"source": {"builtin": "breast_cancer"}}),
    "experiment": manifest(
        "Experiment",
        "tumor",
        {
            "datasetRef": {"name": "cells"},
            "task": {"type": "Classification", "target": "target"},
            "validation": {"folds": 3},
            "search": {"trials": 6, "learners": ["LightGBM", "Linear"]},
            "explain": {"permutationRepeats": 1, "shapRows": 20},
        },
    ),
    "deployment": manifest("Deployment", "tumor", {"model": {"experiment": "tumor"}}),
    "monitor": manifest("Monitor", "tumor", {"deploymentRef": {"name": "tumor"}, "interval": "2s"}),
}


class Yard:
    """One project directory and its plane."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.client = Client(directory / ".modelyard" / "kubeconfig")
        directory.mkdir(parents=True, exist_ok=True)
        for name, document in PROJECT.items():
            self.write(name, document)
        self.git("init", "-q", "-b", "main")
        self.commit("Start")

    def move(self, directory: Path) -> None:
        """Go on in another directory; no plane runs."""
        self.client.close()
        self.directory = directory
        self.client = Client(directory / ".modelyard" / "kubeconfig")

    @property
    def state(self) -> Path:
        return self.directory / ".modelyard"

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
        done = subprocess.run(
            ["git", *identity, *arguments],
            cwd=self.directory,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def write(self, name: str, document: dict[str, Any]) -> None:
        text = yaml.safe_dump(document, sort_keys=False)
        (self.directory / f"{name}.yaml").write_text(text)

    def change(self, name: str, **spec: Any) -> None:
        """Edit fields of a manifest's spec."""
        path = self.directory / f"{name}.yaml"
        document = yaml.safe_load(path.read_text())
        document["spec"].update(spec)
        self.write(name, document)

    def cli(self, *arguments: str, status: int | None = 0) -> str:
        """Run the command line; return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "modelyard.cli.main", *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if status is not None:
            assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self) -> None:
        """Start the plane and leave it running."""
        self.cli("up", str(self.directory), "--detach")

    def down(self) -> None:
        self.cli("down", str(self.directory))

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        resource = OURS.get(kind, WORKFLOW)
        found = self.client.get(resource.api_version, Key(kind, NAMESPACE, name))
        if found is not None and found.get("status") and kind in OURS:
            assert violations(found) == [], found
        return found

    def status(self, kind: str, name: str = "tumor") -> dict[str, Any]:
        return (self.get(kind, name) or {}).get("status") or {}

    def ready(self, kind: str, name: str = "tumor") -> bool:
        """Return whether an object is Ready at its present generation."""
        found = self.get(kind, name) or {}
        return any(
            condition["type"] == "Ready"
            and condition["status"] == "True"
            and condition["observedGeneration"] == found["metadata"]["generation"]
            for condition in (found.get("status") or {}).get("conditions", [])
        )

    def condition(self, kind: str, wanted: str, name: str = "tumor") -> dict[str, Any]:
        for condition in self.status(kind, name).get("conditions", []):
            if condition["type"] == wanted:
                return dict(condition)
        return {}

    def until(self, predicate: Callable[[], Any], what: str) -> Any:
        """Wait until something is true; the API server may be away in between."""
        deadline = time.monotonic() + PATIENCE
        error: Exception | None = None
        while time.monotonic() < deadline:
            try:
                if found := predicate():
                    return found
            except Exception as caught:
                error = caught
            time.sleep(0.2)
        raise AssertionError(f"not in {PATIENCE:.0f} s: {what} ({error})\n{self.picture()}")

    def until_served(self) -> None:
        self.until(lambda: self.ready("Deployment"), "the Deployment is Ready")

    def picture(self) -> str:
        try:
            return self.cli("status", str(self.directory), status=None)
        except Exception as error:
            return str(error)

    def digest(self) -> str:
        """Return the digest of the model that the Experiment found."""
        version = self.status("Experiment")["bestModelVersion"]
        artifact = self.until(
            lambda: self.status("ModelVersion", version).get("artifact"), "the winner is registered"
        )
        found: str = artifact["digest"]
        return found

    def workflows(self) -> list[dict[str, Any]]:
        """Return the Workflows of runs, not those of Monitors."""
        listed = self.client.list(WORKFLOW, NAMESPACE)
        kinds = ("Dataset", "Experiment")
        return [
            entry
            for entry in listed
            if (entry["metadata"].get("labels") or {}).get("modelyard.dev/kind") in kinds
        ]

    def processes(self) -> dict[str, int]:
        """Return the pids of the plane's processes that run, by name."""
        found = plane.attach(self.state)
        listed = found.processes() if found else []
        return {one.name: one.id.pid for one in listed if one.id and one.running}

    def send(self, name: str, number: int) -> int:
        """Signal a process of the plane and return its pid, whichever runs when it is hit."""

        def send() -> int | None:
            if pid := self.processes().get(name):
                os.kill(pid, number)
            return pid

        pid: int = self.until(send, f"the {name} runs")
        return pid

    def kill(self, name: str) -> int:
        """kill -9 a process of the plane and return its pid."""
        return self.send(name, signal.SIGKILL)

    def url(self) -> str:
        found: str = self.status("Deployment")["url"]
        return found

    def predict(self, instances: list[Any]) -> dict[str, Any]:
        answer = httpx.post(
            f"{self.url()}/v1/models/tumor:predict", json={"instances": instances}, timeout=30
        )
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body

    def rows(self, count: int) -> list[dict[str, Any]]:
        """Return rows of the snapshot as instances, without the target."""
        uri = self.status("Dataset", "cells")["snapshot"]["uri"]
        lines = (Path(uri.removeprefix("file://")) / "clean.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines[:count]]
        for row in rows:
            row.pop("target")
        return rows


@pytest.fixture(scope="session")
def make_yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Yard]]:
    yards: list[Yard] = []

    def make() -> Yard:
        yards.append(Yard(tmp_path_factory.mktemp("yard") / "project"))
        return yards[-1]

    yield make
    for yard in yards:
        yard.client.close()
        found = plane.attach(yard.state)
        if found is not None:
            found.stop()


@pytest.fixture(scope="session")
def served(make_yard: Callable[[], Yard]) -> Yard:
    """A yard whose model serves; shared by the tests that leave it serving."""
    yard = make_yard()
    yard.up()
    yard.until_served()
    return yard
