"""Both policy engines: regorus always, OPA where its binary is or can be built."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from modelyard.adapters.opa import OpaEngine
from modelyard.adapters.regorus import RegorusEngine
from modelyard.ports.policy import PolicyEngine

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def opa_binary() -> Path:
    script = ROOT / "tests" / "tools" / "opa.py"
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return Path(found.stdout.strip())


class OpaServer:
    """An `opa run --server` on a port of its own, that can be stopped and started again."""

    def __init__(self, binary: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{self._address}"

    def start(self) -> None:
        options = ["--addr", self._address, "--log-level", "error", "--disable-telemetry"]
        self._process = subprocess.Popen(
            [self._binary, "run", "--server", *options], stderr=subprocess.DEVNULL
        )
        while True:
            assert self._process.poll() is None, "opa ended as it started"
            try:
                return httpx.get(f"{self.url}/health").raise_for_status() and None
            except httpx.TransportError:
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def opa(opa_binary: Path) -> Iterator[OpaServer]:
    server = OpaServer(opa_binary)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def other_opa(opa_binary: Path) -> Iterator[OpaServer]:
    """A server that a test may stop."""
    server = OpaServer(opa_binary)
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["regorus", "opa"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[PolicyEngine]:
    chosen: PolicyEngine
    if request.param == "regorus":
        chosen = RegorusEngine()
    else:
        chosen = OpaEngine(request.getfixturevalue("opa").url)
    yield chosen
    await chosen.aclose()
