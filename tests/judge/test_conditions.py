"""Conditions: what readiness says, when times change, and what is unlawful."""

from typing import Any

import pytest
from modelyard.judge.conditions import (
    LONGEST_MESSAGE,
    Fact,
    Readiness,
    conditions,
    is_ready,
    progressing,
    ready,
    ready_condition,
    stalled,
)
from modelyard.judge.law import violations

NOW, EARLIER = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"


def status_of(
    readiness: Readiness, *facts: Fact, before: list[dict[str, Any]] | None = None
) -> Any:
    found = conditions(before or [], 3, NOW, readiness, facts)
    return {"observedGeneration": 3, "conditions": [entry.to_json() for entry in found]}


def manifest(status: Any, generation: int = 3) -> dict[str, Any]:
    return {
        "kind": "Project",
        "metadata": {"name": "p", "generation": generation},
        "status": status,
    }


@pytest.mark.parametrize(
    ("readiness", "expected"),
    [
        pytest.param(ready("Done", "All is well."), {"Ready": "True"}, id="ready"),
        pytest.param(
            progressing("Busy", "It runs."),
            {"Ready": "False", "Reconciling": "True"},
            id="progressing",
        ),
        pytest.param(
            stalled("Broken", "Mend it."), {"Ready": "False", "Stalled": "True"}, id="stalled"
        ),
    ],
)
def test_readiness_becomes_conditions_that_are_lawful(
    readiness: Readiness, expected: dict[str, str]
) -> None:
    status = status_of(readiness)
    assert {entry["type"]: entry["status"] for entry in status["conditions"]} == expected
    assert violations(manifest(status)) == []


def test_an_object_that_nobody_judged_yet_is_lawful() -> None:
    assert violations(manifest({"observedGeneration": -1, "conditions": []})) == []


def test_the_transition_time_stays_while_the_status_stays() -> None:
    before = [
        entry | {"lastTransitionTime": EARLIER}
        for entry in status_of(ready("A", "a"))["conditions"]
    ]
    same = status_of(ready("B", "another reason"), before=before)["conditions"][0]
    other = status_of(stalled("C", "c"), before=before)["conditions"][0]
    assert (same["lastTransitionTime"], same["reason"]) == (EARLIER, "B")
    assert other["lastTransitionTime"] == NOW


def test_long_messages_are_cut() -> None:
    message = status_of(ready("A", "x" * 5000))["conditions"][0]["message"]
    assert len(message) == LONGEST_MESSAGE
    assert message.endswith("…")


def test_an_object_whose_spec_changed_since_is_not_ready() -> None:
    status = status_of(ready("Done", "All is well."))
    assert is_ready(manifest(status))
    assert not is_ready(manifest(status, generation=4))
    assert not is_ready({"metadata": {"generation": 1}})
    assert ready_condition({"metadata": {}}) == {}


def without(status: Any, kind: str) -> Any:
    kept = [entry for entry in status["conditions"] if entry["type"] != kind]
    return status | {"conditions": kept}


GOOD = status_of(progressing("Busy", "It runs."))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        pytest.param({}, "no Ready", id="no condition at all"),
        pytest.param(without(GOOD, "Ready"), "no Ready", id="Ready is missing"),
        pytest.param(without(GOOD, "Reconciling"), "exactly one", id="neither ready nor anything"),
        pytest.param(GOOD | {"bogus": 1}, "bogus", id="an unknown field"),
        pytest.param(GOOD | {"observedGeneration": 9}, "generation 3", id="a future generation"),
        pytest.param(
            GOOD | {"conditions": GOOD["conditions"] * 2}, "unique", id="a condition twice"
        ),
        pytest.param(
            GOOD
            | {
                "conditions": [
                    *GOOD["conditions"],
                    GOOD["conditions"][1] | {"type": "Stalled", "status": "True"},
                ]
            },
            "both true",
            id="reconciling and stalled at once",
        ),
        pytest.param(
            GOOD | {"conditions": [entry | {"message": ""} for entry in GOOD["conditions"]]},
            "no message",
            id="no message",
        ),
        pytest.param(
            GOOD
            | {"conditions": [entry | {"observedGeneration": 1} for entry in GOOD["conditions"]]},
            "not that of the status",
            id="a condition of an older generation",
        ),
    ],
)
def test_unlawful_statuses_are_named(status: Any, said: str) -> None:
    assert any(said in fault for fault in violations(manifest(status)))


@pytest.mark.parametrize(
    ("readiness", "expected"),
    [
        (ready("Serving", "m"), "Normal"),
        (progressing("SearchRunning", "m"), "Normal"),
        (progressing("DatasetMissing", "m"), "Warning"),
        (progressing("StoreUnavailable", "m"), "Warning"),
        (progressing("AlertNotDelivered", "m"), "Warning"),
        (stalled("QuotaExceeded", "m"), "Warning"),
    ],
)
def test_what_somebody_may_have_to_mend_is_a_warning(readiness: Readiness, expected: str) -> None:
    assert readiness.event_type == expected
