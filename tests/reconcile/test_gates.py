"""Gates on the objects they hold: the rule, the value and the threshold stand in the reason."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from modelyard.api.identity import digest
from modelyard.judge.rego import Decision, RegoModule
from modelyard.ports.policy import PolicyEngineUnavailable

SERVE_BEST = {"model": {"experiment": "tumor"}}
AUC = "modelVersion.status.metrics.roc_auc"


def at_least(threshold: float, *gates: str, **more: Any) -> dict[str, Any]:
    rule = {"name": "auc", "path": AUC, "operator": "GreaterOrEqual", "value": threshold}
    return {"gates": list(gates or ("deploy",)), "rules": [rule]} | more


class DeadEngine:
    """An engine that gives no answer."""

    async def check(self, module: RegoModule) -> tuple[Any, ...]:
        raise PolicyEngineUnavailable("connection refused")

    async def evaluate(self, module: RegoModule, gate_input: Mapping[str, Any]) -> Decision:
        raise PolicyEngineUnavailable("connection refused")

    async def aclose(self) -> None:
        return


async def test_a_policy_holds_a_deployment_back_until_it_is_relaxed(world: Any) -> None:
    await world.trained(auc=0.95)
    await world.commit("Policy", "good", at_least(0.999))
    await world.commit("Deployment", "api", SERVE_BEST)
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "PolicyDenied")
    for part in ('rule "auc"', "0.95", ">= 0.999"):
        assert part in world.message("Deployment", "api")
    verdict = world.get("Deployment", "api")["status"]["verdicts"][0]
    assert (verdict["gate"], verdict["policy"], verdict["allowed"]) == ("deploy", "good", False)
    assert world.children("InferenceService") == []
    await world.commit("Policy", "good", at_least(0.9))
    await world.settle()
    assert len(world.children("InferenceService")) == 1


async def test_gates_stay_shut_while_the_engine_is_down(world: Any) -> None:
    await world.trained()
    await world.commit("Policy", "good", at_least(0.5))
    await world.commit("Deployment", "api", SERVE_BEST)
    alive = world.ports
    world.ports = replace(alive, engine=DeadEngine())
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "PolicyEngineUnavailable")
    assert world.ready("Policy", "good") == ("False", "PolicyEngineUnavailable")
    assert world.children("InferenceService") == []
    world.ports = alive
    await world.settle()
    assert len(world.children("InferenceService")) == 1


async def test_what_serves_goes_on_serving_when_a_policy_denies_it_later(world: Any) -> None:
    name = await world.trained(auc=0.95)
    await world.commit("Deployment", "api", SERVE_BEST)
    await world.settle()
    world.serve("api")
    await world.settle()
    await world.commit("Policy", "good", at_least(0.999))
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "PolicyDenied")
    assert world.message("Deployment", "api").endswith(f" {name} goes on serving.")
    assert world.get("Deployment", "api")["status"]["modelVersion"] == name
    assert len(world.children("InferenceService")) == 1


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        pytest.param(None, "NoPolicy", id="no policy at all"),
        pytest.param(at_least(0.5, enforcement="Warn"), "NoPolicy", id="only one that warns"),
        pytest.param(at_least(0.5, "promote"), "NoPolicy", id="one at another gate"),
        pytest.param(at_least(0.5), "Loading", id="one that can deny and allows"),
    ],
)
async def test_production_needs_a_deploy_policy_that_could_deny(
    world: Any, policy: dict[str, Any] | None, reason: str
) -> None:
    name = await world.trained(environment="production")
    if policy is not None:
        await world.commit("Policy", "good", policy)
    await world.commit("Deployment", "api", {"model": {"modelVersion": name}})
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", reason)


async def test_production_does_not_serve_whatever_is_best(world: Any) -> None:
    await world.trained(environment="production")
    await world.commit("Policy", "good", at_least(0.5))
    await world.commit("Deployment", "api", SERVE_BEST)
    await world.settle()
    assert world.ready("Deployment", "api") == ("False", "StageRequired")


async def test_a_policy_that_warns_reports_and_lets_through(world: Any) -> None:
    await world.trained(auc=0.95)
    await world.commit("Policy", "good", at_least(0.999, enforcement="Warn"))
    await world.commit("Deployment", "api", SERVE_BEST)
    await world.settle()
    assert len(world.children("InferenceService")) == 1
    verdict = world.get("Deployment", "api")["status"]["verdicts"][0]
    assert (verdict["enforcement"], verdict["allowed"]) == ("Warn", False)


async def test_a_denied_promotion_leaves_the_earlier_stage_in_force(world: Any) -> None:
    name = await world.trained(auc=0.95)
    await world.commit("ModelVersion", name, {"stage": "Staging"})
    await world.settle()
    assert world.get("ModelVersion", name)["status"]["stage"] == "Staging"
    strict = at_least(0.999, "promote", match={"stages": ["Production"]})
    await world.commit("Policy", "strict", strict)
    await world.commit("ModelVersion", name, {"stage": "Production"})
    await world.settle()
    assert world.ready("ModelVersion", name) == ("False", "PolicyDenied")
    assert world.get("ModelVersion", name)["status"]["stage"] == "Staging"
    await world.commit("Policy", "strict", at_least(0.9, "promote"))
    await world.settle()
    assert world.get("ModelVersion", name)["status"]["stage"] == "Production"


async def test_a_version_whose_promotion_was_denied_can_still_be_served_by_name(world: Any) -> None:
    name = await world.trained(auc=0.95)
    await world.commit("Policy", "strict", at_least(0.999, "promote"))
    await world.commit("ModelVersion", name, {"stage": "Production"})
    await world.commit("Deployment", "api", {"model": {"modelVersion": name}})
    await world.settle()
    assert len(world.children("InferenceService")) == 1


async def test_the_train_gate_stops_a_search_before_it_starts(world: Any) -> None:
    limit = {
        "name": "trials",
        "path": "object.spec.search.trials",
        "operator": "LessOrEqual",
        "value": 10,
    }
    await world.commit("Project", "team", {})
    await world.commit("Policy", "frugal", {"gates": ["train"], "rules": [limit]})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    spec = {
        "datasetRef": {"name": "cells"},
        "task": {"type": "Classification", "target": "y"},
        "search": {"trials": 24},
    }
    await world.commit("Experiment", "tumor", spec)
    await world.settle()
    await world.finish_dataset("cells")
    await world.settle()
    assert world.ready("Experiment", "tumor") == ("False", "PolicyDenied")
    assert len(world.children("Workflow")) == 1
    await world.commit("Experiment", "tumor", spec | {"search": {"trials": 8}})
    await world.settle()
    assert len(world.children("Workflow")) == 2


async def test_the_dataset_gate_holds_everything_downstream(world: Any) -> None:
    quality = {
        "name": "q",
        "path": "object.status.quality.score",
        "operator": "GreaterThan",
        "value": 0.9,
    }
    await world.commit("Project", "team", {})
    await world.commit("Policy", "clean", {"gates": ["dataset"], "rules": [quality]})
    await world.commit("Dataset", "cells", {"source": {"builtin": "iris"}})
    await world.settle()
    await world.finish_dataset("cells", quality={"score": 0.5})
    await world.settle()
    assert world.ready("Dataset", "cells") == ("False", "PolicyDenied")
    assert "0.5" in world.message("Dataset", "cells")


REGO = "package anything\nallow if input.modelVersion.status.metrics.roc_auc > 0.5\n"


@pytest.mark.parametrize(
    ("policy", "policy_reason", "deployment_reason"),
    [
        pytest.param({"rego": REGO}, "Judging", "Loading", id="rego that allows"),
        pytest.param({"rego": "package x\nallow if {"}, "PolicyInvalid", "PolicyDenied", id="a syntax error"),
        pytest.param(
            {"rego": "package x\nallow if input.nothing\n"}, "Judging", "PolicyDenied",
            id="allow is undefined",
        ),
        pytest.param(
            {"rego": REGO, "tests": [{"name": "wrong", "input": {}, "allow": True}]},
            "PolicyTestsFailed", "PolicyTestsFailed", id="its own tests fail",
        ),
        pytest.param(
            {"rego": REGO, "tests": [{"name": "right", "input": {}, "allow": False}]},
            "Judging", "Loading", id="its own tests pass",
        ),
    ],
)  # fmt: skip
async def test_a_rego_policy(
    world: Any, policy: dict[str, Any], policy_reason: str, deployment_reason: str
) -> None:
    await world.trained()
    await world.commit("Policy", "custom", {"gates": ["deploy"]} | policy)
    await world.commit("Deployment", "api", SERVE_BEST)
    await world.settle()
    assert world.ready("Policy", "custom")[1] == policy_reason
    assert world.ready("Deployment", "api")[1] == deployment_reason


async def test_a_model_whose_card_was_changed_is_not_promoted(world: Any) -> None:
    name = await world.trained(card_digest=digest(b"# Model card"))
    folder = world.get("ModelVersion", name)["status"]["cardUri"]
    key = folder.removeprefix(world.store.config.uri + "/")
    await world.store.write(key, b"# Model card")
    await world.commit("ModelVersion", name, {"stage": "Staging"})
    await world.settle()
    assert world.get("ModelVersion", name)["status"]["stage"] == "Staging"
    assert world.get("ModelVersion", name)["status"]["cardDigest"] == digest(b"# Model card")

    await world.store.write(key, b"# Model card, embellished")
    await world.commit("ModelVersion", name, {"stage": "Production"})
    await world.settle()
    assert world.ready("ModelVersion", name) == ("False", "StaleCard")
    assert "restore it from a backup" in world.message("ModelVersion", name)
    assert world.get("ModelVersion", name)["status"]["stage"] == "Staging"

    await world.store.write(key, b"# Model card")
    await world.settle()
    assert world.get("ModelVersion", name)["status"]["stage"] == "Production"
