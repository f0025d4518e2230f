"""A real API server, and real operators as processes that a test starts, asks and kills."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from modelyard.api.crd import crds
from modelyard.api.meta import API_VERSION
from modelyard.api.resources import LEASE, OURS, WORKFLOW, Key, Resource
from modelyard.cli.client import Client
from modelyard.embedded.apiserver.process import ServerProcess, start
from modelyard.embedded.standins import crds as standins

CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
PATIENCE = 60.0
"""Nothing may take longer; no test asserts that anything is quicker."""
TERM = signal.SIGTERM
KILL = signal.SIGKILL


def until(predicate: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until something is true and return it."""
    deadline = time.monotonic() + seconds
    while not (found := predicate()):
        assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return found


@dataclass
class OperatorProcess:
    """One operator; answers on a port of its own."""

    popen: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, path: str) -> httpx.Response | None:
        """Return the answer to a GET, None when nobody answers."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=10, trust_env=False)
        except httpx.HTTPError:
            return None

    def metric(self, sample: str) -> float:
        """Return the value of one sample, 0 when nobody answers."""
        answer = self.ask("/metrics")
        for line in answer.text.splitlines() if answer else ():
            if line.startswith(f"{sample} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def leads(self) -> bool:
        return self.metric("modelyard_leader") == 1.0

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def end(self, number: signal.Signals = TERM) -> int:
        self.send(number)
        return self.popen.wait(PATIENCE)


@dataclass
class Site:
    """An API server, and the operators that work on it."""

    directory: Path
    server: ServerProcess
    client: Client
    operators: list[OperatorProcess] = field(default_factory=list)

    def operator(self, *options: str) -> OperatorProcess:
        """Start an operator and wait until it answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = self.directory / f"operator-{len(self.operators)}.log"
        command = [sys.executable, "-m", "modelyard.plane"]
        command += ["--kubeconfig", str(self.server.kubeconfig), "--listen", f"127.0.0.1:{port}"]
        command += ["--artifact-store", (self.directory / "store").as_uri(), *options]
        with log.open("ab") as sink:
            operator = OperatorProcess(
                subprocess.Popen(command, stdout=sink, stderr=sink), port, log
            )
        self.operators.append(operator)
        until(lambda: operator.ask("/livez") or operator.popen.poll(), "the operator answers")
        assert operator.popen.poll() is None, log.read_text()
        return operator

    def install(self, definition: dict[str, Any]) -> None:
        self.client.apply(definition, Key(CRDS.kind, "", definition["metadata"]["name"]))

    def install_backends(self) -> None:
        for definition in standins.crds():
            self.install(definition)

    def remove(self, definition: dict[str, Any]) -> None:
        self.client.delete(CRDS.api_version, Key(CRDS.kind, "", definition["metadata"]["name"]))

    def put(self, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> None:
        """Apply an object of ours as git would."""
        base = {"name": name, "namespace": "default", **metadata}
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": base, "spec": spec}
        self.client.apply(body, Key(kind, base["namespace"], name))

    def secret(self, name: str, **data: str) -> None:
        metadata = {"name": name, "namespace": "default"}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
        self.client.apply(body, Key("Secret", "default", name))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        resource = OURS.get(kind, WORKFLOW)
        return self.client.get(resource.api_version, Key(kind, "default", name)) or {}

    def ready(self, kind: str, name: str) -> dict[str, Any]:
        """Return the condition Ready."""
        conditions = (self.get(kind, name).get("status") or {}).get("conditions") or []
        return next((dict(one) for one in conditions if one["type"] == "Ready"), {})

    def until_reason(self, kind: str, name: str, reason: str) -> dict[str, Any]:
        """Wait for a reason of Ready; return the condition."""
        until(
            lambda: self.ready(kind, name).get("reason") == reason,
            f"{kind} {name} says {reason}, not {self.ready(kind, name)}",
        )
        return self.ready(kind, name)

    def lease(self) -> dict[str, Any]:
        key = Key(LEASE.kind, "default", "modelyard-operator")
        return self.client.get(LEASE.api_version, key) or {}

    def workflows(self) -> list[dict[str, Any]]:
        return self.client.list(WORKFLOW, "default")

    def close(self) -> None:
        for operator in self.operators:
            operator.popen.kill()
            operator.popen.wait()
        self.client.close()
        self.server.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An API server with our kinds and no backend."""
    server = start(tmp_path / "api")
    site = Site(tmp_path, server, Client(server.kubeconfig))
    for definition in crds():
        site.install(definition)
    yield site
    site.close()
