"""A real API server, and real operators as processes that a test starts, asks and kills."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
from modelyard.api.crd import crds
from modelyard.api.meta import API_VERSION
from modelyard.api.resources import LEASE, OURS, WORKFLOW, Key, Resource
from modelyard.cli.client import Client, Refused
from modelyard.embedded.apiserver.process import start
from modelyard.embedded.standins import crds as standins
from modelyard.plane.queue import WORKERS

CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
PATIENCE = 60.0
"""Nothing may take longer; no test asserts that anything is quicker."""
TOOLS = Path(__file__).parents[1] / "tools"
TERM = signal.SIGTERM
KILL = signal.SIGKILL


def until(
    predicate: Callable[[], Any], what: str, seconds: float = PATIENCE, pause: float = 0.1
) -> Any:
    """Wait until something is true and return it."""
    deadline = time.monotonic() + seconds
    while not (found := predicate()):
        assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}"
        time.sleep(pause)
    return found


class ApiServer(Protocol):
    """An API server that runs: the embedded one, or a real one."""

    @property
    def kubeconfig(self) -> Path: ...

    @property
    def pid(self) -> int: ...

    def stop(self) -> int: ...


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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

    def reconciles(self, kind: str) -> float:
        """Return how many reconciles of a kind went well."""
        return self.metric(f'modelyard_reconciles_total{{kind="{kind}",result="success"}}')

    def knows(self, kind: str, *, ready: str = "") -> float:
        """Return how many objects of a kind it knows, of which it heard that they are so ready."""
        states = [ready] if ready else ["True", "False", "Unknown"]
        return sum(
            self.metric(f'modelyard_objects{{kind="{kind}",ready="{state}"}}') for state in states
        )

    def catch_up(self, patience: float) -> None:
        """Wait until it has worked on all that waited for it when it was asked to."""
        waiting = self.metric("modelyard_queue_depth") + WORKERS
        before = self._worked_on()
        until(
            lambda: (
                self.metric("modelyard_queue_depth") == 0 or self._worked_on() >= before + waiting
            ),
            "what waited is done",
            patience,
        )

    def _worked_on(self) -> float:
        return sum(
            self.metric(f'modelyard_reconciles_total{{kind="{kind}",result="{result}"}}')
            for kind in OURS
            for result in ("success", "error")
        )

    def status_writes(self) -> float:
        """Return how many statuses were written."""
        return sum(self.metric(f'modelyard_status_writes_total{{kind="{kind}"}}') for kind in OURS)

    def cpu(self) -> float:
        """Return the CPU seconds used until now."""
        return cpu_seconds(self.popen.pid)

    def resident(self, *, peak: bool = False) -> int:
        """Return the bytes of memory in use now, or the most that ever were."""
        wanted = "VmHWM" if peak else "VmRSS"
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(wanted))
        return int(line.split()[1]) * 1024

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
    server: ApiServer
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
        """Install a kind, and wait until it is served: a real API server takes its time."""
        self.client.apply(definition, Key(CRDS.kind, "", definition["metadata"]["name"]))
        spec = definition["spec"]
        version, names = spec["versions"][0]["name"], spec["names"]
        resource = Resource(f"{spec['group']}/{version}", names["kind"], names["plural"])
        until(lambda: self._serves(resource), f"{names['plural']} are served")

    def _serves(self, resource: Resource) -> bool:
        try:
            self.client.list(resource)
        except Refused:
            return False
        return True

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

    def server_cpu(self) -> float:
        """Return the CPU seconds that the API server has used."""
        return cpu_seconds(self.server.pid)

    def close(self) -> None:
        for operator in self.operators:
            operator.popen.kill()
            operator.popen.wait()
        self.client.close()
        self.server.stop()


def open_site(directory: Path) -> Site:
    """Start an API server with our kinds and no backend."""
    return _with_our_kinds(directory, start(directory / "api"))


@dataclass(frozen=True)
class KubernetesServer:
    """A real kube-apiserver, which lives as long as a command that waits for its input to end."""

    kubeconfig: Path
    popen: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        """The process id of the server's starter."""
        return self.popen.pid

    def stop(self) -> int:
        """End it."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        return self.popen.wait(PATIENCE)


@contextmanager
def kubernetes_site(directory: Path) -> Iterator[Site | None]:
    """Start a real API server with our kinds; None where it cannot be built."""
    hold = ["sh", "-c", "echo $MODELYARD_CONFORMANCE_KUBECONFIG; exec cat"]
    command = [sys.executable, str(TOOLS / "api_server.py"), *hold]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as starter:
        assert starter.stdout is not None
        told = starter.stdout.readline().strip()
        if not told:
            assert starter.wait(PATIENCE) == 0, "it failed, and did not only lack Go"
            yield None
            return
        site = _with_our_kinds(directory, KubernetesServer(Path(told), starter))
        try:
            yield site
        finally:
            site.close()


def _with_our_kinds(directory: Path, server: ApiServer) -> Site:
    site = Site(directory, server, Client(server.kubeconfig))
    for definition in crds():
        site.install(definition)
    return site
