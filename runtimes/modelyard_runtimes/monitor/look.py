"""One look of a Monitor: what is new, what it says, and what is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from modelyard.api.artifacts import LATEST, MODEL_FILE, monitor_key
from modelyard.api.identity import canonical_json, digest
from modelyard.api.records import REPORT_MEDIA_TYPE, SNAPSHOT_FILE, MonitorRecord
from modelyard.api.runs import MonitorConfig

from modelyard_runtimes.entry import log, now
from modelyard_runtimes.monitor.payloads import PayloadFolder, Window
from modelyard_runtimes.monitor.state import STATE, State, next_state
from modelyard_runtimes.store import Store

if TYPE_CHECKING:
    from modelyard_runtimes.monitor.drift import Look

REPORT_FILE = "drift.json"
MOST_REPORTED_ROWS = 50_000
"""Newest rows that an Evidently report shows; Evidently holds them all in memory."""


def look(config: MonitorConfig, store: Store) -> None:
    """Look at the newest requests, and make the Evidently report that is asked for.

    Raises:
        RunFailure: an Evidently report is asked for and Evidently is not installed; the verdict on
            drift is written before.
        StoreError: the store refuses, or holds other bytes than were committed.
    """
    payloads = PayloadFolder(store, config.payload_uri)
    record = judge(config, store, payloads)
    if config.report_token not in ("", record.evidently_token):
        from modelyard_runtimes.monitor.report import put_report  # noqa: PLC0415

        limit = min(config.spec.drift.window.max_rows, MOST_REPORTED_ROWS)
        batches = payloads.newest(config.model_digest, limit).batches()
        made = {
            "evidently_token": config.report_token,
            "evidently_uri": put_report(config, store, [row for rows in batches for row in rows]),
        }
        write_record(config, store, record.model_copy(update=made))


def judge(config: MonitorConfig, store: Store, payloads: PayloadFolder) -> MonitorRecord:
    """Return the record of this look, written; that of the last look when nothing is new."""
    folder = monitor_key(config.namespace, config.name)
    state = read_state(store, f"{folder}/{STATE}")
    subject = subject_of(config)
    inputs = digest(f"{subject}|{payloads.fingerprint(now())}".encode())
    previous = read_record(store, f"{folder}/{LATEST}", config.model_digest)
    if previous is not None and inputs == state.inputs:
        log.info("no new requests since the last look")
        return previous
    if state.subject != subject:
        state = State(subject=subject)
        previous = None
    window = payloads.newest(config.model_digest, config.spec.drift.window.max_rows)
    if len(window.times) < config.spec.drift.window.min_rows:
        record = without_verdict(config, previous, state, window)
    else:
        state, record = with_verdict(config, store, previous, state, window)
    write_record(config, store, record)
    # Written last: a look that was killed before is made again.
    state = state.model_copy(update={"inputs": inputs})
    store.write_record(f"{folder}/{STATE}", canonical_json(state.to_json()))
    log.info(
        "looked at the newest requests",
        extra={"fields": {"rows": record.rows, "detected": record.detected}},
    )
    return record


def write_record(config: MonitorConfig, store: Store, record: MonitorRecord) -> None:
    """Write latest.json."""
    key = f"{monitor_key(config.namespace, config.name)}/{LATEST}"
    store.write_record(key, canonical_json(record.to_json()))


def subject_of(config: MonitorConfig) -> str:
    """Return the digest of what a verdict is about; another subject starts without a verdict."""
    spec = config.spec.to_json()
    return digest(
        canonical_json(
            {
                "deployment": config.deployment,
                "model": config.model_digest,
                "reference": config.snapshot_digest,
                "drift": spec["drift"],
            }
        )
    )


def read_state(store: Store, key: str) -> State:
    """Return what the last look left; an empty state when there was none."""
    try:
        return State.model_validate_json(store.read_bytes(key))
    except FileNotFoundError:
        return State()


def read_record(store: Store, key: str, model_digest: str) -> MonitorRecord | None:
    """Return the record of the last look at the same model, if there is one."""
    try:
        record = MonitorRecord.model_validate_json(store.read_bytes(key))
    except FileNotFoundError:
        return None
    return record if record.model_digest == model_digest else None


def without_verdict(
    config: MonitorConfig, previous: MonitorRecord | None, state: State, window: Window
) -> MonitorRecord:
    """Return the record of a look at too few rows: the last verdict stays."""
    fields = {
        "model_digest": config.model_digest,
        "rows": len(window.times),
        "enough": False,
        "detected": state.detected,
        "evaluated_at": now().isoformat(timespec="seconds"),
    }
    if previous is not None and previous.detected == state.detected:
        return previous.model_copy(update=fields)
    return MonitorRecord(drifted_features=0, features=0, worst=[], **fields)


def with_verdict(
    config: MonitorConfig,
    store: Store,
    previous: MonitorRecord | None,
    state: State,
    window: Window,
) -> tuple[State, MonitorRecord]:
    """Return state and record of a look at enough rows.

    The numbers in the record are those of the look that changed the verdict.
    """
    # NumPy, SciPy and Arrow take a second to load, which a look without new rows need not pay.
    from modelyard_runtimes.monitor.drift import look_at  # noqa: PLC0415

    seen = look_at(
        store.open_artifact(config.model_uri, config.model_digest).read(MODEL_FILE),
        store.open_artifact(config.snapshot_uri, config.snapshot_digest).path(SNAPSHOT_FILE),
        window.batches(),
        config.spec.drift,
    )
    fresh = window.newer_than(state.drifting_until)
    state = next_state(state, seen.drifts, window.times[-1], len(window.times), fresh)
    fields = {
        "rows": len(window.times),
        "enough": True,
        "detected": state.detected,
        "evaluated_at": now().isoformat(timespec="seconds"),
    }
    if previous is not None and previous.enough and previous.detected == state.detected:
        return state, previous.model_copy(update=fields)
    return state, MonitorRecord(
        model_digest=config.model_digest,
        drifted_features=len(seen.drifted),
        features=len(seen.findings),
        worst=seen.worst(),
        not_compared=seen.not_compared,
        report_uri=put_numbers(config, store, seen, fields),
        **fields,
    )


def put_numbers(config: MonitorConfig, store: Store, seen: Look, fields: dict[str, object]) -> str:
    """Store the numbers of all features as an artifact and return the URI of the file."""
    document = {
        "modelDigest": config.model_digest,
        "snapshotDigest": config.snapshot_digest,
        "rows": fields["rows"],
        "detected": fields["detected"],
        "drift": config.spec.drift.to_json(),
        "features": seen.to_json(),
        "notCompared": seen.not_compared,
    }
    data = json.dumps(document, indent=2, sort_keys=True, allow_nan=False).encode()
    return f"{store.put_artifact(REPORT_MEDIA_TYPE, {REPORT_FILE: data}).uri}/{REPORT_FILE}"
