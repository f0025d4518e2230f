"""The main job, kind by kind: from a source to a served and watched model, and back."""

import json
from typing import Any

import pytest
from modelyard.api.artifacts import FAILURE, LATEST, PROGRESS, Failure, monitor_key, run_key
from modelyard.api.experiment import Progress
from modelyard.api.meta import SOURCE_DIGEST, SOURCE_DIRECTORY
from modelyard.api.records import MonitorRecord
from modelyard.api.resources import OURS, Key
from modelyard.api.runtime import CONFIG_VARIABLE
from modelyard.judge.run import RETRY_SECONDS
from modelyard.reconcile.reconciler import reconcile

SERVE_BEST = {"model": {"experiment": "tumor"}}


async def test_nothing_happens_without_a_project(world: Any) -> None:
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "ProjectMissing")
    assert world.children("Workflow") == []


async def test_a_second_project_in_a_namespace_is_refused(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Project", "other", {})
    await world.settle()
    assert world.ready("Project", "team") == ("True", "StoreReachable")
    assert world.ready("Project", "other") == ("False", "ProjectConflict")


async def test_a_dataset_starts_one_workflow_and_becomes_ready_with_its_record(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "SnapshotRunning")
    assert len(world.children("Workflow")) == 1
    await world.finish_dataset("cells")
    await world.settle()
    assert world.ready("Dataset", "cells") == ("True", "SnapshotReady")
    assert world.get("Dataset", "cells")["status"]["snapshot"]["rows"] == 100


async def test_a_settled_world_is_written_to_no_more(world: Any) -> None:
    await world.trained()
    await world.commit("Deployment", "api", SERVE_BEST)
    await world.settle()
    world.serve("api")
    await world.commit("Monitor", "watch", {"deploymentRef": {"name": "api"}})
    await world.settle()
    count = len(world.cluster.writes)
    world.clock.move(3600)
    await world.settle()
    assert world.cluster.writes[count:] == []
    for key in world.all_keys():
        assert world.ready(key.kind, key.name)[0] == "True", key


async def test_a_finished_run_never_starts_again_when_its_child_is_gone(world: Any) -> None:
    await world.trained()
    for workflow in world.children("Workflow"):
        await_name = workflow["metadata"]["name"]
        del world.cluster.objects["Workflow", "n", await_name]
    await world.settle()
    assert world.children("Workflow") == []
    assert world.ready("Experiment", "tumor") == ("True", "SearchFinished")


async def test_a_failed_run_never_starts_again_when_its_child_is_gone(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.settle()
    name = world.children("Workflow")[0]["metadata"]["name"]
    world.set_status("Workflow", name, {"phase": "Failed", "message": "exit code 137"})
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "ChildFailed")
    assert "exit code 137" in world.message("Dataset", "cells")
    del world.cluster.objects["Workflow", "n", name]
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "ChildFailed")
    assert world.children("Workflow") == []


async def test_a_new_token_starts_exactly_one_run(world: Any) -> None:
    await world.trained()
    before = len(world.children("Workflow"))
    spec = world.get("Experiment", "tumor")["spec"] | {"run": {"token": "again"}}
    await world.commit("Experiment", "tumor", spec)
    for _ in range(3):
        await world.settle()
    assert len(world.children("Workflow")) == before + 1


async def test_reverting_the_spec_finds_the_earlier_run_and_trains_nothing(world: Any) -> None:
    first = await world.trained()
    original = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", original | {"seed": 7})
    await world.settle()
    second = await world.finish_experiment("tumor")
    await world.settle()
    assert world.get("Experiment", "tumor")["status"]["bestModelVersion"] == second != first
    children = len(world.children("Workflow"))
    await world.commit("Experiment", "tumor", original)
    await world.settle()
    assert world.get("Experiment", "tumor")["status"]["bestModelVersion"] == first
    assert len(world.children("Workflow")) == children


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"seed": 7}, id="seed"),
        pytest.param({"search": {"trials": 3, "learners": ["Linear"]}}, id="search"),
        pytest.param({"ensemble": {"type": "None"}}, id="ensemble"),
        pytest.param({"validation": {"folds": 3}}, id="folds"),
    ],
)
async def test_a_change_of_the_model_alone_takes_no_new_snapshot(
    world: Any, change: dict[str, Any]
) -> None:
    await world.trained()
    before = {child["metadata"]["name"] for child in world.children("Workflow")}
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | change)
    await world.settle()
    after = {child["metadata"]["name"] for child in world.children("Workflow")}
    [started] = after - before
    assert started.startswith("train-")
    assert world.ready("Dataset", "cells") == ("True", "SnapshotReady")


async def test_a_failure_that_the_runtime_stored_is_told_with_its_reason(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"path": "/nowhere.csv"}})
    await world.settle()
    identity = world.get("Dataset", "cells")["status"]["run"]["identity"]
    failure = Failure(reason="UnreadableSource", message="spec.source.path: no such file; mend it.")
    key = run_key("n", "Dataset", "cells", identity)
    await world.store.write(f"{key}/{FAILURE}", failure.model_dump_json(by_alias=True).encode())
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "UnreadableSource")
    assert "no such file" in world.message("Dataset", "cells")
    assert "UnreadableSource" in world.events()


async def test_a_failure_that_may_pass_is_tried_again_after_a_rest(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.settle()
    identity = world.get("Dataset", "cells")["status"]["run"]["identity"]
    failure = Failure(reason="UnreadableSource", message="wrong keys", retryable=True)
    key = run_key("n", "Dataset", "cells", identity)
    await world.store.write(f"{key}/{FAILURE}", failure.model_dump_json(by_alias=True).encode())
    [child] = world.children("Workflow")
    ended = {"phase": "Failed", "finishedAt": "2026-01-01T00:00:00Z"}
    world.set_status("Workflow", child["metadata"]["name"], ended)
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "UnreadableSource")
    assert world.children("Workflow")[0]["status"] == ended
    world.clock.move(RETRY_SECONDS)
    await world.settle()
    [again] = world.children("Workflow")
    assert again["metadata"]["name"] == child["metadata"]["name"]
    assert "status" not in again
    await world.finish_dataset("cells")
    await world.settle()
    assert world.ready("Dataset", "cells") == ("True", "SnapshotReady")


async def test_a_failure_that_does_not_pass_is_tried_once_a_rest_and_never_in_a_burst(
    world: Any,
) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.settle()
    identity = world.get("Dataset", "cells")["status"]["run"]["identity"]
    failure = Failure(reason="UnreadableSource", message="wrong keys", retryable=True)
    key = run_key("n", "Dataset", "cells", identity)
    await world.store.write(f"{key}/{FAILURE}", failure.model_dump_json(by_alias=True).encode())
    starts = 0
    for _ in range(120):
        [child] = world.children("Workflow")
        if "status" not in child:
            starts += 1
            ended = world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
            failed = {"phase": "Failed", "finishedAt": ended}
            world.set_status("Workflow", child["metadata"]["name"], failed)
        world.clock.move(5)
        await world.settle()
    assert starts == 120 * 5 / RETRY_SECONDS


async def test_an_experiment_waits_for_a_dataset_that_is_blocked(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.commit(
        "Experiment",
        "tumor",
        {"datasetRef": {"name": "cells"}, "task": {"type": "Regression", "target": "y"}},
    )
    await world.settle()
    result = {"name": "age", "passed": False, "onFail": "Block", "message": "12 rows above 120"}
    await world.finish_dataset("cells", blocked=True, expectations=[result])
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "ExpectationFailed")
    assert "12 rows above 120" in world.message("Dataset", "cells")
    assert world.ready("Experiment", "tumor") == ("False", "DatasetNotReady")
    assert "12 rows above 120" in world.message("Experiment", "tumor")


async def test_a_missing_dataset_is_named(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit(
        "Experiment",
        "tumor",
        {"datasetRef": {"name": "none"}, "task": {"type": "Regression", "target": "y"}},
    )
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "DatasetMissing")
    assert "none" in world.message("Experiment", "tumor")


async def test_a_missing_backend_is_named_and_healed_without_restart(world: Any) -> None:
    world.cluster.missing.add("Workflow")
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "BackendMissing")
    assert "Workflow" in world.message("Dataset", "cells")
    world.cluster.missing.clear()
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "SnapshotRunning")


async def test_what_the_api_server_refuses_is_told_and_tried_again(world: Any) -> None:
    world.cluster.refused["Workflow"] = "exceeded quota"
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "breast_cancer"}})
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "RequestRefused")
    assert "exceeded quota" in world.message("Dataset", "cells")
    assert await reconcile(Key("Dataset", "n", "cells"), world.ports)
    world.cluster.refused.clear()
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "SnapshotRunning")


async def test_too_much_parallelism_is_refused_by_the_quota(world: Any) -> None:
    await world.commit("Project", "team", {"quota": {"parallelTrials": 1}})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.commit(
        "Experiment",
        "tumor",
        {
            "datasetRef": {"name": "cells"},
            "task": {"type": "Regression", "target": "y"},
            "execution": {"parallelism": 2},
        },
    )
    await world.settle()
    await world.finish_dataset("cells")
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "QuotaExceeded")
    assert world.message("Experiment", "tumor").count("spec.execution.parallelism") == 1


async def test_a_search_that_declares_no_parallelism_takes_what_the_quota_grants(
    world: Any,
) -> None:
    name = await world.trained(quota={"parallelTrials": 1})
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"execution": {"backend": "Ray"}, "seed": 1})
    await world.settle()
    (run,) = world.children("RayJob")
    cluster = run["spec"]["rayClusterSpec"]
    assert [group["replicas"] for group in cluster["workerGroupSpecs"]] == [1]
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    config = json.loads({e["name"]: e for e in head["env"]}[CONFIG_VARIABLE]["value"])
    assert (config["parallelism"], config["workers"]) == (2, 1)
    await world.commit("Experiment", "tumor", spec)
    await world.commit("Project", "team", {"quota": {"parallelTrials": 2}})
    await world.settle()
    assert world.get("Experiment", "tumor")["status"]["bestModelVersion"] == name


async def test_ray_runs_the_search_when_asked_for(world: Any) -> None:
    await world.trained()
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 1, "execution": {"backend": "Ray"}})
    await world.settle()
    assert len(world.children("RayJob")) == 1


@pytest.mark.parametrize(("backend", "kind"), [("Argo", "Workflow"), ("Ray", "RayJob")])
async def test_suspending_a_search_takes_its_child_away_and_resuming_starts_the_same_run(
    world: Any, backend: str, kind: str
) -> None:
    await world.trained()
    spec = world.get("Experiment", "tumor")["spec"]
    spec |= {"seed": 1, "execution": {"backend": backend}}
    await world.commit("Experiment", "tumor", spec)
    await world.settle()
    run = world.get("Experiment", "tumor")["status"]["run"]
    before = world.get(kind, run["child"])
    identity = run["identity"]
    progress = Progress(done=3, total=8, best_metric=0.9).model_dump_json(by_alias=True)
    await world.store.write(
        f"{run_key('n', 'Experiment', 'tumor', identity)}/{PROGRESS}", progress.encode()
    )

    await world.commit("Experiment", "tumor", spec | {"suspend": True})
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "Suspended")
    assert (kind, "n", run["child"]) not in world.cluster.objects
    assert world.get("Experiment", "tumor")["status"]["progress"]["done"] == 3
    assert await reconcile(Key("Experiment", "n", "tumor"), world.ports) is None, (
        "nothing to wait for"
    )

    await world.commit("Experiment", "tumor", spec)
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "SearchRunning")
    assert world.get("Experiment", "tumor")["status"]["run"] == run
    assert world.get(kind, run["child"])["spec"] == before["spec"]


async def test_a_child_that_is_still_being_deleted_is_no_failed_run(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.settle()
    [child] = world.children("Workflow")
    child["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    child["status"] = {"phase": "Failed", "message": "terminated"}
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "SnapshotRunning")
    del world.cluster.objects["Workflow", "n", child["metadata"]["name"]]
    await world.settle()
    assert len(world.children("Workflow")) == 1
    assert world.ready("Dataset", "cells") == ("False", "SnapshotRunning")


async def test_a_suspended_dataset_stops_its_snapshot(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.settle()
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}, "suspend": True})
    await world.settle()
    assert world.children("Workflow") == []
    assert world.ready("Dataset", "cells") == ("False", "Suspended")


async def test_cancelling_ends_the_run_for_good(world: Any) -> None:
    await world.trained()
    spec = world.get("Experiment", "tumor")["spec"] | {"seed": 1}
    await world.commit("Experiment", "tumor", spec)
    await world.settle()
    await world.commit("Experiment", "tumor", spec | {"run": {"cancel": True}})
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "Cancelled")
    child = world.get("Experiment", "tumor")["status"]["run"]["child"]
    assert ("Workflow", "n", child) not in world.cluster.objects
    await world.commit("Experiment", "tumor", spec)
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "Cancelled")


async def test_an_upgrade_marks_results_outdated_and_starts_nothing(world: Any) -> None:
    await world.trained()
    children = len(world.children("Workflow"))
    provenance = {"codeVersion": "0.0.1", "startedAt": "t", "finishedAt": "t"}
    await world.finish_experiment("tumor", provenance=provenance)
    await world.settle()
    assert world.condition("Experiment", "tumor", "Outdated") == ("True", "OtherVersion")
    assert world.ready("Experiment", "tumor")[0] == "True"
    assert len(world.children("Workflow")) == children


@pytest.mark.parametrize("annotation", ["sha256:1", "sha256:2"])
async def test_other_files_behind_a_path_are_another_run(world: Any, annotation: str) -> None:
    await world.commit("Project", "team", {})
    notes = {SOURCE_DIRECTORY: "/project", SOURCE_DIGEST: "sha256:0"}
    await world.commit("Dataset", "cells", {"source": {"path": "a.csv"}}, annotations=notes)
    await world.settle()
    before = world.get("Dataset", "cells")["status"]["run"]["identity"]
    assert '"path":"/project/a.csv"' in str(world.children("Workflow")[0])
    notes = notes | {SOURCE_DIGEST: annotation}
    await world.commit("Dataset", "cells", {"source": {"path": "a.csv"}}, annotations=notes)
    await world.settle()
    assert world.get("Dataset", "cells")["status"]["run"]["identity"] != before


async def test_a_relative_path_without_a_directory_is_refused(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", {"source": {"path": "a.csv"}})
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "RelativePath")


async def test_a_pruned_model_version_is_rebuilt_without_training_at_no_stage(world: Any) -> None:
    name = await world.trained()
    children = len(world.children("Workflow"))
    digest = world.get("ModelVersion", name)["status"]["artifact"]["digest"]
    del world.cluster.objects["ModelVersion", "n", name]
    await world.settle()
    assert world.get("ModelVersion", name)["spec"] == {}
    assert world.get("ModelVersion", name)["status"]["artifact"]["digest"] == digest
    assert world.get("ModelVersion", name)["status"]["stage"] == "None"
    assert len(world.children("Workflow")) == children


async def test_a_promotion_can_be_committed_before_the_training_ends(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.commit("ModelVersion", "tumor-0123456789", {"stage": "Staging"})
    await world.settle()
    assert world.ready("ModelVersion", "tumor-0123456789") == ("False", "WaitingForRun")


@pytest.mark.parametrize("name", ["tumor", "tumor-xyz"])
async def test_a_version_whose_name_tells_no_run_is_refused(world: Any, name: str) -> None:
    await world.commit("Project", "team", {})
    await world.commit("ModelVersion", name, {})
    await world.settle()
    assert world.ready("ModelVersion", name) == ("False", "UnknownRun")


async def test_changed_bytes_are_a_digest_mismatch(world: Any) -> None:
    name = await world.trained()
    uri = world.get("ModelVersion", name)["status"]["artifact"]["uri"]
    key = uri.removeprefix(world.store.config.uri + "/")
    await world.store.write(f"{key}/manifest.json", b'{"files":[],"mediaType":"x"}')
    await world.settle()
    assert world.ready("ModelVersion", name) == ("False", "DigestMismatch")
    await world.store.remove(key)
    await world.settle()
    assert world.ready("ModelVersion", name) == ("False", "ArtifactMissing")


async def test_a_model_made_elsewhere_is_imported_by_its_digest(world: Any) -> None:
    await world.commit("Project", "team", {})
    artifact = await world.artifact(b"made elsewhere")
    source = {"uri": artifact.uri, "digest": artifact.digest}
    await world.commit("ModelVersion", "adopted", {"import": source})
    await world.commit(
        "ModelVersion", "forged", {"import": source | {"digest": "sha256:" + "0" * 64}}
    )
    await world.settle()
    assert world.ready("ModelVersion", "adopted") == ("True", "Registered")
    assert world.ready("ModelVersion", "forged") == ("False", "DigestMismatch")


async def test_a_deployment_serves_the_winner(world: Any) -> None:
    name = await world.trained()
    await world.commit("Deployment", "api", SERVE_BEST)
    await world.settle()
    assert (
        world.ready("Deployment", "api") == ("False", "Starting")
        or world.ready("Deployment", "api")[1] == "Loading"
    )
    world.serve("api")
    await world.settle()
    assert world.ready("Deployment", "api") == ("True", "Serving")
    status = world.get("Deployment", "api")["status"]
    assert (status["modelVersion"], status["url"]) == (name, "http://api.example")
    assert status["modelDigest"] == world.get("ModelVersion", name)["status"]["artifact"]["digest"]


async def test_what_serves_goes_on_serving_while_another_model_is_searched(world: Any) -> None:
    name = await world.trained()
    await world.commit("Deployment", "api", SERVE_BEST)
    await world.settle()
    world.serve("api")
    await world.settle()
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 1})
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "ExperimentNotReady")
    assert world.get("Deployment", "api")["status"]["modelVersion"] == name
    assert len(world.children("InferenceService")) == 1


async def test_two_versions_at_one_stage_keep_what_serves(world: Any) -> None:
    first = await world.trained()
    await world.commit("ModelVersion", first, {"stage": "Staging"})
    await world.commit("Deployment", "api", {"model": {"experiment": "tumor", "stage": "Staging"}})
    await world.settle()
    world.serve("api")
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 1})
    await world.settle()
    second = await world.finish_experiment("tumor")
    await world.settle()
    await world.commit("ModelVersion", second, {"stage": "Staging"})
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "AmbiguousStage")
    assert world.get("Deployment", "api")["status"]["modelVersion"] == first


async def test_a_model_server_that_fails_is_told_with_its_message(world: Any) -> None:
    await world.trained()
    await world.commit("Deployment", "api", SERVE_BEST)
    await world.settle()
    failed = {
        "transitionStatus": "BlockedByFailedLoad",
        "lastFailureInfo": {"message": "bad digest"},
    }
    world.set_status("InferenceService", "api", {"observedGeneration": 1, "modelStatus": failed})
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "ModelLoadFailed")
    assert "bad digest" in world.message("Deployment", "api")


async def test_a_suspended_deployment_changes_nothing(world: Any) -> None:
    await world.trained()
    await world.commit("Deployment", "api", SERVE_BEST | {"suspend": True})
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "Suspended")
    assert world.children("InferenceService") == []


async def watched(world: Any, **monitor: Any) -> None:
    await world.trained()
    await world.commit("Deployment", "api", SERVE_BEST)
    await world.settle()
    world.serve("api")
    await world.commit("Monitor", "watch", {"deploymentRef": {"name": "api"}} | monitor)
    await world.settle()


async def look(world: Any, detected: bool, **changes: Any) -> None:
    worst = [{"feature": "radius", "test": "KS", "statistic": "0.31", "pValue": "1e-9"}]
    record = {
        "modelDigest": world.get("Deployment", "api")["status"]["modelDigest"],
        "rows": 1000,
        "enough": True,
        "detected": detected,
        "driftedFeatures": int(detected),
        "features": 30,
        "worst": worst if detected else [],
        "evaluatedAt": "now",
    }
    found = MonitorRecord.model_validate(record | changes)
    key = f"{monitor_key('n', 'watch')}/{LATEST}"
    await world.store.write(key, found.model_dump_json(by_alias=True).encode())
    await world.settle()


async def test_drift_raises_the_condition_and_one_alert_and_resolves(world: Any) -> None:
    hook = {"type": "Webhook", "url": "https://example.org/hook"}
    alert = {"name": "drift", "when": "DriftDetected", "routes": [hook]}
    await watched(world, alerts=[alert])
    assert world.condition("Monitor", "watch", "DriftDetected") == ("False", "NoVerdict")
    await look(world, False)
    await look(world, True)
    await look(world, True, rows=999)
    assert world.condition("Monitor", "watch", "DriftDetected") == ("True", "FeaturesDrifted")
    assert [told["state"] for told in world.receiver.told] == ["Firing"]
    assert world.events().count("AlertFiring") == 1
    await look(world, False)
    assert [told["state"] for told in world.receiver.told] == ["Firing", "Resolved"]


HOOKS = [{"type": "Webhook", "url": f"https://{name}.example/hook"} for name in ("up", "down")]
UP, DOWN = (hook["url"] for hook in HOOKS)


async def test_a_webhook_that_is_down_keeps_nothing_from_all_others(world: Any) -> None:
    hooked = {"name": "hooked", "when": "DriftDetected", "routes": HOOKS}
    await watched(world, alerts=[hooked, {"name": "plain", "when": "DriftDetected"}])
    world.receiver.down = {DOWN}
    await look(world, True)
    for _ in range(3):
        world.clock.move(15)
        await world.settle()
    assert world.ready("Monitor", "watch") == ("False", "AlertNotDelivered")
    assert "routes[1]: refused" in world.message("Monitor", "watch")
    assert world.condition("Monitor", "watch", "DriftDetected") == ("True", "FeaturesDrifted")
    assert world.receiver.urls == [UP]
    assert world.events().count("AlertFiring") == 1
    since = world.get("Monitor", "watch")["status"]["alerts"][0]["since"]

    hooked["routes"] = HOOKS[::-1]
    spec = world.get("Monitor", "watch")["spec"]
    await world.commit("Monitor", "watch", spec | {"alerts": [hooked, spec["alerts"][1]]})
    world.receiver.down = set()
    world.clock.move(15)
    await world.settle()
    assert world.receiver.urls == [UP, DOWN]
    assert [told["since"] for told in world.receiver.told] == [since, since]
    assert world.ready("Monitor", "watch") == ("True", "Watching")
    assert "untold" not in world.get("Monitor", "watch")["status"]["alerts"][0]


async def test_a_verdict_on_a_model_says_nothing_of_the_next(world: Any) -> None:
    alert = {"name": "drift", "when": "DriftDetected"}
    await watched(world, alerts=[alert])
    await look(world, True)
    await world.commit(
        "Experiment", "tumor", world.get("Experiment", "tumor")["spec"] | {"seed": 9}
    )
    await world.settle()
    await world.finish_experiment("tumor", auc=0.99)
    await world.settle()
    world.serve("api")
    await world.settle()
    assert world.condition("Monitor", "watch", "DriftDetected") == ("False", "NoVerdict")
    assert [one["state"] for one in world.get("Monitor", "watch")["status"]["alerts"]] == [
        "Resolved"
    ]

    texture = {"feature": "texture", "test": "KS", "statistic": "0.9", "pValue": "0"}
    await look(world, True, driftedFeatures=7, worst=[texture])
    assert "7 of 30 features drifted, most of all texture" in next(
        one["message"]
        for one in world.get("Monitor", "watch")["status"]["conditions"]
        if one["type"] == "DriftDetected"
    )


async def test_a_suspended_monitor_still_says_what_it_found(world: Any) -> None:
    await watched(world)
    await look(world, True)
    await world.commit(
        "Monitor", "watch", world.get("Monitor", "watch")["spec"] | {"suspend": True}
    )
    await world.settle()
    assert world.ready("Monitor", "watch") == ("False", "Suspended")
    assert world.condition("Monitor", "watch", "DriftDetected") == ("True", "FeaturesDrifted")


async def test_a_look_at_another_model_counts_for_nothing(world: Any) -> None:
    await watched(world)
    await look(world, True, modelDigest="sha256:" + "0" * 64)
    assert world.condition("Monitor", "watch", "DriftDetected") == ("False", "NoVerdict")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param({"suspend": True}, "Suspended", id="suspended"),
        pytest.param({"deploymentRef": {"name": "none"}}, "DeploymentMissing", id="no deployment"),
    ],
)
async def test_a_monitor_does_not_watch(world: Any, spec: dict[str, Any], reason: str) -> None:
    await watched(world, **spec)
    assert world.ready("Monitor", "watch") == ("False", reason)
    assert world.children("CronWorkflow") == []


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_deleting_retains_or_deletes_run_records_as_declared(world: Any, policy: str) -> None:
    await world.trained()
    spec = world.get("Dataset", "cells")["spec"] | {"deletionPolicy": policy}
    await world.commit("Dataset", "cells", spec)
    await world.settle()
    await world.cluster.delete(OURS["Dataset"], "n", "cells")
    for key in world.all_keys():
        await reconcile(key, world.ports)
    assert ("Dataset", "n", "cells") not in world.cluster.objects
    left = await world.store.folders(run_key("n", "Dataset", "cells", ""))
    assert bool(left) == (policy == "Retain")


async def test_a_project_that_is_gone_neither_keeps_the_object_nor_its_records(world: Any) -> None:
    await world.trained()
    spec = world.get("Dataset", "cells")["spec"] | {"deletionPolicy": "Delete"}
    await world.commit("Dataset", "cells", spec)
    await world.settle()
    await world.cluster.delete(OURS["Project"], "n", "team")
    await world.cluster.delete(OURS["Dataset"], "n", "cells")
    for key in world.all_keys():
        await reconcile(key, world.ports)
    assert ("Dataset", "n", "cells") not in world.cluster.objects
    assert not await world.store.folders(run_key("n", "Dataset", "cells", ""))
    assert any("RecordsLeft" in event for event in world.events())


async def test_s3_stores_need_their_secret(world: Any) -> None:
    store = {"uri": "s3://bucket/x", "connectionRef": {"name": "lake"}}
    lake = {"name": "lake", "type": "S3", "secretRef": {"name": "keys"}}
    await world.commit("Project", "team", {"artifactStore": store, "connections": [lake]})
    await world.settle()
    assert world.ready("Project", "team") == ("False", "SecretMissing")
    keys = {"stringData": {"AWS_ACCESS_KEY_ID": "id"}}
    world.cluster.objects["Secret", "n", "keys"] = keys
    await world.settle()
    assert world.ready("Project", "team") == ("False", "SecretMissing")
    assert "AWS_SECRET_ACCESS_KEY" in world.message("Project", "team")


async def test_the_annotation_that_asks_for_a_reconcile_is_told_back(world: Any) -> None:
    await world.commit("Project", "team", {})
    await world.settle()
    assert "lastHandledReconcileAt" not in world.get("Project", "team")["status"]
    asked = {"modelyard.dev/reconcile-at": "2026-11-27T12:00:00Z" + "x" * 200}
    await world.commit("Project", "team", {}, annotations=asked)
    await world.settle()
    told = world.get("Project", "team")["status"]["lastHandledReconcileAt"]
    assert told == asked["modelyard.dev/reconcile-at"][:128]
