"""A packed model over numbers, a truth value, a category and a moment, and batches with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest
from modelyard.api.artifacts import FAILURE, RECORD, run_key
from modelyard.api.identity import canonical_json
from modelyard.api.records import BatchRecord
from modelyard.api.runs import BatchConfig
from modelyard.api.runtime import CONFIG_VARIABLE, StoreConfig
from modelyard_runtimes.batch.run import score
from modelyard_runtimes.model import Model, load
from modelyard_runtimes.store import Store, open_store

IDENTITY = "a" * 64


def trees_text(columns: int, seed: int = 0, trees: int = 20, **settings: Any) -> bytes:
    """Return a fitted model text: categories in the last column, missing values in all others."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(2000, columns))
    rows[:, -1] = random.integers(0, 4, len(rows))
    target = (rows[:, 0] * rows[:, 1] + (rows[:, -1] == 2) > 0).astype(float)
    rows[:, :-1][random.random((len(rows), columns - 1)) < 0.1] = np.nan
    options = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": seed, **settings}
    data = lgb.Dataset(rows, target, categorical_feature=[columns - 1], free_raw_data=False)
    text = lgb.train(options, data, trees).model_to_string()
    return text.partition("end of trees\n")[0].encode() + b"end of trees\n"


def model_document() -> dict[str, Any]:
    features = [
        {"name": "age", "type": "Numeric", "required": True},
        {"name": "balance", "type": "Numeric", "required": False},
        {"name": "member", "type": "Boolean", "required": False},
        {"name": "joined", "type": "Datetime", "required": False},
        {"name": "plan", "type": "Categorical", "required": True, "categories": ["a", "b"]},
    ]
    numbers = {"fill": [None] * 9, "mean": [0] * 9, "scale": [1] * 9, "knots": [[]] * 9}
    return {
        "task": "Classification",
        "target": "left",
        "classes": ["no", "yes"],
        "positiveLabel": "yes",
        "features": features,
        "encoders": [
            {"numeric": numbers, "categorical": {"style": "Ordinal", "levels": [[0, 1, 2, 3]]}}
        ],
        "members": [
            {
                "type": "Trees",
                "learner": "LightGBM",
                "trial": 0,
                "weight": 1.0,
                "encoder": 0,
                "file": "members/0.txt",
            }
        ],
        "privacy": {"email": "Hash"},
        "neverLogged": ["phone"],
    }


def table(rows: int, seed: int = 1) -> pa.Table:
    """Return customers, some of their values missing."""
    random = np.random.default_rng(seed)
    days = random.integers(10_000, 20_000, rows)
    return pa.table(
        {
            "id": pa.array(range(rows), pa.int64()),
            "age": random.integers(18, 90, rows),
            "balance": pa.array(random.normal(size=rows).round(3), mask=random.random(rows) < 0.1),
            "member": pa.array(random.random(rows) < 0.5, mask=random.random(rows) < 0.1),
            "joined": pa.array(days.astype("datetime64[D]").astype("datetime64[us]")),
            "plan": pa.array(random.choice(["a", "b", "c"], rows), mask=random.random(rows) < 0.1),
            "email": pa.array([f"{row}@example.com" for row in range(rows)]),
        }
    )


class Site:
    """A store with a model, a folder for input and one for output."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.input, self.output = root / "input", root / "output"
        self.input.mkdir()
        self.store_config = StoreConfig(uri=(root / "store").as_uri())
        self.store: Store = open_store(self.store_config)
        self.pack()

    def pack(self, objective: str = "binary", text: bytes | None = None, **changes: Any) -> None:
        """Make another model the one that scores."""
        files = {
            "model.json": canonical_json(model_document() | changes),
            "members/0.txt": text or trees_text(10, objective=objective),
        }
        self.artifact = self.store.put_artifact("modelyard/model.v1", files)
        self.model: Model = load(self.store.open_artifact(self.artifact.uri).folder())

    def write(self, name: str, rows: pa.Table) -> Path:
        path = self.input / name
        if path.suffix == ".csv":
            pv.write_csv(rows, path)
        elif path.suffix == ".jsonl":
            texts = rows.set_column(4, "joined", rows["joined"].cast(pa.string()))
            path.write_text("".join(json.dumps(row) + "\n" for row in texts.to_pylist()))
        else:
            pq.write_table(rows, path)
        return path

    def config(self, path: Path | None = None, **batch: Any) -> BatchConfig:
        source = {"path": str(path or self.input)}
        return BatchConfig.model_validate(
            {
                "namespace": "n",
                "name": "b",
                "identity": IDENTITY,
                "batch": {"input": {"source": source}} | batch,
                "model_uri": self.artifact.uri,
                "model_digest": self.artifact.digest,
                "model_version": "churn-0123456789",
                "output_uri": self.output.as_uri(),
                "store": self.store_config,
            }
        )

    def score(self, path: Path | None = None, **batch: Any) -> BatchRecord:
        return score(self.config(path, **batch), self.store)

    def start(self, config: BatchConfig) -> subprocess.Popen[bytes]:
        """Start the runtime as a backend does."""
        variables = {CONFIG_VARIABLE: config.model_dump_json(by_alias=True, exclude_none=True)}
        return subprocess.Popen(
            [sys.executable, "-m", "modelyard_runtimes.batch"],
            env={**os.environ, **variables},
            stderr=subprocess.DEVNULL,
        )

    def forget(self) -> None:
        """Remove all that runs left."""
        shutil.rmtree(self.output)
        shutil.rmtree(self.root / "store" / "runs")

    def run_file(self, name: str) -> Any:
        """Return a file of the run's folder."""
        return json.loads(
            self.store.read_bytes(f"{run_key('n', 'Deployment', 'b', IDENTITY)}/{name}")
        )

    def record(self) -> BatchRecord:
        return BatchRecord.model_validate(self.run_file(RECORD))

    def failure(self) -> dict[str, Any]:
        found: dict[str, Any] = self.run_file(FAILURE)
        return found

    def shards(self) -> list[Path]:
        return sorted(self.output.glob("part-*"))

    def scored(self) -> pa.Table:
        return pa.concat_tables([pq.read_table(path) for path in self.shards()])

    def rejected(self) -> list[dict[str, Any]]:
        lines = [path.read_text().splitlines() for path in sorted(self.output.glob("_rejected-*"))]
        return [json.loads(line) for part in lines for line in part]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)
