"""What a machine decided in a run is recorded, and reused where the run is replayed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from modelyard.api.artifacts import TRIALS, run_key
from modelyard.api.records import TOOK_LONGER, TrainRecord
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.store import Store
from modelyard_runtimes.store.files import path_of
from modelyard_runtimes.train.run import train

SPEC = {
    "task": {"type": "Classification", "target": "churn"},
    "validation": {"folds": 2},
    "search": {"trials": 6, "learners": ["Linear"]},
    "explain": {"permutationRepeats": 0, "shapRows": 0},
}


def test_trials_that_failed_by_their_machine_fail_again_and_the_budget_cuts_at_the_same_place(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
    tmp_path: Path,
) -> None:
    reason = f"{TOOK_LONGER}1 s"
    config = make_config(*mixed_table, SPEC, measured={"failed": {1: reason}, "started": 3})
    elsewhere = (tmp_path / "fresh").as_uri()
    fresh = config.model_copy(
        update={
            "store": config.store.model_copy(update={"uri": elsewhere}),
            "snapshot_store": config.store,
        }
    )
    before = sorted(store.list(""))
    record = train(fresh, type(store)(elsewhere))
    folder = path_of(elsewhere) / run_key("team", "Experiment", "experiment", config.identity)
    lines = [json.loads(line) for line in (folder / TRIALS).read_text().splitlines()[1:]]
    states = {line["number"]: (line["state"], line["reason"]) for line in lines}
    assert states == {0: ("Complete", ""), 1: ("Failed", reason), 2: ("Complete", "")}
    assert not record.replayable
    assert sorted(store.list("")) == before
    assert TrainRecord.model_validate_json(json.dumps(record.to_json())).config == fresh


def test_a_record_says_what_the_bytes_may_depend_on(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
) -> None:
    spec = {**SPEC, "search": {"trials": 1, "learners": ["Linear"]}}
    found = train(make_config(*mixed_table, spec), store).provenance
    assert set(found.platform) == {"python", "system", "libc", "architecture", "instructions"}
    assert found.code_digest.startswith("sha256:")
    assert "scikit-learn" in found.environment
