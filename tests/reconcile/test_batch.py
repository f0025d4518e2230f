"""A Deployment in mode Batch: one run for each model, rows and spec, whatever restarts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from modelyard.api.artifacts import FAILURE, PROGRESS, Failure, run_key
from modelyard.api.meta import SOURCE_DIGEST, SOURCE_DIRECTORY
from modelyard.api.resources import WORKFLOW
from modelyard.api.runs import BatchConfig
from modelyard.api.runtime import CONFIG_VARIABLE

from tests.reconcile.test_gates import at_least
from tests.records import FINGERPRINT, batch_record

NIGHTLY: dict[str, Any] = {
    "model": {"experiment": "tumor"},
    "mode": "Batch",
    "batch": {"input": {"datasetRef": {"name": "cells"}}},
}


def batches(world: Any) -> list[dict[str, Any]]:
    found = world.children("Workflow")
    return [child for child in found if child["metadata"]["name"].startswith("batch-")]


def config_of(child: dict[str, Any]) -> BatchConfig:
    (template,) = child["spec"]["templates"]
    values = {entry["name"]: entry.get("value") for entry in template["container"]["env"]}
    return BatchConfig.model_validate_json(values[CONFIG_VARIABLE])


async def deployed(world: Any, spec: dict[str, Any] | None = None, **metadata: Any) -> str:
    """Commit a batch beside a trained model; return the ModelVersion."""
    version: str = await world.trained()
    await world.commit("Deployment", "nightly", spec or NIGHTLY, **metadata)
    await world.settle()
    return version


async def finish(world: Any, **result: Any) -> BatchConfig:
    """Let the latest run leave its record."""
    identity = world.get("Deployment", "nightly")["status"]["run"]["identity"]
    config = next(found for found in map(config_of, batches(world)) if found.identity == identity)
    await world.record("Deployment", "nightly", batch_record(config, **result))
    await world.settle()
    return config


def status(world: Any) -> dict[str, Any]:
    found: dict[str, Any] = world.get("Deployment", "nightly")["status"]
    return found


async def test_a_batch_runs_once_and_says_what_it_made(world: Any) -> None:
    version = await deployed(world)
    assert world.ready("Deployment", "nightly") == ("False", "BatchRunning")
    (child,) = batches(world)
    config = config_of(child)
    assert config.snapshot_digest == FINGERPRINT
    assert config.model_version == version
    assert config.output_uri.startswith(f"{world.store.config.uri}/batches/n/nightly/")

    await finish(world)

    assert world.ready("Deployment", "nightly") == ("True", "BatchFinished")
    assert "98 of 100 rows; 2 were rejected" in world.message("Deployment", "nightly")
    found = status(world)
    assert (
        found["batch"]["rowsWritten"] + found["batch"]["rowsRejected"] == found["batch"]["rowsRead"]
    )
    assert found["progress"] == {"done": 100, "total": 100, "shards": 1}
    assert found["runs"][0]["state"] == "Succeeded"
    assert found["modelVersion"] == version
    before = list(world.cluster.writes)
    await world.settle()
    assert world.cluster.writes == before


async def test_it_says_what_most_rows_were_rejected_for(world: Any) -> None:
    await deployed(world)
    counts = {"rows_written": 0, "rows_rejected": 100}
    await finish(world, **counts, most_rejected_for="tenure: TypeMismatch")

    told = "0 of 100 rows; 100 were rejected, most for tenure: TypeMismatch; see _rejected-*.jsonl"
    assert told in world.message("Deployment", "nightly")


async def test_progress_is_told_while_it_runs(world: Any) -> None:
    await deployed(world)
    identity = status(world)["run"]["identity"]
    key = f"{run_key('n', 'Deployment', 'nightly', identity)}/{PROGRESS}"
    await world.store.write(key, b'{"done":40,"total":100,"shards":2}')
    await world.settle()
    assert status(world)["progress"] == {"done": 40, "total": 100, "shards": 2}


async def test_other_rows_start_another_run_and_the_result_before_stands_meanwhile(
    world: Any,
) -> None:
    await deployed(world)
    first = await finish(world)
    await world.commit("Dataset", "cells", {"source": {"builtin": "wine"}})
    await world.settle()
    await world.finish_dataset("cells", fingerprint="sha256:" + "e" * 64)
    await world.settle()

    # The Experiment learns from these rows too; until it has, there is nothing to score with.
    assert status(world)["batch"]["outputUri"] == first.output_uri
    assert len(batches(world)) == 1
    await world.finish_experiment("tumor")
    await world.settle()
    assert len(batches(world)) == 2
    assert status(world)["batch"]["outputUri"] == first.output_uri
    second = await finish(world)
    assert second.identity != first.identity
    assert [run["identity"] for run in status(world)["runs"]] == [second.identity, first.identity]


async def test_the_same_rows_are_never_scored_twice(world: Any) -> None:
    await deployed(world)
    first = await finish(world)
    await world.commit(
        "Deployment", "nightly", NIGHTLY | {"batch": NIGHTLY["batch"] | {"rowsPerShard": 10}}
    )
    await world.settle()
    assert len(batches(world)) == 2
    await finish(world)

    for child in batches(world):  # their time to live is over
        await world.cluster.delete(WORKFLOW, "n", child["metadata"]["name"])
    await world.commit("Deployment", "nightly", NIGHTLY)
    await world.settle()

    assert batches(world) == []
    assert status(world)["run"]["identity"] == first.identity
    assert world.ready("Deployment", "nightly") == ("True", "BatchFinished")


async def test_a_new_token_scores_once_more(world: Any) -> None:
    await deployed(world)
    await finish(world)
    await world.commit("Deployment", "nightly", NIGHTLY | {"run": {"token": "again"}})
    await world.settle()
    assert len(batches(world)) == 2


async def test_a_lost_status_is_found_again_in_the_store(world: Any) -> None:
    await deployed(world)
    await finish(world)
    before = status(world)
    await world.cluster.delete(WORKFLOW, "n", batches(world)[0]["metadata"]["name"])
    world.set_status("Deployment", "nightly", {})
    await world.settle()
    assert batches(world) == []
    assert status(world)["batch"] == before["batch"]
    assert [run["state"] for run in status(world)["runs"]] == ["Succeeded"]


async def test_suspend_stops_the_run_and_going_on_starts_it_again(world: Any) -> None:
    await deployed(world)
    await world.commit("Deployment", "nightly", NIGHTLY | {"suspend": True})
    await world.settle()
    assert batches(world) == []
    assert world.ready("Deployment", "nightly") == ("False", "Suspended")
    await world.commit("Deployment", "nightly", NIGHTLY)
    await world.settle()
    assert len(batches(world)) == 1


async def test_a_cancelled_run_ends_and_stays_ended(world: Any) -> None:
    await deployed(world)
    await world.commit("Deployment", "nightly", NIGHTLY | {"run": {"cancel": True}})
    await world.settle()
    assert batches(world) == []
    assert world.ready("Deployment", "nightly") == ("False", "Cancelled")
    await world.commit("Deployment", "nightly", NIGHTLY)
    await world.settle()
    assert batches(world) == []


async def test_a_failure_is_told_and_nothing_runs_again(world: Any) -> None:
    await deployed(world)
    identity = status(world)["run"]["identity"]
    failure = Failure(reason="MissingColumn", message="no column age; add it")
    key = f"{run_key('n', 'Deployment', 'nightly', identity)}/{FAILURE}"
    await world.store.write(key, failure.model_dump_json(by_alias=True).encode())
    await world.settle()
    assert world.ready("Deployment", "nightly") == ("False", "MissingColumn")
    assert status(world)["run"]["state"] == "Failed"


async def test_each_slot_scores_once(world: Any) -> None:
    await deployed(world, NIGHTLY | {"schedule": {"every": "6h"}})
    assert world.ready("Deployment", "nightly") == ("True", "AwaitingSlot")
    assert batches(world) == []
    for number in (1, 2, 3):
        world.clock.move(timedelta(hours=6).total_seconds())
        await world.settle()
        assert len(batches(world)) == number
        await finish(world)
        assert world.ready("Deployment", "nightly") == ("True", "BatchFinished")
    assert status(world)["schedule"]["missedSlots"] == 0


async def test_a_denied_model_scores_nothing(world: Any) -> None:
    await world.commit("Policy", "never", at_least(0.99))
    await deployed(world)
    assert batches(world) == []
    assert world.ready("Deployment", "nightly") == ("False", "PolicyDenied")
    assert not status(world)["verdicts"][0]["allowed"]


@pytest.mark.parametrize(
    ("spec", "reason", "names"),
    [
        pytest.param({"datasetRef": {"name": "absent"}}, "DatasetMissing", "spec.batch.input.datasetRef", id="no such Dataset"),
        pytest.param({"source": {"path": "rows.csv"}}, "RelativePath", "spec.batch.input.source.path", id="relative to nothing"),
        pytest.param({"source": {"uri": "s3://b/rows", "connectionRef": {"name": "lake"}}}, "ConnectionMissing", "spec.batch.input.source.connectionRef", id="no such connection"),
    ],
)  # fmt: skip
async def test_what_keeps_a_batch_from_running_is_named(
    world: Any, spec: dict[str, Any], reason: str, names: str
) -> None:
    await deployed(world, NIGHTLY | {"batch": {"input": spec}})
    assert world.ready("Deployment", "nightly") == ("False", reason)
    assert names in world.message("Deployment", "nightly")
    assert batches(world) == []


async def test_there_is_nothing_to_watch_on_a_batch(world: Any) -> None:
    await deployed(world)
    await finish(world)
    await world.commit("Monitor", "drift", {"deploymentRef": {"name": "nightly"}})
    await world.settle()
    assert world.ready("Monitor", "drift") == ("False", "NothingServes")
    assert "mode Online" in world.message("Monitor", "drift")


async def test_files_are_scored_again_when_they_change(world: Any) -> None:
    spec = NIGHTLY | {
        "batch": {"input": {"source": {"path": "rows.csv"}}, "output": {"uri": "file:///out"}}
    }
    annotations = {SOURCE_DIRECTORY: "/project", SOURCE_DIGEST: "sha256:1"}
    await deployed(world, spec, annotations=annotations)
    config = config_of(batches(world)[0])
    assert config.batch.input.source is not None
    assert config.batch.input.source.path == "/project/rows.csv"
    assert config.output_uri == f"file:///out/nightly-{config.identity[:10]}"
    await finish(world)

    await world.commit(
        "Deployment", "nightly", spec, annotations=annotations | {SOURCE_DIGEST: "sha256:2"}
    )
    await world.settle()
    assert len(batches(world)) == 2


@pytest.mark.parametrize(
    ("source", "output", "runs"),
    [
        pytest.param({"path": "/d"}, "file:///d", 0, id="the same folder"),
        pytest.param({"path": "rows"}, "file:///project/rows/scored/", 0, id="inside, relative"),
        pytest.param({"path": "/d"}, "file:///d/../d/%6fut", 0, id="inside, in another notation"),
        pytest.param({"path": "/d/new"}, "file:///d", 0, id="around"),
        pytest.param({"uri": "s3://b/d/"}, "s3://b/d/scored", 0, id="inside a prefix"),
        pytest.param({"uri": "s3://b"}, "s3://b/d", 0, id="inside a bucket"),
        pytest.param({"path": "/d"}, "file:///data", 1, id="beside"),
        pytest.param({"uri": "s3://b/d"}, "s3://b/data", 1, id="another prefix"),
        pytest.param({"path": "/b/d"}, "s3://b/d", 1, id="another store"),
    ],
)
async def test_a_batch_never_scores_what_it_wrote(
    world: Any, source: dict[str, Any], output: str, runs: int
) -> None:
    lake = {"connectionRef": {"name": "lake"}}
    read = source | (lake if "uri" in source else {})
    written = {"uri": output} | (lake if output.startswith("s3") else {})
    spec = NIGHTLY | {"batch": {"input": {"source": read}, "output": written}}
    connection = {"name": "lake", "type": "S3", "secretRef": {"name": "keys"}}
    await deployed(world, spec, annotations={SOURCE_DIRECTORY: "/project"})
    await world.commit("Project", "team", {"connections": [connection]})
    await world.settle()

    assert len(batches(world)) == runs
    if not runs:
        assert world.ready("Deployment", "nightly") == ("False", "OutputOverlapsInput")
        told = world.message("Deployment", "nightly")
        for part in ("spec.batch.output.uri", "spec.batch.input.source.", "a folder outside"):
            assert part in told


async def test_connections_reach_the_run_by_reference_alone(world: Any) -> None:
    connection = {
        "name": "lake",
        "type": "S3",
        "endpoint": "http://s3",
        "secretRef": {"name": "keys"},
    }
    spec = NIGHTLY | {
        "batch": {
            "input": {"source": {"uri": "s3://b/rows", "connectionRef": {"name": "lake"}}},
            "output": {"uri": "s3://b/scored", "connectionRef": {"name": "lake"}},
        }
    }
    await deployed(world, spec)
    await world.commit("Project", "team", {"connections": [connection]})
    await world.settle()
    (child,) = batches(world)
    config = config_of(child)
    assert config.source_store is not None
    assert config.output_store is not None
    assert config.output_store.endpoint == "http://s3"
    env = child["spec"]["templates"][0]["container"]["env"]
    assert {"OUTPUT_AWS_SECRET_ACCESS_KEY", "SOURCE_AWS_ACCESS_KEY_ID"} <= {e["name"] for e in env}
    assert all("value" not in entry for entry in env if "AWS" in entry["name"])
    assert "keys" not in json.dumps(config.to_json())
