"""The real API server and real stand-ins, as processes; tiny modules in place of the runtimes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from modelyard.embedded.client import SECRETS, ApiError, Client, Object, Resource
from modelyard.embedded.standins.cronworkflows import CRON_WORKFLOWS
from modelyard.embedded.standins.inferenceservices import INFERENCE_SERVICES
from modelyard.embedded.standins.rayjobs import RAY_JOBS
from modelyard.embedded.standins.workflows import WORKFLOWS

MODULES = Path(__file__).parent / "modules"
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
KINDS = {one.kind: one for one in (WORKFLOWS, CRON_WORKFLOWS, RAY_JOBS, INFERENCE_SERVICES)}
PATIENCE_SECONDS = 60.0


@dataclass
class ApiServer:
    """An API server that can be killed and started again."""

    data_dir: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "kubeconfig"

    def start(self) -> None:
        command = [sys.executable, "-m", "modelyard.embedded.apiserver"]
        command += ["--data-dir", str(self.data_dir), "--port", "0"]
        log = (self.data_dir.parent / "apiserver.log").open("ab")
        with log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        end(self.process, signal.SIGKILL)


@dataclass
class StandIns:
    """Stand-ins that can be killed and started again."""

    kubeconfig: Path
    state_dir: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "modelyard.embedded.standins"]
        command += ["--kubeconfig", str(self.kubeconfig), "--state-dir", str(self.state_dir)]
        command += ["--allow-module", "tiny_*"]
        path = os.pathsep.join([str(MODULES), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, "NOT_FOR_CONTAINERS": "1"}
        with (self.state_dir / "standins.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def kill(self) -> None:
        end(self.process, signal.SIGKILL)

    def stop(self) -> None:
        end(self.process, signal.SIGTERM)

    @property
    def log(self) -> str:
        return (self.state_dir / "standins.log").read_text()


@dataclass
class Cluster:
    """A namespace of the API with the stand-ins at work."""

    client: Client
    namespace: str
    stand_ins: StandIns
    directory: Path
    made: list[tuple[Resource, str]] = field(default_factory=list)

    async def create(self, document: Object) -> Object:
        resource = KINDS[document["kind"]]
        self.made.append((resource, document["metadata"]["name"]))
        return await self.client.create(resource, self.namespace, document)

    async def secret(self, name: str, **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        await self.client.create(SECRETS, self.namespace, {**document, "data": encoded})

    async def get(self, kind: str, name: str) -> Object:
        return await self.client.get(KINDS[kind], self.namespace, name)

    async def patch(self, kind: str, name: str, spec: Object) -> None:
        await self.client.merge(KINDS[kind], self.namespace, name, {"spec": spec})

    async def delete(self, kind: str, name: str) -> None:
        found = await self.get(kind, name)
        await self.client.delete(KINDS[kind], self.namespace, name, found["metadata"]["uid"])

    async def status(self, kind: str, name: str, until: Callable[[Object], object]) -> Object:
        """Return the status once it satisfies the condition."""

        async def fetch() -> Object:
            found: Object = (await self.get(kind, name)).get("status") or {}
            return found

        found: Object = await eventually(fetch, until)
        return found

    async def phase(self, name: str, phase: str) -> Object:
        """Return the status of a Workflow once it is in a phase."""
        return await self.status("Workflow", name, lambda status: status.get("phase") == phase)

    async def is_gone(self, kind: str, name: str) -> None:
        async def exists() -> bool:
            with contextlib.suppress(ApiError):
                await self.get(kind, name)
                return True
            return False

        await eventually(exists, lambda there: not there)

    def file(self, name: str) -> Path:
        return self.directory / name

    def lines(self, name: str) -> list[str]:
        return self.file(name).read_text().splitlines() if self.file(name).exists() else []

    async def some_lines(self, name: str, count: int = 1) -> list[str]:
        lines: list[str] = await eventually(
            lambda: self.lines(name), lambda lines: len(lines) >= count
        )
        return lines


async def eventually(
    fetch: Callable[[], Any | Awaitable[Any]], until: Callable[[Any], object]
) -> Any:
    """Return what `fetch` returns once `until` holds for it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = fetch()
        if isinstance(found, Awaitable):
            found = await found
        if until(found):
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"never came true; at last: {found}")
        await asyncio.sleep(0.02)


def end(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    if process is not None and process.poll() is None:
        process.send_signal(number)
        process.wait()


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    server = ApiServer(tmp_path_factory.mktemp("plane") / "apiserver")
    server.start()
    yield server
    end(server.process, signal.SIGTERM)


@pytest_asyncio.fixture
async def cluster(api_server: ApiServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    stand_ins = StandIns(api_server.kubeconfig, state_dir)
    stand_ins.start()
    namespace = f"test-{uuid4().hex[:8]}"
    async with Client(api_server.kubeconfig) as client:
        await eventually((state_dir / "standins" / "ready").exists, bool)
        await client.create(NAMESPACES, None, {"metadata": {"name": namespace}})
        cluster = Cluster(client, namespace, stand_ins, tmp_path)
        yield cluster
        for resource, name in cluster.made:
            with contextlib.suppress(ApiError):
                await cluster.delete(resource.kind, name)
    stand_ins.stop()


def workflow(name: str, module: str = "tiny_exit", **fields: Any) -> Object:
    """Return a Workflow in the form that Modelyard builds; `fields` are added to the spec."""
    environment = fields.pop("environment", {})
    container = {
        "image": "modelyard/runtime:0",
        "command": ["python", "-m", module],
        "env": entries(environment),
    }
    container.update(fields.pop("container", {}))
    template = {
        "name": "main",
        "retryStrategy": {"limit": "5", "expression": "asInt(lastRetry.exitCode) != 1"},
        "container": container,
    }
    template.update(fields.pop("template", {}))
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {"entrypoint": "main", "templates": [template], **fields},
    }


def entries(environment: dict[str, Any]) -> list[Object]:
    """Return environment variables as a container has them."""
    return [
        {"name": name, **value} if isinstance(value, dict) else {"name": name, "value": str(value)}
        for name, value in environment.items()
    ]
