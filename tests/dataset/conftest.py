"""Runs the dataset runtime in process, on a store in a temporary directory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from modelyard.api.records import CLEAN_FILE, PROFILE_FILE, SNAPSHOT_FILE, DatasetRecord
from modelyard.api.runs import DatasetConfig
from modelyard_runtimes.dataset.snapshot import make_snapshot
from modelyard_runtimes.store import open_store


@dataclass(frozen=True)
class Outcome:
    """The record of a run and what lies behind it."""

    record: DatasetRecord
    store: Path

    @property
    def table(self) -> pa.Table:
        return pq.read_table(Path(self.record.snapshot.uri.removeprefix("file://")) / SNAPSHOT_FILE)

    @property
    def clean(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._file(CLEAN_FILE).splitlines()]

    @property
    def profile(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._file(PROFILE_FILE))
        return found

    @property
    def quarantined(self) -> list[dict[str, Any]]:
        if not self.record.quarantine.uri:
            return []
        lines = Path(self.record.quarantine.uri.removeprefix("file://")).read_text().splitlines()
        return [json.loads(line) for line in lines]

    @property
    def types(self) -> dict[str, str]:
        return {column.name: column.type for column in self.record.schema_}

    def _file(self, name: str) -> bytes:
        return (Path(self.record.snapshot.uri.removeprefix("file://")) / name).read_bytes()


Snapshot = Callable[..., Outcome]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Makes a snapshot of a path, or of any other source given by spec."""

    def make(path: Path | None = None, /, **spec: Any) -> Outcome:
        given: Mapping[str, Any] = spec.pop("source", {})
        source = {**({"path": str(path)} if path else {}), **given}
        config = {
            "namespace": "team",
            "name": "rows",
            "identity": "1" * 64,
            "spec": {"source": source, **spec},
            "store": {"uri": f"file://{tmp_path}/store"},
        }
        validated = DatasetConfig.model_validate(config)
        return Outcome(make_snapshot(validated, open_store(validated.store)), tmp_path / "store")

    return make


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines as a CSV file."""

    def write(*lines: str, name: str = "rows.csv") -> Path:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture(scope="session")
def test_data() -> Path:
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("MODELYARD_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set MODELYARD_TEST_DATA")
    return folder
