"""What a Monitor's last look means: verdict on drift, conditions, alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.api.monitor import Alert, AlertStatus, Drift, DriftStatus, MonitorStatus
from modelyard.api.records import MonitorRecord
from modelyard.judge.conditions import Fact


@dataclass(frozen=True)
class Firing:
    """An alert whose state has to be told.

    Attributes:
        alert: The alert.
        state: Its state.
        message: What the state means.
        changed: Whether the state is new; else only some webhooks have not been told of it.
    """

    alert: Alert
    state: AlertStatus
    message: str
    changed: bool = True


def drift_status(
    before: MonitorStatus, record: MonitorRecord | None, model_digest: str
) -> DriftStatus | None:
    """Return the verdict on drift: the earlier one, to the letter, unless it changed.

    Args:
        before: The status as it was.
        record: The last look at the model that serves; None where there was none.
        model_digest: That model: a verdict on another one says nothing of it.
    """
    standing = before.drift
    if standing is not None and standing.model_digest is None:  # an earlier version wrote it
        standing = standing.model_copy(update={"model_digest": model_digest})
    if standing is not None and standing.model_digest != model_digest:
        standing = None
    if record is None or not record.enough:
        return standing
    if standing is not None and standing.detected == record.detected:
        return standing
    return DriftStatus(
        detected=record.detected,
        drifted_features=record.drifted_features,
        features=record.features,
        worst=record.worst[:10],
        report_uri=record.report_uri,
        model_digest=model_digest,
    )


def drift_facts(
    drift: DriftStatus | None, record: MonitorRecord | None, declared: Drift
) -> list[Fact]:
    """Return the conditions DriftDetected and NoData."""
    if record is None or not record.enough:
        min_rows = declared.window.min_rows
        message = f"Fewer than {min_rows} requests were logged for the model that serves."
        no_data = Fact("NoData", True, "TooFewRows", message)
    else:
        no_data = Fact("NoData", False, "EnoughRows", "Enough requests are logged for a verdict.")
    if drift is None:
        return [Fact("DriftDetected", False, "NoVerdict", "There is no verdict yet."), no_data]
    if drift.detected:
        names = ", ".join(feature.feature for feature in drift.worst[:5])
        message = (
            f"{drift.drifted_features} of {drift.features} features drifted, most of all {names}."
        )
        return [Fact("DriftDetected", True, "FeaturesDrifted", message), no_data]
    message = f"{drift.drifted_features or 'None'} of {drift.features} features drifted"
    if drift.drifted_features:
        message += f", and spec.drift.minFeatures asks for {declared.min_features}"
    message += "."
    return [Fact("DriftDetected", False, "NoDrift", message), no_data]


def alerts(
    declared: Sequence[Alert], before: Sequence[AlertStatus], facts: Sequence[Fact], now: str
) -> tuple[list[AlertStatus], list[Firing]]:
    """Return the state of all alerts, and those to tell of: each change is told once."""
    conditions = {fact.type: fact for fact in facts}
    known = {state.name: state for state in before}
    states, firings = [], []
    for alert in declared:
        fact = conditions[alert.when]
        earlier = known.get(alert.name)
        firing = earlier is not None and earlier.state == "Firing"
        if earlier is not None and firing == fact.holds:
            states.append(earlier)
            if earlier.untold:
                firings.append(Firing(alert, earlier, fact.message, changed=False))
            continue
        if not fact.holds and not firing:
            continue
        state = AlertStatus(
            name=alert.name, state="Firing" if fact.holds else "Resolved", since=now
        )
        states.append(state)
        firings.append(Firing(alert, state, fact.message))
    return states, firings
