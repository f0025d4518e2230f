"""Compares a recorded run with its replay: the first step that differs, and what may explain it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api.artifacts import Manifest
from modelyard.api.records import MEASURED_FAILURES, DatasetRecord, Provenance, TrainRecord
from modelyard.api.runs import Measured

Trial = Mapping[str, Any]
Trials = Mapping[int, Trial]
Step = tuple[str, Any, Any]
"""Name of a step, what is recorded of it, and what the replay found."""

ROUNDING = 1e-9
TRIAL_FIELDS = ("parameters", "state", "folds", "iterations", "reason")


@dataclass(frozen=True)
class Difference:
    """The first step at which a replay is not what is recorded."""

    step: str
    recorded: Any
    replayed: Any

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"step": self.step, "recorded": self.recorded, "replayed": self.replayed}


@dataclass(frozen=True)
class SnapshotFacts:
    """What is known of one snapshot.

    Attributes:
        record: Its record.
        statistics: Numbers by column, as profile.json has them; empty where that is not there.
    """

    record: DatasetRecord
    statistics: Mapping[str, Any]


@dataclass(frozen=True)
class SearchFacts:
    """What is known of one search.

    Attributes:
        record: Its record; None when it ended without.
        trials: The trials of its log, by number.
        winner: Files of the packed model; None where the artifact is not there or was changed.
        evidence: Files of the evidence, likewise.
    """

    record: TrainRecord | None
    trials: Trials
    winner: Manifest | None = None
    evidence: Manifest | None = None


def snapshot_difference(recorded: SnapshotFacts, replayed: SnapshotFacts) -> Difference | None:
    """Return the first step of a snapshot that differs, None when there is none."""
    return _first(_snapshot_steps(recorded, replayed))


def search_difference(recorded: SearchFacts, replayed: SearchFacts) -> Difference | None:
    """Return the first step of a search that differs, None when there is none."""
    return _first(_search_steps(recorded, replayed))


def measured(trials: Trials, record: TrainRecord) -> Measured:
    """Return what a machine decided in a recorded search, for the replay to be given."""
    latencies = {
        entry.trial: entry.latency_ms_p95
        for entry in record.leaderboard
        if entry.latency_ms_p95 is not None
    }
    failed = {
        number: trial["reason"]
        for number, trial in trials.items()
        if trial.get("state") == "Failed"
        and str(trial.get("reason", "")).startswith(MEASURED_FAILURES)
    }
    iterations = {
        number: trial["ended_by_time"]
        for number, trial in trials.items()
        if trial.get("ended_by_time") is not None
    }
    return Measured(
        failed=failed,
        started=None if record.replayable else len(trials),
        iterations=iterations,
        latencies=latencies,
        warm_start=record.warm_start,
    )


def changes(recorded: Provenance, replayed: Provenance) -> Iterator[str]:
    """Yield what is not as it was when the record was made, and may explain a difference."""
    if recorded.code_version != replayed.code_version:
        now = _told(replayed.code_version)
        yield f"code: Modelyard {recorded.code_version} then, {now} now"
    elif recorded.code_digest and recorded.code_digest != replayed.code_digest:
        yield f"code: version {recorded.code_version} as then, of other source files"
    for what in ("environment", "platform", "threads"):
        before, after = getattr(recorded, what), getattr(replayed, what)
        for name in sorted(before.keys() | after.keys()) if before else ():
            if before.get(name) != after.get(name):
                yield f"{what}: {name} {_told(before.get(name))} then, {_told(after.get(name))} now"


def unrecorded(record: DatasetRecord | TrainRecord) -> list[str]:
    """Return what a record of an earlier version does not say, and so cannot be compared."""
    said = {
        "the configuration": record.config,
        "the digest of the code": record.provenance.code_digest,
        "the versions of libraries": record.provenance.environment,
        "the platform": record.provenance.platform,
    }
    return [name for name, value in said.items() if not value]


def _snapshot_steps(recorded: SnapshotFacts, replayed: SnapshotFacts) -> Iterator[Step]:
    before, after = recorded.record, replayed.record
    yield "rows read", before.rows_read, after.rows_read
    yield "rows set apart", before.quarantine.reasons, after.quarantine.reasons
    columns = [{column.name: column.to_json() for column in one.schema_} for one in (before, after)]
    yield "columns", list(columns[0]), list(columns[1])
    for name, column in columns[0].items():
        yield f"column {name}", column, columns[1].get(name)
    for name, values in recorded.statistics.items():
        found = replayed.statistics.get(name)
        if not _near(values, found):
            yield f"column {name}", values, found
    yield "fingerprint of the rows", before.fingerprint, after.fingerprint
    yield "snapshot", before.snapshot.digest, after.snapshot.digest


def _search_steps(recorded: SearchFacts, replayed: SearchFacts) -> Iterator[Step]:
    for number in sorted(recorded.trials.keys() | replayed.trials.keys()):
        trials = recorded.trials.get(number), replayed.trials.get(number)
        if replayed.record is None and trials[1] is None:
            continue
        if trials[0] is None or trials[1] is None:
            states = [None if one is None else one["state"] for one in trials]
            yield f"trial {number}", states[0], states[1]
            continue
        for field in TRIAL_FIELDS:
            yield f"trial {number}: {field}", trials[0].get(field), trials[1].get(field)
    before, after = recorded.record, replayed.record
    if before is None or after is None:
        return
    boards = [[entry.to_json() for entry in one.leaderboard] for one in (before, after)]
    yield "leaderboard", boards[0], boards[1]
    yield from _file_steps("winner", recorded.winner, replayed.winner)
    yield "winner", before.artifact.digest, after.artifact.digest
    yield from _file_steps("evidence", recorded.evidence, replayed.evidence)
    yield "evidence", before.evidence.digest, after.evidence.digest


def _file_steps(name: str, recorded: Manifest | None, replayed: Manifest | None) -> Iterator[Step]:
    if recorded is None or replayed is None:
        return
    digests = [{file.path: file.digest for file in one.files} for one in (recorded, replayed)]
    for path in sorted(digests[0].keys() | digests[1].keys()):
        yield f"{name}: {path}", digests[0].get(path), digests[1].get(path)


def _first(steps: Iterator[Step]) -> Difference | None:
    for step, before, after in steps:
        if before != after:
            return _leaf(step, before, after)
    return None


def _leaf(step: str, before: Any, after: Any) -> Difference:
    """Return the difference at the innermost field that differs, by more than rounding if any."""
    fields: list[Step] = []
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = sorted(before.keys() | after.keys())
        fields = [(f"{step}: {name}", before.get(name), after.get(name)) for name in names]
    elif _is_list(before) and _is_list(after):
        pairs = enumerate(zip(before, after, strict=False))
        fields = [(f"{step}[{place}]", one, other) for place, (one, other) in pairs]
        if all(one == other for _, one, other in fields):
            return Difference(f"{step}: number of entries", len(before), len(after))
    different = [field for field in fields if field[1] != field[2]]
    clear = [field for field in different if not _near(field[1], field[2])]
    chosen = next(iter(clear or different), None)
    return Difference(step, before, after) if chosen is None else _leaf(*chosen)


def _near(before: Any, after: Any) -> bool:
    """Return whether statistics are equal but for the order in which rows were summed."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return before.keys() == after.keys() and all(
            _near(value, after[key]) for key, value in before.items()
        )
    if _is_list(before) and _is_list(after):
        return len(before) == len(after) and all(map(_near, before, after))
    if isinstance(before, float) and isinstance(after, float):
        return math.isclose(before, after, rel_tol=ROUNDING, abs_tol=ROUNDING)
    return bool(before == after)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _told(value: str | None) -> str:
    return value or "none"
