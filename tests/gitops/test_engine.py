"""Argo CD's sync engine keeps a plane as a git repository says.

The repository holds everything, the definitions of the kinds too, in no order and with no waves.
`make soak` runs it on the embedded API server, and `make conformance` on a real one.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelyard.api.meta import API_VERSION
from modelyard.api.resources import CRON_WORKFLOW, OURS, Key
from modelyard.cli.client import Client
from modelyard.embedded import plane

from tests.conformance.conftest import KUBECONFIG, Cluster

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
CUSTOMIZATIONS = ROOT / "charts" / "modelyard" / "gitops" / "argocd" / "argocd-cm.yaml"
NAMESPACE = "cells"
PATIENCE = 300.0
SPECS: dict[tuple[str, str], dict[str, Any]] = {
    ("Project", "cells"): {"description": "Which cells are malignant."},
    ("Dataset", "cells"): {"source": {"builtin": "breast_cancer"}},
    ("Experiment", "tumor"): {
        "datasetRef": {"name": "cells"},
        "task": {"type": "Classification", "target": "target"},
        "validation": {"folds": 2},
        "search": {"trials": 2, "learners": ["Linear"]},
        "explain": {"permutationRepeats": 0, "shapRows": 0},
    },
    ("Deployment", "tumor"): {"model": {"experiment": "tumor"}},
    ("Monitor", "tumor"): {"deploymentRef": {"name": "tumor"}, "interval": "5s"},
    ("Policy", "accurate"): {
        "gates": ["deploy"],
        "rules": [
            {
                "name": "auc",
                "path": "modelVersion.status.metrics.roc_auc",
                "operator": "GreaterOrEqual",
                "value": 0.8,
            }
        ],
    },
}


class Repository:
    """A git repository of manifests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=self.folder, check=True)

    def write(self, name: str, *documents: Any) -> None:
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", message)


class Engine:
    """The engine at work on one repository."""

    def __init__(
        self, binary: Path, kubeconfig: Path, repository: Repository, *options: str
    ) -> None:
        command = [binary, "engine", "-kubeconfig", kubeconfig, "-customizations", CUSTOMIZATIONS]
        self._process = subprocess.Popen(
            [*command, "-repository", repository.folder, *options],
            env={**os.environ, "KUBECACHEDIR": str(repository.folder.parent / "cache")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert self._answer() == "ready"
        except AssertionError:
            self.close()
            raise

    def sync(self) -> dict[str, str]:
        """Sync; return what became of each object, by kind and name."""
        results = self._ask("sync")
        return {f"{one['kind']}/{one['name']}": one["status"] for one in results}

    def state(self) -> dict[str, dict[str, Any]]:
        """Return what Argo CD would show of each object, by kind and name."""
        return {f"{one['kind']}/{one['name']}": one for one in self._ask("state")}

    def out_of_sync(self) -> dict[str, Any]:
        return {name: one for name, one in self.state().items() if not one["inSync"]}

    def healthy(self) -> bool:
        """Return whether every object of our kinds is Healthy."""
        shown = [one for one in self.state().values() if one["kind"] in OURS]
        return bool(shown) and all(one["health"] == "Healthy" for one in shown)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _ask(self, command: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        answer = self._answer()
        assert "error" not in answer, answer
        return answer

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the engine ended"
        return json.loads(line)


def until(predicate: Callable[[], Any], describe: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := predicate()):
        assert time.monotonic() < end, describe()
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Everything in one commit, its files in an order of chance."""
    made = Repository(tmp_path_factory.mktemp("git") / "repository")
    documents = [
        yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))
    ]
    documents.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for (kind, name), spec in SPECS.items():
        metadata = {"name": name, "namespace": NAMESPACE}
        documents.append(
            {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        )
    random.Random(7).shuffle(documents)
    for number, document in enumerate(documents):
        made.write(f"{number:02}-{document['kind']}-{document['metadata']['name']}", document)
    made.commit("Start")
    return made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server with an operator, stand-ins and no follower: the engine alone applies."""
    folder = tmp_path_factory.mktemp("plane")
    if KUBECONFIG is not None:
        real = Cluster(folder, Path(KUBECONFIG))
        try:
            real.start_standins()
            real.start_operator()
            yield real.kubeconfig
        finally:
            real.stop_all()
        return
    (folder / "store").mkdir()
    kubeconfig = folder / "state" / "kubeconfig"
    operator = [sys.executable, "-m", "modelyard.plane", "--kubeconfig", str(kubeconfig)]
    operator += ["--artifact-store", (folder / "store").as_uri()]
    running = plane.start(folder / "state", [plane.Process("operator", operator)])
    yield running.kubeconfig
    running.stop()


@pytest.fixture(scope="module")
def client(cluster: Path) -> Iterator[Client]:
    with closing(Client(cluster)) as made:
        yield made


@pytest.fixture(scope="module")
def engine(engine_binary: Path, cluster: Path, repository: Repository) -> Iterator[Engine]:
    with closing(Engine(engine_binary, cluster, repository)) as made:
        # One try applies the definitions and learns of them by failing; Argo CD tries again too.
        until(lambda: set(made.sync().values()) == {"Synced"}, made.state)
        until(made.healthy, made.state)
        yield made


def get(client: Client, kind: str, name: str) -> dict[str, Any] | None:
    return client.get(API_VERSION, Key(kind, NAMESPACE, name))


def test_one_commit_in_no_order_becomes_healthy_and_stays_in_sync(engine: Engine) -> None:
    assert engine.out_of_sync() == {}
    assert len(engine.state()) == len(SPECS) + len(OURS) + 1
    assert set(engine.sync().values()) == {"Synced"}
    assert engine.out_of_sync() == {}


def test_the_operator_owns_nothing_that_git_declares(engine: Engine, client: Client) -> None:
    for kind, name in SPECS:
        found = get(client, kind, name) or {}
        for entry in found["metadata"]["managedFields"]:
            if entry["manager"] == "modelyard-operator":
                assert set(entry["fieldsV1"]) == {"f:status"}


def test_the_server_predicts_no_difference_either(
    engine: Engine, engine_binary: Path, cluster: Path, repository: Repository
) -> None:
    with closing(Engine(engine_binary, cluster, repository, "-server-side")) as server_side:
        assert set(server_side.sync().values()) == {"Synced"}
        assert server_side.out_of_sync() == {}
        assert server_side.healthy()
    assert engine.out_of_sync() == {}


def test_what_somebody_changes_by_hand_is_out_of_sync_until_the_next_sync(
    engine: Engine, client: Client, cluster: Path, kubectl: str
) -> None:
    patch = ["patch", "mpol", "accurate", "-n", NAMESPACE, "--type", "merge"]
    spec = '{"spec": {"gates": ["deploy", "promote"]}}'
    subprocess.run([kubectl, "--kubeconfig", cluster, *patch, "-p", spec], check=True)
    until(lambda: list(engine.out_of_sync()) == ["Policy/accurate"], engine.out_of_sync)
    engine.sync()
    until(lambda: engine.out_of_sync() == {}, engine.out_of_sync)
    assert (get(client, "Policy", "accurate") or {})["spec"]["gates"] == ["deploy"]


@pytest.mark.parametrize(("kind", "name"), SPECS, ids=str)
def test_who_asks_for_a_reconcile_is_answered_within_five_seconds(
    engine: Engine, client: Client, cluster: Path, kubectl: str, kind: str, name: str
) -> None:
    resource = f"{OURS[kind].plural}.modelyard.dev/{name}"
    annotate = [kubectl, "--kubeconfig", cluster, "annotate", resource, "-n", NAMESPACE]

    def seconds() -> float:
        asked = f"{kind}-{time.monotonic_ns()}"
        mark = f"modelyard.dev/reconcile-at={asked}"
        subprocess.run([*annotate, "--overwrite", mark], check=True)
        start = time.monotonic()

        def answered() -> bool:
            status = (get(client, kind, name) or {})["status"]
            return bool(status.get("lastHandledReconcileAt") == asked)

        until(answered, engine.state)
        return time.monotonic() - start

    # One that another load delays may be asked again.
    assert any(seconds() < 5 for _ in range(3))
    until(lambda: engine.out_of_sync() == {}, engine.out_of_sync)


def test_revert_brings_back_the_state_before(
    engine: Engine, client: Client, repository: Repository
) -> None:
    def served() -> str:
        return str((get(client, "Deployment", "tumor") or {})["status"]["modelVersion"])

    # A Deployment is healthy by what it serves until it has seen that another version won.
    first = served()
    experiment = next(repository.folder.glob("*-Experiment-tumor.yaml"))
    document = yaml.safe_load(experiment.read_text())
    document["spec"]["seed"] = 7
    repository.write(experiment.stem, document)
    next(repository.folder.glob("*-Monitor-tumor.yaml")).unlink()
    repository.commit("Search with another seed, watch nothing")
    assert "Monitor/tumor" in engine.out_of_sync()

    assert engine.sync()["Monitor/tumor"] == "Pruned"
    until(lambda: get(client, "Monitor", "tumor") is None, engine.state)
    until(lambda: served() != first and engine.healthy(), engine.state)
    assert client.get(CRON_WORKFLOW.api_version, Key("CronWorkflow", NAMESPACE, "tumor")) is None

    repository.git("revert", "--no-edit", "HEAD")
    engine.sync()
    until(lambda: served() == first and engine.healthy(), engine.state)
    assert get(client, "Monitor", "tumor") is not None
    assert engine.out_of_sync() == {}
