"""Replays the search of an Experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelyard.api.artifacts import artifact_uri
from modelyard.api.records import TrainRecord
from modelyard.api.resources import Key
from modelyard.api.runs import Measured
from modelyard.cli.replay.places import Places
from modelyard.cli.replay.process import start_runtime
from modelyard.cli.replay.recorded import NotRecorded, RecordedSearch, RunReader
from modelyard.cli.replay.report import Report, missing
from modelyard.judge.replay import (
    Difference,
    SearchFacts,
    changes,
    measured,
    search_difference,
)

ALTERED = "DigestMismatch"
"""Reason of a run whose input has other bytes than its digest says."""


def replay_search(key: Key, found: RecordedSearch, places: Places) -> Report:
    """Run a recorded search again, on the recorded snapshot, and compare.

    Raises:
        NotRecorded: the replay did not come to an end, and nothing differs before.
        StoreUnavailable: a store cannot be read.
    """
    recorded, fresh = places.recorded(key.namespace), places.fresh(key.namespace)
    identity, store = found.config.identity, places.store(key.namespace)
    before = _facts(recorded, key, identity, found.record)
    told = recorded.evidence_trials(before.evidence)
    # Evidence is worth more than a log: its digest is in the record.
    reused = measured(told or before.trials, found.record)
    config = found.config.model_copy(
        update={
            "store": places.fresh_store,
            "snapshot_store": store,
            "snapshot_uri": artifact_uri(store.uri, found.record.snapshot_digest),
            "measured": reused,
        }
    )
    status = start_runtime("train", config, places.keys(key), places.log(key))
    record = fresh.record_or_none(key, identity, TrainRecord)
    after = _facts(fresh, key, identity, record)
    difference = search_difference(before, after)
    if record is None and difference is None:
        failure = fresh.failure(key, identity)
        if failure is None or failure.reason != ALTERED:
            raise NotRecorded(places.why_ended(key, identity, status))
        difference = Difference("snapshot", found.record.snapshot_digest, failure.message)
    if record is None:
        ended = places.why_ended(key, identity, status)
        explanations = [f"the replay left no record that would tell what changed since: {ended}"]
    else:
        explanations = list(changes(found.record.provenance, record.provenance))
    return Report(
        key,
        "Different" if difference else "Equal",
        identity=identity,
        difference=difference,
        explanations=explanations,
        notes=[*missing(found.record), *_reuse(reused), *_altered(before, after, told)],
        digests={} if record is None else _digests(found.record, record),
        trials=len(after.trials),
    )


def _facts(runs: RunReader, key: Key, identity: str, record: TrainRecord | None) -> SearchFacts:
    if record is None:
        return SearchFacts(None, runs.trials(key, identity))
    evidence = runs.manifest(record.evidence.digest)
    # The evidence tells the same trials, where somebody removed the log.
    trials = runs.trials(key, identity) or runs.evidence_trials(evidence)
    return SearchFacts(record, trials, runs.manifest(record.artifact.digest), evidence)


def _reuse(reused: Measured) -> Iterator[str]:
    if reused.failed:
        numbers = ", ".join(map(str, sorted(reused.failed)))
        yield f"trials {numbers} failed then by their machine; that is reused, not tried again"
    if reused.started is not None:
        yield f"budget.wallClock let {reused.started} trials start then, and now as many"


def _altered(
    before: SearchFacts, after: SearchFacts, told: Mapping[int, Mapping[str, Any]]
) -> Iterator[str]:
    """Yield where the recorded log and the recorded evidence disagree."""
    altered = [number for number in told if told[number] != before.trials.get(number)]
    if altered:
        who = "evidence and the replay tell" if after.trials == told else "evidence tells"
        place = f"trials.jsonl was changed since the run, at trial {min(altered)}"
        yield f"{place}: the recorded {who} otherwise"


def _digests(before: TrainRecord, after: TrainRecord) -> dict[str, tuple[str, str]]:
    return {
        "winner": (before.artifact.digest, after.artifact.digest),
        "evidence": (before.evidence.digest, after.evidence.digest),
    }
