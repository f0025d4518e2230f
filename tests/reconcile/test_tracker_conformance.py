"""What the reconcilers rely on: the same of MLflow's own server and of the servers in memory."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from modelyard.adapters.mlflow import IDENTITY_TAG, MLflowTracker
from modelyard.ports.tracking import RunTracker, TrackedMetric, TrackedRun, TrackingUnavailable

from .conftest import TrackingServers

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


@dataclass
class Subject:
    """A tracker, a server for it, and what that server holds by identity."""

    tracker: RunTracker
    uri: str
    runs: Callable[[], Mapping[str, Any]]


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of MLflow's own tracking server."""
    tool = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, check=False)
    if tool.returncode:
        pytest.skip(tool.stderr.strip())
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
    python = Path(tool.stdout.strip()).with_name("python")
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [python, "-c", SERVE, str(port)],
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


@pytest.mark.soak
@pytest.mark.timeout(400)
async def test_a_thousand_runs_are_told_within_a_minute(mlflow: str) -> None:
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
    assert took < 60
