"""What a replay found of one run, for a person and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from modelyard.api.records import DatasetRecord, TrainRecord
from modelyard.api.resources import Key
from modelyard.judge.replay import Difference, unrecorded

Verdict = Literal["Equal", "Different", "NotCompared"]

UNEXPLAINED = (
    "nothing that the record tells has changed: what is recorded was altered since, or the run is "
    "not deterministic, which is a fault of Modelyard"
)
LONGEST = 160


@dataclass(frozen=True)
class Report:
    """What became of one run.

    Attributes:
        key: The object whose run it is.
        verdict: Equal, Different or NotCompared.
        message: Why it is not compared; empty otherwise.
        identity: Identity of the run; empty where none is recorded.
        difference: The first step that differs.
        explanations: What has changed since, and may explain a difference.
        notes: What a reader must know of the comparison.
        digests: Recorded and replayed digest by what it is of.
        trials: Number of trials that were compared.
    """

    key: Key
    verdict: Verdict
    message: str = ""
    identity: str = ""
    difference: Difference | None = None
    explanations: Sequence[str] = ()
    notes: Sequence[str] = ()
    digests: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    trials: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "kind": self.key.kind,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "identity": self.identity,
            "verdict": self.verdict,
            "message": self.message,
            "firstDifference": self.difference.to_json() if self.difference else None,
            "changedSince": list(self.explanations),
            "notes": list(self.notes),
            "digests": {
                name: {"recorded": recorded, "replayed": replayed}
                for name, (recorded, replayed) in self.digests.items()
            },
            "trials": self.trials,
        }


def lines(reports: Sequence[Report]) -> Iterator[str]:
    """Yield the reports for a person."""
    for report in reports:
        yield f"{_WORDS[report.verdict]:12}  {report.key}{_summary(report)}"
        if report.difference is not None:
            yield f"    first difference: {report.difference.step}"
            yield f"      recorded: {_told(report.difference.recorded)}"
            yield f"      replayed: {_told(report.difference.replayed)}"
            for explanation in report.explanations or (UNEXPLAINED,):
                yield f"    may explain it: {explanation}"
        elif report.explanations:
            yield f"    in spite of: {'; '.join(report.explanations)}"
        for note in report.notes:
            yield f"    note: {note}"


def missing(record: DatasetRecord | TrainRecord) -> list[str]:
    """Return a note of what a record does not tell, none where it tells all."""
    untold = unrecorded(record)
    return (
        [f"the record, of an earlier version, does not tell {', '.join(untold)}"] if untold else []
    )


_WORDS = {"Equal": "equal", "Different": "DIFFERENT", "NotCompared": "not compared"}


def _summary(report: Report) -> str:
    if report.verdict == "NotCompared":
        return f": {report.message}"
    parts = [f"{report.trials} trials"] if report.trials else []
    if report.verdict == "Equal":
        parts += [f"{name} {_short(digests[0])}" for name, digests in report.digests.items()]
    return f": {', '.join(parts)}" if parts else ""


def _short(digest: str) -> str:
    return digest[: len("sha256:") + 12]


def _told(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
