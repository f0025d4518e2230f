"""Which ModelVersion a Deployment asks for."""

from typing import Any

import pytest
from modelyard.api.deployment import ModelChoice
from modelyard.judge.model_choice import choose


def condition(status: str, generation: int = 1) -> list[dict[str, Any]]:
    return [
        {
            "type": "Ready",
            "status": status,
            "reason": "R",
            "message": "m",
            "observedGeneration": generation,
        }
    ]


def experiment(best: str | None, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": "e", "generation": 1},
        "status": {"bestModelVersion": best, "conditions": condition(ready)},
    }


def version(name: str, stage: str, of: str = "e") -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"stage": stage, "lineage": {"experiment": of}}}


@pytest.mark.parametrize(
    ("model", "environment", "found", "versions", "name", "reason"),
    [
        pytest.param({"modelVersion": "e-1"}, "production", None, [], "e-1", None, id="a version by name"),
        pytest.param({"experiment": "e"}, "development", experiment("e-2"), [], "e-2", None, id="the best"),
        pytest.param(
            {"experiment": "e"}, "production", experiment("e-2"), [], None, "StageRequired",
            id="the best, in production: refused",
        ),
        pytest.param(
            {"experiment": "e"}, "development", None, [], None, "ExperimentMissing",
            id="an experiment that does not exist",
        ),
        pytest.param(
            {"experiment": "e"}, "development", experiment(None), [], None, "ExperimentNotReady",
            id="an experiment without a winner",
        ),
        pytest.param(
            {"experiment": "e"}, "development", experiment("e-1", "False"), [], None, "ExperimentNotReady",
            id="an experiment that searches anew",
        ),
        pytest.param(
            {"experiment": "e", "stage": "Production"}, "production", None,
            [version("e-1", "Production"), version("e-2", "Staging"), version("f-1", "Production", "f")],
            "e-1", None, id="the one at the stage",
        ),
        pytest.param(
            {"experiment": "e", "stage": "Production"}, "production", None,
            [version("e-1", "Production"), version("e-2", "Production")], None, "AmbiguousStage",
            id="two at the stage",
        ),
        pytest.param(
            {"experiment": "e", "stage": "Production"}, "production", None, [], None, "NoVersionAtStage",
            id="none at the stage",
        ),
    ],
)  # fmt: skip
def test_a_deployment_serves(
    model: dict[str, Any],
    environment: str,
    found: dict[str, Any] | None,
    versions: list[dict[str, Any]],
    name: str | None,
    reason: str | None,
) -> None:
    choice = choose(ModelChoice.model_validate(model), environment, found, versions)
    assert choice.name == name
    assert (choice.why_not.reason if choice.why_not else None) == reason
