"""How the requests of a Deployment are split between the version that serves and its canary."""

from __future__ import annotations

from typing import Any

from modelyard.judge.conditions import Fact, Readiness, progressing, stalled

CANARY = "CanaryReady"
SPLIT = "TrafficSplit"


def judge_route(route: dict[str, Any]) -> Readiness | None:
    """Return why a Gateway does not follow an HTTPRoute; None when it does."""
    name, generation = route["metadata"]["name"], route["metadata"].get("generation")
    parents = (route.get("status") or {}).get("parents") or []
    told = [condition for parent in parents for condition in parent.get("conditions") or []]
    fresh = [one for one in told if one.get("observedGeneration", generation) == generation]
    for one in fresh:
        if one["type"] in ("Accepted", "ResolvedRefs") and one["status"] == "False":
            message = f"spec.gateway: HTTPRoute {name}: {one['reason']}: {one.get('message', '')}"
            return stalled("RouteNotAccepted", message)
    if not any(one["type"] == "Accepted" and one["status"] == "True" for one in fresh):
        message = f"spec.gateway: HTTPRoute {name} waits for the controller of its Gateway."
        return progressing("RouteNotAccepted", message)
    return None


def canary_fact(why_not: Readiness | None) -> Fact:
    """Return the condition that says whether the canary serves what is asked for."""
    if why_not is not None:
        return Fact(CANARY, False, why_not.reason, why_not.message)
    return Fact(CANARY, True, "Answering", "The canary answers with the model asked for.")


def split_fact(percent: int, url: str | None, *, gateway: bool, why_not: Readiness | None) -> Fact:
    """Return the condition that says whether requests are split.

    Args:
        percent: The canary's share now.
        url: Where the canary alone answers.
        gateway: Whether a Gateway is declared.
        why_not: What keeps the Gateway from following, or the canary from serving.
    """
    if not gateway:
        message = (
            f"No traffic is split, since spec.gateway names no Gateway: the canary answers only at "
            f"{url or 'its own URL'}."
        )
        return Fact(SPLIT, False, "NoGateway", message)
    if why_not is not None:
        return Fact(SPLIT, False, why_not.reason, why_not.message)
    return Fact(SPLIT, True, "Weighted", f"The canary gets {percent} % of the requests.")
