"""What a Deployment is whose model servers have ended with what ran them."""

from __future__ import annotations

from typing import Any

from modelyard.judge.conditions import conditions, kept_facts, ready_condition
from modelyard.judge.serving import Answers, judge_serving

SERVING = "Serving"
"""The reason of Ready while servers answer; one that is at rest, or scores tables, has none."""


def without_servers(deployment: dict[str, Any], now: str) -> dict[str, Any] | None:
    """Return a Deployment whose status does not say that it serves; None where it does not.

    What the status tells of versions stays; what its servers have answered is not known any more.

    Args:
        deployment: The Deployment.
        now: RFC 3339 time for conditions that change.
    """
    told = ready_condition(deployment)
    if told.get("status") != "True" or told.get("reason") != SERVING:
        return None
    smoke_test = deployment["spec"].get("smokeTest") or {}
    serving = judge_serving(None, Answers(), checks=len(smoke_test.get("checks") or []))
    if serving.why_not is None:
        return None
    facts = {fact.type: fact for fact in (*kept_facts(deployment), *serving.facts)}
    status = deployment["status"]
    found = conditions(
        status["conditions"],
        told["observedGeneration"],
        now,
        serving.why_not,
        list(facts.values()),
    )
    withdrawn = {"replicas": 0, "conditions": [condition.to_json() for condition in found]}
    return {**deployment, "status": {**status, **withdrawn}}
