"""What the tests of the command line share: a project's folder and a real API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from modelyard.api.crd import crds
from modelyard.api.resources import Key
from modelyard.cli.client import Client
from modelyard.cli.starter import TEMPLATES, project_files, write

CONFORMANCE = os.environ.get("MODELYARD_CONFORMANCE_KUBECONFIG")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the wine project."""
    directory = tmp_path / "wine"
    write(directory, project_files("wine", TEMPLATES["wine"]))
    return directory


def declare_kinds(kubeconfig: Path) -> None:
    with closing(Client(kubeconfig)) as client:
        for definition in crds():
            client.apply(definition, Key(definition["kind"], "", definition["metadata"]["name"]))


@pytest.fixture(scope="session", params=["embedded" if CONFORMANCE is None else "kubernetes"])
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of an API server that knows the seven kinds: embedded, or the one given."""
    if CONFORMANCE is not None:
        declare_kinds(Path(CONFORMANCE))
        yield Path(CONFORMANCE)
        return
    data = tmp_path_factory.mktemp("apiserver")
    command = [sys.executable, "-m", "modelyard.embedded.apiserver", "--data-dir", str(data)]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        kubeconfig = Path(json.loads(process.stdout.readline())["kubeconfig"])
        declare_kinds(kubeconfig)
        yield kubeconfig
        process.terminate()


@pytest.fixture
def client(api_server: Path) -> Iterator[Client]:
    """A client of the API server."""
    connected = Client(api_server)
    yield connected
    connected.close()
