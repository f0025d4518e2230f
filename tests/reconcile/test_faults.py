"""Every fault ends in a Ready that is False, with a reason, what to do next, and one Event."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from modelyard.api.artifacts import FAILURE, Failure, run_key
from modelyard.api.resources import Key
from modelyard.reconcile.reconciler import reconcile

Arrange = Callable[[Any], Awaitable[Key]]

DATASET = {"source": {"builtin": "breast_cancer"}}
EXPERIMENT = {
    "datasetRef": {"name": "cells"},
    "task": {"type": "Classification", "target": "target"},
}
SERVE_BEST = {"model": {"experiment": "tumor"}}
WATCH = {"deploymentRef": {"name": "api"}}
NO_MODEL = {"name": "auc", "path": "modelVersion.status.metrics.roc_auc"}
TOO_HIGH = {**NO_MODEL, "operator": "GreaterOrEqual", "value": 0.999}


async def dataset(world: Any, **spec: Any) -> Key:
    await world.commit("Project", "team", {})
    await world.commit("Dataset", "cells", DATASET | spec)
    await world.settle()
    return Key("Dataset", "n", "cells")


async def experiment(world: Any, project: dict[str, Any] | None = None, **spec: Any) -> Key:
    await dataset(world)
    await world.finish_dataset("cells")
    await world.commit("Project", "team", project or {})
    await world.commit("Experiment", "tumor", EXPERIMENT | spec)
    await world.settle()
    return Key("Experiment", "n", "tumor")


async def deployment(world: Any, spec: dict[str, Any], **project: Any) -> Key:
    await world.trained(**project)
    await world.commit("Deployment", "api", spec)
    await world.settle()
    return Key("Deployment", "n", "api")


async def monitor(world: Any) -> Key:
    await world.commit("Monitor", "watch", WATCH)
    await world.settle()
    return Key("Monitor", "n", "watch")


def told(kind: str, reason: str) -> Any:
    """A run leaves its failure in the store."""

    async def arrange(world: Any) -> Key:
        key = await (dataset(world) if kind == "Dataset" else experiment(world))
        identity = world.get(kind, key.name)["status"]["run"]["identity"]
        failure = Failure(reason=reason, message="spec.field: it cannot be used; mend it.")
        path = f"{run_key('n', kind, key.name, identity)}/{FAILURE}"
        await world.store.write(path, failure.model_dump_json(by_alias=True).encode())
        return key

    return pytest.param(arrange, reason, id=f"{kind} tells {reason}")


def ended(kind: str, child: str, status: dict[str, Any], reason: str, **spec: Any) -> Any:
    """A child ends without a word in the store."""

    async def arrange(world: Any) -> Key:
        key = await (dataset(world) if kind == "Dataset" else experiment(world, **spec))
        found = next(
            one
            for one in world.children(child)
            if one["metadata"]["labels"]["modelyard.dev/kind"] == kind
        )
        found["status"] = status
        return key

    return pytest.param(arrange, reason, id=f"{kind}, {child}: {reason} of {sorted(status)}")


def alone(kind: str, spec: dict[str, Any], reason: str) -> Any:
    """An object refers to what is not there."""

    async def arrange(world: Any) -> Key:
        if reason != "ProjectMissing":
            await world.commit("Project", "team", {})
        await world.commit(kind, "alone", spec)
        return Key(kind, "n", "alone")

    return pytest.param(arrange, reason, id=f"{kind} alone: {reason}")


def withheld(child: str, kind: str, reason: str) -> Any:
    """The API server takes no such child: it does not know its kind, or it refuses it."""

    async def arrange(world: Any) -> Key:
        def withhold() -> None:
            if reason == "BackendMissing":
                world.cluster.missing.add(child)
            else:
                world.cluster.refused[child] = "exceeded quota"

        if kind == "Dataset":
            withhold()
            return await dataset(world)
        if kind == "Experiment":
            await dataset(world)
            await world.finish_dataset("cells")
            withhold()
            execution = {"backend": "Ray"} if child == "RayJob" else {}
            return await experiment(world, execution=execution)
        if kind == "Deployment":
            withhold()
            return await deployment(world, SERVE_BEST)
        await deployment(world, SERVE_BEST)
        world.serve("api")
        await world.settle()
        withhold()
        return await monitor(world)

    return pytest.param(arrange, reason, id=f"{kind} and {child}: {reason}")


CHILDREN = (
    ("Workflow", "Dataset"),
    ("Workflow", "Experiment"),
    ("RayJob", "Experiment"),
    ("InferenceService", "Deployment"),
    ("CronWorkflow", "Monitor"),
)


def serving(spec: dict[str, Any], reason: str, **project: Any) -> Any:
    """A Deployment asks for what it does not get."""

    async def arrange(world: Any) -> Key:
        return await deployment(world, spec, **project)

    return pytest.param(arrange, reason, id=f"Deployment {spec['model']}: {reason}")


def data(reason: str, **spec: Any) -> Any:
    """A Dataset declares what cannot be."""

    async def arrange(world: Any) -> Key:
        return await dataset(world, **spec)

    return pytest.param(arrange, reason, id=f"Dataset {sorted(spec)}: {reason}")


def search(reason: str, project: dict[str, Any] | None = None, **spec: Any) -> Any:
    """An Experiment declares what cannot be."""

    async def arrange(world: Any) -> Key:
        return await experiment(world, project, **spec)

    return pytest.param(arrange, reason, id=f"Experiment {sorted(spec)}: {reason}")


async def a_second_project(world: Any) -> Key:
    await world.commit("Project", "team", {})
    await world.commit("Project", "late", {})
    return Key("Project", "n", "late")


async def a_store_without_its_secret(world: Any) -> Key:
    connection = {"name": "lake", "type": "S3", "secretRef": {"name": "keys"}}
    store = {"uri": "s3://models/x", "connectionRef": {"name": "lake"}}
    await world.commit("Project", "team", {"connections": [connection], "artifactStore": store})
    return Key("Project", "n", "team")


async def a_version_of_no_run(world: Any) -> Key:
    await world.trained()
    await world.commit("ModelVersion", "golden", {})
    return Key("ModelVersion", "n", "golden")


async def changed_bytes(world: Any) -> Key:
    name = await world.trained()
    found = world.get("ModelVersion", name)["status"]["artifact"]
    key = found["uri"].removeprefix(world.store.config.uri + "/")
    await world.store.write(f"{key}/manifest.json", b"{}")
    return Key("ModelVersion", "n", name)


async def a_denied_promotion(world: Any) -> Key:
    name = await world.trained()
    await world.commit("Policy", "strict", {"gates": ["promote"], "rules": [TOO_HIGH]})
    await world.commit("ModelVersion", name, {"stage": "Production"})
    return Key("ModelVersion", "n", name)


async def a_policy_that_does_not_compile(world: Any) -> Key:
    await world.commit("Project", "team", {})
    await world.commit("Policy", "broken", {"gates": ["deploy"], "rego": "package p\nallow if {"})
    return Key("Policy", "n", "broken")


async def a_policy_whose_tests_fail(world: Any) -> Key:
    test = {"name": "always", "input": {}, "allow": True}
    spec = {"gates": ["deploy"], "rules": [TOO_HIGH], "tests": [test]}
    await world.commit("Project", "team", {})
    await world.commit("Policy", "wrong", spec)
    return Key("Policy", "n", "wrong")


async def a_deployment_that_is_denied(world: Any) -> Key:
    await world.commit("Policy", "strict", {"gates": ["deploy"], "rules": [TOO_HIGH]})
    return await deployment(world, SERVE_BEST)


async def a_server_that_cannot_load(world: Any) -> Key:
    key = await deployment(world, SERVE_BEST)
    failed = {
        "transitionStatus": "BlockedByFailedLoad",
        "lastFailureInfo": {"message": "another digest"},
    }
    world.set_status("InferenceService", "api", {"observedGeneration": 1, "modelStatus": failed})
    return key


async def a_monitor_of_what_does_not_serve(world: Any) -> Key:
    await deployment(world, SERVE_BEST)
    return await monitor(world)


FAULTS = [
    *(told("Dataset", reason) for reason in (
        "UnreadableSource", "EmptySource", "MissingColumn", "MissingPrivacyKey", "StoreError",
        "InternalError",
    )),
    *(told("Experiment", reason) for reason in (
        "InvalidTarget", "UnknownColumn", "InvalidFeature", "NoFeatures", "NoTrialCompleted",
        "TooManyFailedTrials", "RefitFailed", "TooFewRows",
    )),
    ended("Dataset", "Workflow", {"phase": "Failed", "message": "killed"}, "ChildFailed"),
    ended("Dataset", "Workflow", {"phase": "Succeeded"}, "RecordMissing"),
    ended("Experiment", "Workflow", {"phase": "Error", "message": "no node"}, "ChildFailed"),
    ended("Experiment", "Workflow", {"phase": "Succeeded"}, "RecordMissing"),
    ended("Experiment", "RayJob", {"jobStatus": "FAILED"}, "ChildFailed",
          execution={"backend": "Ray"}),
    ended("Experiment", "RayJob", {"jobDeploymentStatus": "Failed"}, "ChildFailed",
          execution={"backend": "Ray"}),
    alone("Dataset", DATASET, "ProjectMissing"),
    alone("Experiment", EXPERIMENT, "ProjectMissing"),
    alone("Deployment", SERVE_BEST, "ProjectMissing"),
    alone("Monitor", WATCH, "ProjectMissing"),
    alone("Experiment", EXPERIMENT, "DatasetMissing"),
    alone("Deployment", SERVE_BEST, "ExperimentMissing"),
    alone("Deployment", {"model": {"modelVersion": "tumor-1"}}, "ModelVersionMissing"),
    alone("Monitor", WATCH, "DeploymentMissing"),
    *(withheld(*child, "BackendMissing") for child in CHILDREN),
    *(withheld(*child, "RequestRefused") for child in CHILDREN),
    serving({"model": {"experiment": "tumor", "stage": "Production"}}, "NoVersionAtStage"),
    serving(SERVE_BEST, "StageRequired", environment="production"),
    data("InvalidSpec", source={"builtin": "no-such-set"}),
    data("RelativePath", source={"path": "cells.csv"}),
    data("ConnectionMissing", source={"uri": "s3://raw/cells", "connectionRef": {"name": "lake"}}),
    search("QuotaExceeded", execution={"parallelism": 64}),
    search("SpotNodesMissing", execution={"spot": "Prefer"}),
    search("InvalidSpec", schedule={"cron": "61 * * * *"}),
    pytest.param(a_second_project, "ProjectConflict", id="a second Project"),
    pytest.param(a_store_without_its_secret, "SecretMissing", id="a store without its Secret"),
    pytest.param(a_version_of_no_run, "UnknownRun", id="a version of no run"),
    pytest.param(changed_bytes, "DigestMismatch", id="changed bytes"),
    pytest.param(a_denied_promotion, "PolicyDenied", id="a denied promotion"),
    pytest.param(a_policy_that_does_not_compile, "PolicyInvalid", id="Rego that does not compile"),
    pytest.param(a_policy_whose_tests_fail, "PolicyTestsFailed", id="a Policy whose tests fail"),
    pytest.param(a_deployment_that_is_denied, "PolicyDenied", id="a denied Deployment"),
    pytest.param(a_server_that_cannot_load, "ModelLoadFailed", id="a server that cannot load"),
    pytest.param(a_monitor_of_what_does_not_serve, "NothingServes", id="a Monitor of nothing"),
]  # fmt: skip


def test_there_are_at_least_forty_faults() -> None:
    assert len(FAULTS) >= 40


@pytest.mark.parametrize(("arrange", "reason"), FAULTS)
async def test_a_fault_is_told_with_what_to_do_and_one_event(
    world: Any, arrange: Arrange, reason: str
) -> None:
    key = await arrange(world)
    await world.settle()
    assert world.ready(key.kind, key.name) == ("False", reason)
    assert re.fullmatch(r"[A-Z][A-Za-z]+", reason)
    message = world.message(key.kind, key.name)
    assert len(message) > 20
    events = [
        event
        for event in world.children("Event")
        if (event["involvedObject"]["kind"], event["involvedObject"]["name"], event["reason"])
        == (key.kind, key.name, reason)
    ]
    assert len(events) == 1
    assert events[0]["message"] == message
    writes = len(world.cluster.writes)
    await reconcile(key, world.ports)
    assert len(world.cluster.writes) == writes, "what is told is not told again"
