"""A bucket gives the same snapshot as a directory; the command ends as a run must."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from modelyard.api.artifacts import Failure
from modelyard.api.records import DatasetRecord
from modelyard.api.runs import DatasetConfig
from modelyard.api.runtime import CONFIG_VARIABLE
from modelyard_runtimes.dataset.snapshot import make_snapshot
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import open_store

from tests.tools.object_store import make_bucket, object_store

BUCKET = "data"
FILES = 200


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with object_store() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def client(endpoint: str) -> Any:
    return make_bucket(endpoint, BUCKET)


@pytest.fixture
def from_bucket(
    endpoint: str, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], DatasetRecord]:
    assert client
    monkeypatch.setenv("SOURCE_AWS_ACCESS_KEY_ID", "source")
    monkeypatch.setenv("SOURCE_AWS_SECRET_ACCESS_KEY", "secret")

    def make(uri: str) -> DatasetRecord:
        config = DatasetConfig.model_validate(
            {
                "namespace": "team",
                "name": "rows",
                "identity": "1" * 64,
                "spec": {"source": {"uri": uri, "connectionRef": {"name": "bucket"}}},
                "store": {"uri": f"file://{tmp_path}/store"},
                "sourceStore": {"uri": f"s3://{BUCKET}", "endpoint": endpoint},
            }
        )
        return make_snapshot(config, open_store(config.store))

    return make


def write_mixed_files(folder: Path) -> None:
    folder.mkdir()
    for number in range(FILES):
        rows = [{"n": number * 5 + row, "x": row / 4, "label": "ab"[row % 2]} for row in range(5)]
        below = folder / f"part{number % 7}"
        below.mkdir(exist_ok=True)
        if number % 3 == 0:
            pq.write_table(pa.Table.from_pylist(rows), below / f"{number}.parquet")
        elif number % 3 == 1:
            (below / f"{number}.json").write_text(json.dumps(rows))
        else:
            lines = ["n,x,label", *(",".join(map(str, row.values())) for row in rows)]
            (below / f"{number}.csv").write_text("\n".join(lines))


def test_a_bucket_of_mixed_files_equals_a_directory(
    client: Any,
    from_bucket: Callable[[str], DatasetRecord],
    snapshot: Callable[..., Any],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "source"
    write_mixed_files(folder)
    for path in folder.rglob("*.*"):
        client.upload_file(str(path), BUCKET, f"many/{path.relative_to(folder).as_posix()}")

    local, remote = snapshot(folder).record, from_bucket(f"s3://{BUCKET}/many")

    assert remote.rows_read == local.rows_read == FILES * 5
    assert remote.fingerprint == local.fingerprint
    assert remote.snapshot == local.snapshot
    assert remote.files == local.files


def test_one_object_is_a_source(client: Any, from_bucket: Callable[[str], DatasetRecord]) -> None:
    client.put_object(Bucket=BUCKET, Key="one/rows.csv", Body=b"x,y\n1,2\n")

    assert from_bucket(f"s3://{BUCKET}/one/rows.csv").rows_read == 1


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}/nothing", "s3://no-such-bucket/x"])
def test_a_missing_object_fails_and_names_the_field(
    uri: str, from_bucket: Callable[[str], DatasetRecord]
) -> None:
    with pytest.raises(RunFailure, match=r"spec\.source\.uri") as caught:
        from_bucket(uri)
    assert caught.value.reason == "UnreadableSource"


def run_command(config: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelyard_runtimes.dataset"],
        env={**os.environ, CONFIG_VARIABLE: json.dumps(config)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_a_record_once(tmp_path: Path, csv: Callable[..., Path]) -> None:
    config = {
        "namespace": "team",
        "name": "rows",
        "identity": "2" * 64,
        "spec": {"source": {"path": str(csv("x,y", "1,2"))}, "privacy": {"detection": "Disabled"}},
        "store": {"uri": f"file://{tmp_path}/store"},
        "sourceRevision": "abc",
    }
    folder = tmp_path / "store" / "runs" / "team" / "dataset" / "rows" / ("2" * 64)

    first = run_command(config)
    written = (folder / "record.json").read_bytes()
    second = run_command(config)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert (folder / "record.json").read_bytes() == written
    record = DatasetRecord.model_validate_json(written)
    assert record.provenance.source_revision == "abc"
    assert all(json.loads(line)["message"] for line in first.stderr.splitlines())


def test_the_command_tells_a_failure(tmp_path: Path) -> None:
    config = {
        "namespace": "team",
        "name": "rows",
        "identity": "3" * 64,
        "spec": {"source": {"path": f"{tmp_path}/none.csv"}},
        "store": {"uri": f"file://{tmp_path}/store"},
    }
    folder = tmp_path / "store" / "runs" / "team" / "dataset" / "rows" / ("3" * 64)

    assert run_command(config).returncode == 1
    failure = Failure.model_validate_json((folder / "failure.json").read_bytes())
    assert failure.reason == "UnreadableSource"
