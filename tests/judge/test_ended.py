"""What is withdrawn from the status of a Deployment whose model servers have ended."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.judge.conditions import Fact, Readiness, conditions, progressing, ready
from modelyard.judge.ended import without_servers
from modelyard.judge.law import violations
from modelyard.judge.serving import STEPS, steps

BEFORE, NOW = "2026-11-28T10:00:00Z", "2026-11-28T11:00:00Z"
SERVES = ready("Serving", "api-0123456789 serves all requests.")
CANARY = Fact("CanaryHealthy", True, "NoCanary", "There is none.")


def deployment(readiness: Readiness, generation: int = 3) -> dict[str, Any]:
    """Return a Deployment of which generation 3 was judged."""
    facts = [*steps(len(STEPS), None, 2), CANARY]
    found = conditions([], 3, BEFORE, readiness, facts)
    return {
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "team", "generation": generation},
        "spec": {"model": {"experiment": "api"}, "smokeTest": {"checks": [{}, {}]}},
        "status": {
            "observedGeneration": 3,
            "modelVersion": "api-0123456789",
            "url": "http://127.0.0.1:8000",
            "replicas": 2,
            "conditions": [one.to_json() for one in found],
        },
    }


@pytest.mark.parametrize("generation", [3, 4], ids=["the spec was judged", "a later one was not"])
def test_a_deployment_that_served_is_starting_and_its_status_stays_lawful(generation: int) -> None:
    found = without_servers(deployment(SERVES, generation), NOW)
    assert found is not None
    assert violations(found) == []
    told = {one["type"]: (one["status"], one["reason"]) for one in found["status"]["conditions"]}
    assert told == {
        "Ready": ("False", "Starting"),
        "Reconciling": ("True", "Starting"),
        **dict.fromkeys(STEPS, ("False", "Starting")),
        "CanaryHealthy": ("True", "NoCanary"),
    }
    assert {one["observedGeneration"] for one in found["status"]["conditions"]} == {3}
    assert found["status"]["replicas"] == 0
    assert found["status"]["modelVersion"] == "api-0123456789"
    assert found["spec"] == deployment(SERVES)["spec"]


@pytest.mark.parametrize(
    "readiness",
    [
        pytest.param(
            ready("AtRest", "It starts with the next request."), id="no server has to run"
        ),
        pytest.param(ready("Succeeded", "All rows are scored."), id="it scores tables"),
        pytest.param(progressing("Loading", "The server loads."), id="it does not claim to serve"),
    ],
)
def test_what_does_not_rest_on_servers_stays(readiness: Readiness) -> None:
    assert without_servers(deployment(readiness), NOW) is None


def test_what_was_never_judged_stays() -> None:
    fresh = deployment(SERVES)
    del fresh["status"]
    assert without_servers(fresh, NOW) is None
    withdrawn = without_servers(deployment(SERVES), NOW)
    assert withdrawn is not None
    assert without_servers(withdrawn, NOW) is None
