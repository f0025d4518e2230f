"""A writer that is killed at any moment leaves nothing half-written where a reader looks."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.store import open_store

WRITER = """
import sys
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.store import open_store

store = open_store(StoreConfig(uri=sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    files = {f"part-{i}": bytes([number % 251]) * 200_000 for i in range(5)}
    files["number"] = str(number).encode()
    artifact = store.put_artifact("modelyard/dataset.v1", files)
    store.write_record("runs/a/dataset/b/1/record.json", artifact.uri.encode())
    number += 1
"""


def kill_a_writer_after(seconds: float, root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, f"file://{root}"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)


def assert_all_is_whole(root: Path) -> int:
    store = open_store(StoreConfig(uri=f"file://{root}"))
    folders = list((root / "artifacts").iterdir()) if (root / "artifacts").exists() else []
    for folder in folders:
        store.open_artifact(f"file://{folder}", f"sha256:{folder.name}").folder()
    if store.exists("runs/a/dataset/b/1/record.json"):
        store.open_artifact(store.read_bytes("runs/a/dataset/b/1/record.json").decode()).folder()
    return len(folders)


@pytest.mark.parametrize(
    "kills", [pytest.param(4, id="sample"), pytest.param(200, id="all", marks=pytest.mark.soak)]
)
def test_no_half_artifact_is_ever_visible(tmp_path: Path, kills: int) -> None:
    moments = random.Random(7)
    for _ in range(kills):
        kill_a_writer_after(moments.uniform(0.0, 0.2), tmp_path)
        assert_all_is_whole(tmp_path)

    assert assert_all_is_whole(tmp_path) > 0


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    leftover = tmp_path / ".incoming" / "0123"
    leftover.mkdir(parents=True)
    (leftover / "part-0").write_bytes(b"half")

    open_store(StoreConfig(uri=f"file://{tmp_path}")).write_record("runs/x", b"x")

    assert [path.name for path in (tmp_path / ".incoming").iterdir()] == [".lock"]
