"""The payload folder: newest rows first, whatever the order of chunks, and nothing new is seen."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.monitor.payloads import PayloadFolder
from modelyard_runtimes.payloads import chunk_name, chunk_start
from modelyard_runtimes.serve.chunks import ChunkWriter, DirectoryFolder
from modelyard_runtimes.store import Store, open_store

START = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "sha256:" + "1" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(StoreConfig(uri=f"file://{tmp_path}"))


@pytest.fixture
def written(store: Store) -> DirectoryFolder:
    return DirectoryFolder(f"{store.uri}/payloads/a/b")


def line(second: float, *values: int, digest: str = DIGEST) -> bytes:
    time = START + timedelta(seconds=second)
    record = {
        "time": time.isoformat(timespec="microseconds"),
        "modelDigest": digest,
        "instances": [{"x": value} for value in values],
    }
    return json.dumps(record).encode() + b"\n"


def folder(store: Store) -> PayloadFolder:
    return PayloadFolder(store, f"{store.uri}/payloads/a/b")


def newest(store: Store, count: int) -> list[int]:
    window = folder(store).newest(DIGEST, count)
    found = sorted(row["x"] for rows in window.batches() for row in rows)
    assert len(found) == len(window.times)
    return found


def test_the_newest_rows_of_two_writers_are_found(store: Store, written: DirectoryFolder) -> None:
    one, other = ChunkWriter(written), ChunkWriter(written)
    one.write(line(0, 1), START)
    other.write(line(10, 2), START + timedelta(seconds=10))
    one.write(line(40, 4), START + timedelta(seconds=40))
    other.write(line(20, 3), START + timedelta(seconds=20))

    assert newest(store, 10) == [1, 2, 3, 4]
    assert newest(store, 2) == [3, 4]


def test_a_window_holds_the_last_rows_of_a_request_that_it_cuts(
    store: Store, written: DirectoryFolder
) -> None:
    writer = ChunkWriter(written)
    writer.write(line(0, 1, 2, 3), START)
    writer.write(line(1, 4), START)

    assert newest(store, 3) == [2, 3, 4]


def test_rows_of_other_models_do_not_count(store: Store, written: DirectoryFolder) -> None:
    writer = ChunkWriter(written)
    for second in range(5):
        writer.write(line(second, second), START)
        writer.write(line(second, 99, digest="sha256:" + "2" * 64), START)

    assert newest(store, 3) == [2, 3, 4]


def test_old_chunks_are_not_read(store: Store, written: DirectoryFolder) -> None:
    written.append(chunk_name(START, "old"), b"not JSON, and never read\n")
    ChunkWriter(written).write(line(600, *range(20)), START + timedelta(seconds=600))

    assert newest(store, 10) == list(range(10, 20))


def test_the_fingerprint_changes_with_every_new_row_and_only_then(
    store: Store, written: DirectoryFolder
) -> None:
    writer = ChunkWriter(written)
    fingerprints = [folder(store).fingerprint(START)]
    for second in (0, 1, 59, 61, 200):
        now = START + timedelta(seconds=second)
        writer.write(line(second, second), now)
        fingerprints.append(folder(store).fingerprint(now))
        assert folder(store).fingerprint(now) == fingerprints[-1]

    assert len(set(fingerprints)) == len(fingerprints)


@pytest.mark.parametrize("key", ["a/b/notes.txt", "a/b/now-1.jsonl", "a/b/.jsonl", "x"])
def test_other_files_are_no_chunks(key: str) -> None:
    assert chunk_start(key) is None


def test_a_name_tells_when_the_chunk_was_begun() -> None:
    assert chunk_start(f"payloads/a/b/{chunk_name(START, '7-ff')}") == START
