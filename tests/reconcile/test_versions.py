"""What another version of Modelyard has stored: read as far as it can be, else named, never lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from modelyard.api.artifacts import RECORD, run_key
from modelyard.api.deployment import DeploymentStatus
from modelyard.api.resources import Key
from modelyard.reconcile.reconciler import reconcile

OLD_DRIFT = {"threshold": 0.3, "minEffect": 0.1}
EARLIER_STATUS: dict[str, dict[str, Any]] = {
    "Dataset": {"snapshot": {"rows": "many"}, "score": 1},
    "Experiment": {"history": [{"run": 1}], "leaderboard": {"first": "LightGBM"}},
    "ModelVersion": {"artifact": "sha256:0", "stage": "Blessed"},
    "Deployment": {"canary": 50, "history": ["tumor-1"]},
    "Monitor": {"drift": {"found": True}, "alerts": {"drift": "Firing"}},
    "Project": {"cost": {"spent": 1}},
    "Policy": {"digest": ["a"], "results": []},
}


async def everything(world: Any) -> str:
    """Go all the way to a Monitor that watches; return the ModelVersion that serves."""
    version: str = await world.trained()
    rule = {"name": "auc", "path": "modelVersion.status.metrics.roc_auc",
            "operator": "GreaterOrEqual", "value": 0.5}  # fmt: skip
    await world.commit("Policy", "good", {"gates": ["deploy"], "rules": [rule]})
    await world.commit("Deployment", "api", {"model": {"experiment": "tumor"}})
    await world.settle()
    world.serve("api")
    await world.commit("Monitor", "watch", {"deploymentRef": {"name": "api"}})
    await world.settle()
    return version


def readiness(world: Any) -> dict[str, tuple[str, str]]:
    return {str(key): world.ready(key.kind, key.name) for key in world.all_keys()}


async def test_an_earlier_status_is_read_as_far_as_it_can_be_and_written_anew(world: Any) -> None:
    await everything(world)
    before = readiness(world)
    for key in world.all_keys():
        world.get(key.kind, key.name)["status"] |= EARLIER_STATUS[key.kind]
    world.cluster.writes.clear()
    await world.settle()
    assert readiness(world) == before
    started = [write for write in world.cluster.writes if "Workflow" in write]
    assert started == []


def test_what_is_not_understood_of_a_status_is_left_out() -> None:
    stored = {"status": {"modelVersion": "a-1", "canary": 50, "weather": "fine", "history": [{}]}}
    assert DeploymentStatus.of(stored) == DeploymentStatus(model_version="a-1")
    assert DeploymentStatus.of(None) == DeploymentStatus()


async def test_a_spec_of_an_earlier_shape_is_named_with_the_next_step(world: Any) -> None:
    await everything(world)
    monitor = world.get("Monitor", "watch")
    monitor["spec"]["drift"] = OLD_DRIFT
    before = json.dumps(monitor["spec"])
    await world.settle()
    assert world.ready("Monitor", "watch") == ("False", "InvalidSpec")
    message = world.message("Monitor", "watch")
    assert message.startswith("spec.drift.threshold: must be a mapping of fields; ")
    assert "kubectl explain --api-version=modelyard.dev/v1alpha1 monitors.spec.drift" in message
    assert "`kubectl replace`" in message
    assert json.dumps(world.get("Monitor", "watch")["spec"]) == before
    others = {
        name: found for name, found in readiness(world).items() if not name.startswith("monitor")
    }
    assert {status for status, _ in others.values()} == {"True"}

    await world.commit("Monitor", "watch", {"deploymentRef": {"name": "api"}})
    await world.settle()
    assert world.ready("Monitor", "watch") == ("True", "Watching")


async def test_a_project_that_cannot_be_read_stops_nothing_and_is_named(world: Any) -> None:
    await everything(world)
    world.get("Project", "team")["spec"]["quota"] = "large"
    world.cluster.writes.clear()
    await world.settle()
    assert world.ready("Project", "team") == ("False", "InvalidSpec")
    assert world.ready("Deployment", "api") == ("False", "ProjectNotReady")
    assert world.message("Deployment", "api").startswith("Project team: spec.quota: ")
    assert world.get("Deployment", "api")["status"]["modelVersion"]
    changed = [write for write in world.cluster.writes if not write.startswith("status")]
    assert [write for write in changed if "'Event'" not in write] == []
    del world.get("Project", "team")["spec"]["quota"]
    await world.settle()
    assert {status for status, _ in readiness(world).values()} == {"True"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"gates": ["deploy"]}, ("False", "PolicyInvalid"), id="it judges here"),
        pytest.param({"gates": ["train"]}, ("True", "Serving"), id="it judges elsewhere"),
        pytest.param({"gates": ["deploy"], "enforcement": "Warn"}, ("True", "Serving"),
                     id="it only warns"),
    ],
)  # fmt: skip
async def test_a_policy_that_cannot_be_read_shuts_its_gates(
    world: Any, spec: dict[str, Any], expected: tuple[str, str]
) -> None:
    await everything(world)
    world.get("Policy", "good")["spec"] = spec | {"rules": "auc > 0.5"}
    await world.settle()
    assert world.ready("Policy", "good") == ("False", "InvalidSpec")
    assert world.ready("Deployment", "api") == expected
    if "deploy" in spec["gates"]:
        [verdict] = world.get("Deployment", "api")["status"]["verdicts"]
        assert (verdict["policy"], verdict["allowed"]) == ("good", False)
        assert "spec.rules: " in str(verdict)


async def change_record(world: Any, **changes: Any) -> Key:
    """Let the record of the search be one of another version."""
    await everything(world)
    identity = world.get("Experiment", "tumor")["status"]["run"]["identity"]
    path = f"{run_key('n', 'Experiment', 'tumor', identity)}/{RECORD}"
    record = json.loads(await world.store.read(path)) | changes
    kept = {name: value for name, value in record.items() if value is not None}
    await world.store.write(path, json.dumps(kept).encode())
    world.cluster.writes.clear()
    await world.settle()
    return Key("Experiment", "n", "tumor")


async def test_what_a_later_version_added_to_a_record_is_passed_over(world: Any) -> None:
    provenance = {"codeVersion": "9.0", "startedAt": "t0", "finishedAt": "t1", "planet": "Mars"}
    key = await change_record(world, carbon={"grams": 3}, provenance=provenance)
    assert world.ready(*key[::2]) == ("True", "SearchFinished")
    assert world.condition("Experiment", "tumor", "Outdated") == ("True", "OtherVersion")


async def test_a_record_that_cannot_be_read_is_named_and_nothing_runs_again(world: Any) -> None:
    await change_record(world, metrics=None)
    assert world.ready("Experiment", "tumor") == ("False", "RecordUnreadable")
    assert "metrics: Field required" in world.message("Experiment", "tumor")
    assert [write for write in world.cluster.writes if "Workflow" in write] == []
    assert world.get("Deployment", "api")["status"]["modelVersion"]
    await reconcile(Key("Experiment", "n", "tumor"), world.ports)
