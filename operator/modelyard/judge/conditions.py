"""Readiness of an object and the conditions that say it (kstatus, KEP-1623)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from modelyard.api.meta import Condition

LONGEST_MESSAGE = 1024


@dataclass(frozen=True)
class Readiness:
    """Whether an object is what its spec asks for.

    Progressing heals by itself; Stalled needs somebody to change something.
    """

    state: Literal["Ready", "Progressing", "Stalled"]
    reason: str
    message: str

    @property
    def event_type(self) -> Literal["Normal", "Warning"]:
        """Type of the Event that tells it: Warning where somebody may have to act.

        What waits for a thing that is not there heals by itself only if somebody brings it.
        """
        absent = self.reason.endswith(("Missing", "Unavailable", "NotDelivered"))
        troubled = self.state == "Stalled" or (self.state == "Progressing" and absent)
        return "Warning" if troubled else "Normal"


@dataclass(frozen=True)
class Fact:
    """A condition of a kind's own, besides Ready, Reconciling and Stalled."""

    type: str
    holds: bool
    reason: str
    message: str


def ready(reason: str, message: str) -> Readiness:
    """The object is what its spec asks for."""
    return Readiness("Ready", reason, message)


def progressing(reason: str, message: str) -> Readiness:
    """The object gets there by itself, or waits for another object."""
    return Readiness("Progressing", reason, message)


def stalled(reason: str, message: str) -> Readiness:
    """The object does not get there unless somebody changes something."""
    return Readiness("Stalled", reason, message)


def conditions(
    previous: Sequence[dict[str, Any]],
    generation: int,
    now: str,
    readiness: Readiness,
    facts: Sequence[Fact] = (),
) -> list[Condition]:
    """Return all conditions of an object, ordered by type.

    Reconciling and Stalled are present only while true, as kstatus reads them, and never together.

    Args:
        previous: Conditions as they stand; their transition times are kept where nothing changed.
        generation: metadata.generation that was judged.
        now: RFC 3339 time for those that changed.
        readiness: What Ready, Reconciling and Stalled say.
        facts: Conditions of the kind's own.
    """
    wanted = [
        Fact("Ready", readiness.state == "Ready", readiness.reason, readiness.message),
        *facts,
    ]
    if readiness.state == "Progressing":
        wanted.append(Fact("Reconciling", True, readiness.reason, readiness.message))
    if readiness.state == "Stalled":
        wanted.append(Fact("Stalled", True, readiness.reason, readiness.message))
    before = {condition["type"]: condition for condition in previous}
    return sorted(
        (_condition(fact, before.get(fact.type), generation, now) for fact in wanted),
        key=lambda condition: condition.type,
    )


def _condition(fact: Fact, before: dict[str, Any] | None, generation: int, now: str) -> Condition:
    status: Literal["True", "False"] = "True" if fact.holds else "False"
    unchanged = before is not None and before["status"] == status
    message = fact.message.strip()
    if len(message) > LONGEST_MESSAGE:
        message = message[: LONGEST_MESSAGE - 1] + "…"
    return Condition(
        type=fact.type,
        status=status,
        reason=fact.reason,
        message=message,
        last_transition_time=before["lastTransitionTime"] if unchanged and before else now,
        observed_generation=generation,
    )


def kept_facts(manifest: dict[str, Any]) -> list[Fact]:
    """Return the conditions of a kind's own as they stand."""
    return [
        Fact(entry["type"], entry["status"] == "True", entry["reason"], entry["message"])
        for entry in (manifest.get("status") or {}).get("conditions") or []
        if entry["type"] not in ("Ready", "Reconciling", "Stalled")
    ]


def is_ready(manifest: dict[str, Any]) -> bool:
    """Return whether an object is Ready at its present generation."""
    condition = ready_condition(manifest)
    return condition.get("status") == "True" and condition.get("observedGeneration") == manifest[
        "metadata"
    ].get("generation")


def ready_condition(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the Ready condition of an object; empty when it has none yet."""
    for condition in (manifest.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready":
            found: dict[str, Any] = condition
            return found
    return {}


def sentence(message: str) -> str:
    """Return a message with the mark at its end by which another sentence can follow."""
    told = message.rstrip(". ")
    return told if told.endswith("?") else f"{told}."
