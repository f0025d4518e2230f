"""A change of the model alone pays for reading the snapshot, not for taking it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SNAPSHOT = """
import json, sys, time
from modelyard.api.runs import DatasetConfig
from modelyard_runtimes.dataset.snapshot import make_snapshot
from modelyard_runtimes.store import open_store

config = DatasetConfig.model_validate_json(sys.argv[1])
snapshot = make_snapshot(config, open_store(config.store)).snapshot
print(json.dumps({"cpu": time.process_time(), "uri": snapshot.uri, "digest": snapshot.digest}))
"""
DATA_STEPS_OF_A_SEARCH = """
import json, sys, time
import modelyard_runtimes.train.run  # what a search imports, whatever it reads
import numpy as np
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.store import open_store
from modelyard_runtimes.train.encoding import fit_encoder
from modelyard_runtimes.train.learners.registry import LEARNERS
from modelyard_runtimes.train.problem import prepare
from modelyard_runtimes.train.snapshot import read_snapshot

config = TrainConfig.model_validate_json(sys.argv[1])
start = time.process_time()
read = read_snapshot(open_store(config.store), config.snapshot_uri, config.snapshot_digest)
data = prepare(read, config).search
for trial in range(config.spec.search.trials):
    learner = LEARNERS[config.spec.search.learners[trial % len(config.spec.search.learners)]]
    for fold in range(config.spec.validation.folds):
        train = data.inputs.take(np.flatnonzero(data.folds != fold))
        options = learner.encoding({"categories": "OneHot", "knots": 4})
        encoder = Encoder(fit_encoder(train, data.categories, options))
        encoder.transform(train), encoder.transform(data.inputs.take(np.flatnonzero(data.folds == fold)))
print(json.dumps({"cpu": time.process_time() - start}))
"""


def run(code: str, config: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-c", code, json.dumps(config)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.soak
def test_a_second_search_of_telco_saves_most_of_the_cpu_of_the_data_steps(
    shared_data: Path, tmp_path: Path
) -> None:
    common = {"namespace": "team", "name": "churn", "store": {"uri": (tmp_path / "store").as_uri()}}
    source = {"source": {"path": str(shared_data / "telco_churn.csv")}}
    snapshot = run(SNAPSHOT, common | {"identity": "1" * 64, "spec": source})
    spec = {
        "datasetRef": {"name": "churn"},
        "task": {"type": "Classification", "target": "Churn"},
        "seed": 7,
    }
    second = run(
        DATA_STEPS_OF_A_SEARCH,
        common
        | {
            "identity": "2" * 64,
            "spec": spec,
            "parallelism": 2,
            "workers": 2,
            "fingerprint": snapshot["digest"],
        }
        | {"snapshot_uri": snapshot["uri"], "snapshot_digest": snapshot["digest"]},
    )
    first = snapshot["cpu"] + second["cpu"]
    saved = 1 - second["cpu"] / first
    print(f"data steps: {first:.2f} CPU-s cold, {second['cpu']:.2f} then; {saved:.0%} saved")
    assert saved >= 0.6
