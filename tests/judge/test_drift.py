"""What a Monitor's look means: the status changes only when a verdict does."""

from typing import Any

import pytest
from modelyard.api.monitor import Alert, AlertStatus, Drift, FeatureDrift, MonitorStatus
from modelyard.api.records import MonitorRecord
from modelyard.judge.drift import alerts, drift_facts, drift_status

NOW = "2026-01-02T00:00:00Z"
MODEL, ANOTHER = ("sha256:" + digit * 64 for digit in "01")


def record(detected: bool, *, enough: bool = True, statistic: str = "0.3") -> MonitorRecord:
    worst = [FeatureDrift(feature="radius", test="KS", statistic=statistic)] if detected else []
    return MonitorRecord(
        model_digest=MODEL,
        rows=500,
        enough=enough,
        detected=detected,
        drifted_features=len(worst),
        features=30,
        worst=worst,
        evaluated_at=NOW,
    )


def after(*looks: MonitorRecord | None) -> MonitorStatus:
    status = MonitorStatus()
    for look in looks:
        status = MonitorStatus(drift=drift_status(status, look, MODEL))
    return status


def test_the_same_verdict_with_other_numbers_changes_nothing() -> None:
    assert after(record(True)) == after(record(True), record(True, statistic="0.4"))


def test_too_few_rows_keep_the_verdict_that_stands() -> None:
    assert after(record(True)) == after(record(True), record(False, enough=False), None)


def test_a_verdict_on_another_model_does_not_stand() -> None:
    assert drift_status(after(record(True)), None, ANOTHER) is None


def test_too_few_features_that_drifted_are_told_of() -> None:
    few = record(False).model_copy(update={"drifted_features": 2})
    declared = Drift.model_validate({"minFeatures": 3})
    found, _ = drift_facts(after(few).drift, few, declared)

    assert (found.holds, found.message) == (
        False,
        "2 of 30 features drifted, and spec.drift.minFeatures asks for 3.",
    )


def test_another_verdict_replaces_the_one_that_stands() -> None:
    status = after(record(True), record(False))
    assert status.drift is not None
    assert not status.drift.detected


@pytest.mark.parametrize(
    ("looks", "drift", "no_data"),
    [
        pytest.param([None], (False, "NoVerdict"), True, id="never looked"),
        pytest.param([record(False, enough=False)], (False, "NoVerdict"), True, id="too few rows"),
        pytest.param([record(False)], (False, "NoDrift"), False, id="no drift"),
        pytest.param([record(True)], (True, "FeaturesDrifted"), False, id="drift"),
        pytest.param(
            [record(True), None], (True, "FeaturesDrifted"), True, id="drift, then nothing"
        ),
    ],
)
def test_conditions_say(looks: list[Any], drift: tuple[bool, str], no_data: bool) -> None:
    found = {fact.type: fact for fact in drift_facts(after(*looks).drift, looks[-1], Drift())}
    assert (found["DriftDetected"].holds, found["DriftDetected"].reason) == drift
    assert found["NoData"].holds == no_data


ALERT = Alert(name="drift", when="DriftDetected")


def state(value: str) -> list[AlertStatus]:
    return [AlertStatus.model_validate({"name": "drift", "state": value, "since": "before"})]


@pytest.mark.parametrize(
    ("before", "detected", "states", "told"),
    [
        pytest.param([], True, ["Firing"], 1, id="drift begins: told once"),
        pytest.param(state("Firing"), True, ["Firing"], 0, id="drift goes on: not told again"),
        pytest.param(state("Firing"), False, ["Resolved"], 1, id="drift ends: told"),
        pytest.param(state("Resolved"), False, ["Resolved"], 0, id="all is well: nothing"),
        pytest.param(state("Resolved"), True, ["Firing"], 1, id="drift comes back: told"),
        pytest.param([], False, [], 0, id="there was never drift: nothing"),
    ],
)
def test_an_alert_is_told_when_its_state_changes(
    before: list[AlertStatus], detected: bool, states: list[str], told: int
) -> None:
    facts = drift_facts(after(record(detected)).drift, record(detected), Drift())
    found, firings = alerts([ALERT], before, facts, NOW)
    assert [entry.state for entry in found] == states
    assert len(firings) == told
