"""What the reconcilers rely on: the same of MLflow's own server and of the servers in memory."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from modelyard.adapters.mlflow import IDENTITY_TAG, MLflowTracker
from modelyard.api.artifacts import MANIFEST, RECORD, run_key
from modelyard.api.experiment import ExperimentSpec, LeaderboardEntry
from modelyard.api.identity import digest
from modelyard.api.records import TrainRecord
from modelyard.api.runs import TrainConfig
from modelyard.ports.tracking import RunTracker, TrackedMetric, TrackedRun, TrackingUnavailable

from tests.records import FINGERPRINT, PROVENANCE, artifact_manifest

from .conftest import EXPERIMENT, TrackingServers, World

Client = Callable[..., list[dict[str, Any]]]

CLIENT = Path(__file__).with_name("mlflow_client.py")
TOOL = Path(__file__).parents[1] / "tools" / "mlflow.py"
SERVE = "import sys; from mlflow.server import app; app.run(port=int(sys.argv[1]))"
PATIENCE_SECONDS = 240

RUN = TrackedRun(
    experiment="clinic/tumor",
    name="tumor-0123456789",
    identity="0123456789abcdef",
    started_at="2026-01-01T00:00:00Z",
    finished_at="2026-01-01T00:01:30Z",
    parameters={f"spec.field{number}": "value" for number in range(150)} | {"long": "x" * 9000},
    metrics=[
        TrackedMetric("roc_auc", 0.95),
        *(TrackedMetric("trials.roc_auc", 0.9 + step / 1e5, step) for step in range(1200)),
    ],
    tags={"modelyard.modelDigest": "sha256:1"},
)
SEARCH = {
    **EXPERIMENT,
    "description": "Which tumors are malignant, by what is seen of their cells.",
    "search": {"trials": 3, "learners": ["LightGBM", "Linear"]},
}


@dataclass
class Subject:
    """A tracker, a server for it, and what that server holds by identity."""

    tracker: RunTracker
    uri: str
    runs: Callable[[], Mapping[str, Any]]


@pytest.fixture(scope="module")
def mlflow_python() -> Path:
    """The Python of the environment that has MLflow."""
    tool = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, check=False)
    if tool.returncode:
        pytest.skip(tool.stderr.strip())
    return Path(tool.stdout.strip()).with_name("python")


@pytest.fixture(scope="module")
def mlflow(mlflow_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of MLflow's own tracking server."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    database = f"sqlite:///{folder}/runs.sqlite"
    settings = {
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder),
    }
    # Each search imports a module anew that cannot be imported: it should not be compiled each time.
    kept = {key: each for key, each in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [mlflow_python, "-c", SERVE, str(port)],
            env={**kept, **settings},
            stdout=log,
            stderr=log,
        )
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while not answers(url):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, "MLflow does not answer"
            time.sleep(0.3)
        yield url
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def client(mlflow_python: Path, mlflow: str) -> Client:
    """Return a function that reads with MLflow's own client what the server holds."""

    def read(*arguments: str | Path) -> list[dict[str, Any]]:
        command = [mlflow_python, CLIENT, mlflow, *arguments]
        told = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        done = subprocess.run(command, env=told, stdout=subprocess.PIPE, text=True, check=True)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    return read


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(params=["memory", "mlflow"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "memory":
        servers = TrackingServers()
        return Subject(servers, "http://memory", lambda: servers.runs["http://memory"])
    uri: str = request.getfixturevalue("mlflow")
    return Subject(MLflowTracker(), uri, lambda: held(uri))


def held(uri: str) -> dict[str, Any]:
    """Return the runs of a server by identity; fail where one is there twice."""
    api = f"{uri}/api/2.0/mlflow"
    listed = httpx.post(f"{api}/experiments/search", json={"max_results": 100}).json()
    experiments = [one["experiment_id"] for one in listed["experiments"]]
    query = {"experiment_ids": experiments, "max_results": 100}
    runs = httpx.post(f"{api}/runs/search", json=query).json().get("runs", [])
    tags = [{tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs]
    found = {tag[IDENTITY_TAG]: run for tag, run in zip(tags, runs, strict=True)}
    assert len(found) == len(runs)
    return found


def begin(uri: str, run: TrackedRun) -> str:
    """Create a run as one who dies right after; return its id."""
    api = f"{uri}/api/2.0/mlflow"
    made = httpx.post(f"{api}/experiments/create", json={"name": run.experiment}).json()
    tags = [{"key": IDENTITY_TAG, "value": run.identity}]
    body = {"experiment_id": made["experiment_id"], "start_time": 1, "tags": tags}
    found: str = httpx.post(f"{api}/runs/create", json=body).json()["run"]["info"]["run_id"]
    return found


def steps(uri: str, run_id: str, metric: str) -> list[int]:
    """Return at which steps a metric was logged."""
    query = {"run_id": run_id, "metric_key": metric, "max_results": "5000"}
    history = httpx.get(f"{uri}/api/2.0/mlflow/metrics/get-history", params=query).json()
    return [one["step"] for one in history["metrics"]]


async def test_a_run_is_written_once_however_often_it_is_told(subject: Subject) -> None:
    first = await subject.tracker.track(subject.uri, {}, RUN)
    assert await subject.tracker.track(subject.uri, {}, RUN) == first
    other = replace(RUN, identity="fedcba9876543210", name="tumor-fedcba9876")
    assert await subject.tracker.track(subject.uri, {}, other) != first
    assert set(subject.runs()) == {RUN.identity, other.identity}


async def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(TrackingUnavailable, match=r"http://127\.0\.0\.1:9"):
        await MLflowTracker().track("http://127.0.0.1:9", {}, RUN)


async def test_a_run_that_was_only_begun_is_finished(mlflow: str) -> None:
    begun = replace(RUN, identity="begun", name="tumor-begun", experiment="clinic/begun")
    run_id = begin(mlflow, begun)
    assert await MLflowTracker().track(mlflow, {}, begun) == run_id
    assert held(mlflow)["begun"]["info"]["status"] == "FINISHED"


async def test_all_of_a_run_can_be_read_by_mlflow(mlflow: str) -> None:
    whole = replace(RUN, identity="whole", experiment="clinic/whole")
    run_id = await MLflowTracker().track(mlflow, {}, whole)
    found = held(mlflow)["whole"]
    assert found["info"]["run_name"] == RUN.name
    assert found["info"]["end_time"] - found["info"]["start_time"] == 90_000
    parameters = {one["key"]: one["value"] for one in found["data"]["params"]}
    assert parameters == {**RUN.parameters, "long": "x" * 6000}
    assert {"modelyard.modelDigest": "sha256:1"}.items() <= {
        one["key"]: one["value"] for one in found["data"]["tags"]
    }.items()
    assert steps(mlflow, run_id, "trials.roc_auc") == list(range(1200))


async def recorded(world: World, server: str) -> TrainRecord:
    """Let a run end of which a server is told, and return the record that it left."""
    world.ports = replace(world.ports, tracker=MLflowTracker())
    await world.commit("Project", "team", {"tracking": {"mlflow": {"uri": server}}})
    await world.commit("Dataset", "cells", {"source": {"builtin": "breast_cancer"}})
    await world.commit("Experiment", "tumor", SEARCH)
    await world.settle()
    await world.finish_dataset("cells")
    await world.settle()
    identity = world.get("Experiment", "tumor")["status"]["run"]["identity"]
    config = TrainConfig(
        namespace=world.namespace,
        name="tumor",
        identity=identity,
        spec=ExperimentSpec.model_validate(SEARCH),
        parallelism=2,
        workers=2,
        snapshot_uri="file:///s",
        snapshot_digest=FINGERPRINT,
        fingerprint=FINGERPRINT,
        store=world.store.config,
    )
    provenance = PROVENANCE.model_copy(
        update={"started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:01:30Z"}
    )
    found = (("ensemble", "Weighted", 0.96), ("2", "LightGBM", 0.955), ("0", "Linear", 0.9))
    leaderboard = [
        LeaderboardEntry(rank=rank, trial=trial, learner=learner, metric=metric)
        for rank, (trial, learner, metric) in enumerate(found, start=1)
    ]
    await world.finish_experiment(
        "tumor",
        config=config,
        provenance=provenance,
        leaderboard=leaderboard,
        evidence=await world.artifact(b"what was found"),
    )
    await world.settle()
    key = run_key(world.namespace, "Experiment", "tumor", identity)
    content = await world.store.read(f"{key}/{RECORD}")
    assert content is not None
    return TrainRecord.model_validate_json(content)


def by_path(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a spec by path, as text."""
    found: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            found |= {f"{name}.{path}": told for path, told in by_path(value).items()}
        else:
            found[name] = value if isinstance(value, str) else json.dumps(value)
    return found


async def test_mlflows_own_client_reads_what_the_record_of_a_run_says(
    world: World, mlflow: str, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    record = await recorded(world, mlflow)
    assert record.config is not None
    folder = tmp_path_factory.mktemp("downloaded")
    wanted = "metrics.roc_auc > 0.9 and params.`search.trials` = '3'"
    (run,) = client("n/tumor", wanted, folder)

    status = world.get("Experiment", "tumor")["status"]["tracking"]
    assert (run["run_id"], run["status"]) == (status["runId"], "FINISHED")
    assert run["name"] == f"tumor-{record.identity[:10]}"
    begun = datetime.fromisoformat(record.provenance.started_at).timestamp() * 1000
    assert (run["started"], run["ended"]) == (begun, begun + 90_000)

    spec = record.config.spec.to_json()
    described = spec.pop("description")
    assert run["parameters"] == by_path(spec)
    assert run["metrics"] == {**record.metrics, "trials.roc_auc": 0.955}
    assert run["history"] == {
        **{name: [[0, value]] for name, value in record.metrics.items()},
        "trials.roc_auc": [[0, 0.9], [2, 0.955]],
    }
    told = {name: tag for name, tag in run["tags"].items() if name.startswith("modelyard.")}
    assert told == {
        "modelyard.identity": record.identity,
        "modelyard.namespace": record.namespace,
        "modelyard.experiment": record.name,
        "modelyard.modelVersion": run["name"],
        "modelyard.modelDigest": record.artifact.digest,
        "modelyard.modelUri": record.artifact.uri,
        "modelyard.evidenceUri": record.evidence.uri,
        "modelyard.dataFingerprint": record.lineage.data_fingerprint,
        "modelyard.codeVersion": record.provenance.code_version,
        "modelyard.replayable": "true",
    }
    assert run["tags"]["mlflow.source.git.commit"] == record.lineage.source_revision
    assert run["tags"]["mlflow.note.content"] == described

    # The files stay in the artifact store, where the client finds them by what the tags say.
    assert run["logged_files"] == []
    model = Path(run["model"])
    assert model.is_relative_to(folder)
    assert digest((model / MANIFEST).read_bytes()) == record.artifact.digest
    for file in artifact_manifest(record.identity.encode()).files:
        assert digest((model / file.path).read_bytes()) == file.digest


@pytest.mark.soak
@pytest.mark.timeout(400)
async def test_a_thousand_runs_are_told_within_a_minute_and_read_by_mlflows_own_client(
    mlflow: str, client: Client
) -> None:
    tracker, at_once = MLflowTracker(), asyncio.Semaphore(4)

    async def tell(number: int) -> None:
        run = replace(
            RUN,
            identity=f"many-{number}",
            experiment=f"many/{number % 10}",
            parameters={f"spec.field{field}": "value" for field in range(40)},
            metrics=RUN.metrics[:25],
        )
        async with at_once:
            await tracker.track(mlflow, {}, run)

    before = time.monotonic()
    await asyncio.gather(*(tell(number) for number in range(1000)))
    took = time.monotonic() - before
    print(f"1,000 runs told in {took:.1f} s")
    read = client("many/%", "metrics.roc_auc > 0.9 and params.`spec.field0` = 'value'")
    assert len({run["run_id"] for run in read}) == len(read) == 1000
    assert all(len(run["parameters"]) == 40 for run in read)
    assert took < 60
