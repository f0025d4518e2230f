"""The laws that every status obeys, as one checker."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from modelyard.api.kinds import BY_NAME
from modelyard.api.meta import UNJUDGED

LARGEST_STATUS_BYTES = 64 * 1024


def violations(manifest: dict[str, Any]) -> list[str]:
    """Return what is unlawful about the status of one of our objects; empty when lawful.

    The laws: the status fits its model; Ready is present; Ready, Reconciling and Stalled do not
    contradict each other; observedGeneration is that of the object or an earlier one and the same
    on each condition; every condition has a reason and a message; types are unique. An object that
    was not judged yet says so, and has no conditions.
    """
    status = manifest.get("status") or {}
    if status.get("observedGeneration") == UNJUDGED and not status.get("conditions"):
        return []
    found = _misfits(manifest["kind"], status)
    conditions = status.get("conditions", [])
    by_type = {condition["type"]: condition for condition in conditions}
    if len(by_type) != len(conditions):
        found.append("the types of conditions are not unique")
    if "Ready" not in by_type:
        return [*found, "there is no Ready condition"]
    is_true = {name for name, condition in by_type.items() if condition["status"] == "True"}
    abnormal = is_true & {"Reconciling", "Stalled"}
    if len(abnormal) == 2:
        found.append("Reconciling and Stalled are both true")
    if ("Ready" in is_true) == bool(abnormal):
        found.append("exactly one of Ready, Reconciling and Stalled must be true")
    return found + _generation_faults(manifest, conditions)


def _misfits(kind: str, status: dict[str, Any]) -> list[str]:
    try:
        BY_NAME[kind].status.model_validate(status)
    except ValidationError as error:
        return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    if len(repr(status)) > LARGEST_STATUS_BYTES:
        return ["the status is larger than 64 KiB"]
    return []


def _generation_faults(manifest: dict[str, Any], conditions: list[dict[str, Any]]) -> list[str]:
    observed = manifest["status"].get("observedGeneration")
    generation = manifest["metadata"]["generation"]
    found = []
    if observed is None or observed > generation:
        found.append(f"observedGeneration {observed} does not fit generation {generation}")
    for condition in conditions:
        if condition["observedGeneration"] != observed:
            found.append(f"{condition['type']}.observedGeneration is not that of the status")
        if not condition["message"]:
            found.append(f"{condition['type']} has no message")
    return found
