"""Snapshots and configurations of small experiments, in a store of the test's own."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from modelyard.api.dataset import ColumnProfile
from modelyard.api.identity import canonical_json, digest
from modelyard.api.records import DATASET_MEDIA_TYPE, PROFILE_FILE, SNAPSHOT_FILE
from modelyard.api.runs import TrainConfig
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.store import Store, open_store

Types = Mapping[str, str]
MakeConfig = Callable[..., TrainConfig]


def snapshot_files(table: pa.Table, types: Types) -> dict[str, bytes]:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    profiles = [ColumnProfile(name=name, type=kind).to_json() for name, kind in types.items()]
    return {SNAPSHOT_FILE: stream.getvalue(), PROFILE_FILE: canonical_json({"columns": profiles})}


def merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` on top, dictionary by dictionary."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping)
        result[key] = merged(old, value) if both else value
    return result


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(StoreConfig(uri=(tmp_path / "store").as_uri()))


def configuration(
    store: Store, table: pa.Table, types: Types, spec: Mapping[str, Any], **changes: Any
) -> TrainConfig:
    """Store a table as a snapshot and return a quick configuration of an experiment on it."""
    artifact = store.put_artifact(DATASET_MEDIA_TYPE, snapshot_files(table, types))
    quick = {
        "datasetRef": {"name": "rows"},
        "validation": {"folds": 3},
        "search": {"trials": 6},
        "explain": {"permutationRepeats": 1, "shapRows": 20},
    }
    fields = {
        "namespace": "team",
        "name": "experiment",
        "identity": digest(canonical_json(dict(spec)))[7:],
        "spec": merged(quick, spec),
        "parallelism": 2,
        "workers": 2,
        "snapshot_uri": artifact.uri,
        "snapshot_digest": artifact.digest,
        "fingerprint": artifact.digest,
        "store": {"uri": store.uri},
    }
    return TrainConfig.model_validate({**fields, **changes})


@pytest.fixture
def make_config(store: Store) -> MakeConfig:
    """Return a function that stores a table as a snapshot and returns a quick configuration."""
    return partial(configuration, store)


def data_folder() -> Path:
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("MODELYARD_TEST_DATA", default))


@pytest.fixture
def shared_data() -> Path:
    folder = data_folder()
    if not folder.is_dir():
        pytest.skip("no test data; set MODELYARD_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def mixed_table() -> tuple[pa.Table, dict[str, str]]:
    """Return 240 rows with every type of column, missing values, and a target of two classes."""
    generator = np.random.default_rng(7)
    rows = 240
    size = generator.normal(size=rows)
    colour = generator.choice(["red", "green", "blue"], size=rows)
    member = generator.random(rows) < 0.5
    start = np.datetime64("2024-01-01T00:00:00", "us")
    since = start + generator.integers(0, 400 * 86400, rows).astype("timedelta64[s]")
    score = size + (colour == "red") + 0.5 * member + generator.normal(scale=0.5, size=rows)
    gaps = generator.random(rows) < 0.1
    table = pa.table(
        {
            "id": [f"row-{row:04}" for row in range(rows)],
            "size [cm]": pa.array(size, mask=gaps),
            "colour": pa.array(colour, mask=generator.random(rows) < 0.05),
            "member": pa.array(member),
            "since": pa.array(since, type=pa.timestamp("us", tz="UTC")),
            "note": ["late again" if value > 0.5 else "all on time" for value in score],
            "region": generator.choice(["north", "south"], size=rows),
            "churn": np.where(score > 0.6, "yes", "no"),
        }
    )
    types = {
        "id": "Identifier",
        "size [cm]": "Numeric",
        "colour": "Categorical",
        "member": "Boolean",
        "since": "Datetime",
        "note": "Text",
        "region": "Categorical",
        "churn": "Categorical",
    }
    return table, types
