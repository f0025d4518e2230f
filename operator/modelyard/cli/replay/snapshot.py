"""Replays the snapshot of a Dataset."""

from __future__ import annotations

from modelyard.api.records import DatasetRecord
from modelyard.api.resources import Key
from modelyard.cli.replay.places import Places
from modelyard.cli.replay.process import start_runtime
from modelyard.cli.replay.recorded import NotRecorded, RecordedSnapshot
from modelyard.cli.replay.report import Report, missing
from modelyard.judge.replay import SnapshotFacts, changes, snapshot_difference

OTHER_FILES = "data: the files behind spec.source.path are others than then"


def replay_snapshot(key: Key, found: RecordedSnapshot, places: Places) -> Report:
    """Take a recorded snapshot again and compare.

    Raises:
        NotRecorded: the replay did not come to an end.
        StoreUnavailable: a store cannot be read.
    """
    recorded, fresh = places.recorded(key.namespace), places.fresh(key.namespace)
    config = found.config.model_copy(update={"store": places.fresh_store})
    keys = places.keys(key, config.spec)
    status = start_runtime("dataset", config, keys, places.log(key))
    before, after = found.record, fresh.record_or_none(key, config.identity, DatasetRecord)
    if after is None:
        raise NotRecorded(places.why_ended(key, config.identity, status))
    difference = snapshot_difference(
        SnapshotFacts(before, recorded.statistics(before.snapshot.digest)),
        SnapshotFacts(after, fresh.statistics(after.snapshot.digest)),
    )
    other = found.files is not None and config.source_digest not in ("", found.files.digest)
    return Report(
        key,
        "Different" if difference else "Equal",
        identity=config.identity,
        difference=difference,
        explanations=[
            *([OTHER_FILES] if other else []),
            *changes(before.provenance, after.provenance),
        ],
        notes=missing(before),
        digests={
            "fingerprint": (before.fingerprint, after.fingerprint),
            "snapshot": (before.snapshot.digest, after.snapshot.digest),
        },
    )
