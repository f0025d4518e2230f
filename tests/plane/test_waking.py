"""What wakes an object of a real operator, and what does not."""

from __future__ import annotations

import time
from typing import Any

from modelyard.api.meta import RECONCILE_AT
from modelyard.api.resources import OURS

from .running import until

RULE = {"name": "named", "path": "modelVersion.name", "operator": "Exists", "value": True}
RULES = {"gates": ["promote"], "rules": [RULE]}
RECONCILES = 'modelyard_reconciles_total{kind="Policy",result="success"}'
WRITES = 'modelyard_status_writes_total{kind="Policy"}'


def edit_status(site: Any, status: Any) -> None:
    """Write a status as somebody with `kubectl edit --subresource=status` would."""
    site.client._request(
        "PATCH",
        OURS["Policy"].path("default", "good") + "/status",
        {"fieldManager": "kubectl-edit"},
        {"status": status},
        "application/merge-patch+json",
    )


def timeless(site: Any) -> dict[str, Any]:
    """Return the status, without the times of transitions: nobody can know those again."""
    status: dict[str, Any] = site.get("Policy", "good")["status"]
    for condition in status.get("conditions", []):
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    return status


def test_a_status_edited_by_hand_is_put_right_and_our_own_wakes_nobody(site: Any) -> None:
    operator = site.operator()
    site.put("Policy", "good", RULES)
    site.until_reason("Policy", "good", "Judging")
    right = timeless(site)
    until(lambda: operator.metric("modelyard_queue_depth") == 0, "nothing waits")
    before = operator.metric(RECONCILES), operator.metric(WRITES)

    forged = dict(right["conditions"][0]) | {"type": "Forged", "reason": "ByHand"}
    for wrong in (
        {"digest": "sha256:" + "0" * 64},
        {"digest": None},
        {"conditions": [*right["conditions"], forged]},
        {"conditions": []},
    ):
        edit_status(site, wrong)
        until(lambda: timeless(site) == right, f"{wrong} is put right")
    time.sleep(1)
    after = operator.metric(RECONCILES), operator.metric(WRITES)
    assert [now - then for now, then in zip(after, before, strict=True)] == [4, 4]


def test_the_annotation_wakes_an_object_and_is_answered_in_its_status(site: Any) -> None:
    operator = site.operator()
    site.put("Policy", "good", RULES)
    site.until_reason("Policy", "good", "Judging")
    right = timeless(site)
    writes = operator.metric(WRITES)
    for number in range(3):
        asked = f"2026-01-01T00:00:0{number}Z"
        site.put("Policy", "good", RULES, annotations={RECONCILE_AT: asked})
        answered = {**right, "lastHandledReconcileAt": asked}
        until(lambda answered=answered: timeless(site) == answered, "it is reconciled")
    assert operator.metric(WRITES) == writes + 3
