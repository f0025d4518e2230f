"""A search may begin with what was best in earlier runs of the project; a replay with the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from modelyard.api.artifacts import RECORD, TRIALS, run_key
from modelyard.api.identity import canonical_json
from modelyard.api.records import TrainRecord
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.store import Store, open_store
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.trial_log import parse_trial
from modelyard_runtimes.train.warm_start import WARM_START

CHURN = {"type": "Classification", "target": "churn"}
QUICK = {"permutationRepeats": 0, "shapRows": 0}
EARLIER = {"task": CHURN, "search": {"trials": 4, "learners": ["Linear"]}, "explain": QUICK}
WARM = {
    "task": CHURN,
    "search": {"trials": 2, "learners": ["Linear", "ExtraTrees"], "warmStart": {"k": 2}},
    "explain": QUICK,
}


def folder(record: TrainRecord) -> str:
    return run_key(record.namespace, "Experiment", record.name, record.identity)


def run(config: TrainConfig, store: Store) -> TrainRecord:
    """Run a search and leave its record, as the entry point does."""
    record = train(config, store)
    store.write_record(f"{folder(record)}/{RECORD}", canonical_json(record.to_json()))
    return record


def test_a_search_begins_with_the_best_trials_of_earlier_runs_and_so_does_its_replay(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
    tmp_path: Path,
) -> None:
    earlier = run(make_config(*mixed_table, EARLIER, name="earlier"), store)
    best = next(entry for entry in earlier.leaderboard if entry.trial != "ensemble")
    config = make_config(*mixed_table, WARM, name="warm")
    record = run(config, store)
    assert [(one.experiment, str(one.trial)) for one in record.warm_start] == [
        ("earlier", best.trial)
    ]
    lines = store.read_bytes(f"{folder(record)}/{TRIALS}").splitlines()[1:]
    first = next(trial for trial in map(parse_trial, lines) if trial.number == 0)
    assert first.parameters == record.warm_start[0].parameters
    assert first.value == best.metric

    fresh = open_store(config.store.model_copy(update={"uri": (tmp_path / "fresh").as_uri()}))
    measured = {"warm_start": [trial.to_json() for trial in record.warm_start]}
    replay = make_config(
        *mixed_table, WARM, name="warm", measured=measured, snapshot_store={"uri": store.uri}
    )
    assert train(replay, fresh).artifact.digest == record.artifact.digest


def test_a_search_that_goes_on_begins_with_what_it_began_with(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
) -> None:
    config = make_config(*mixed_table, WARM, name="warm")
    first = run(config, store)
    assert first.warm_start == []
    assert store.read_bytes(f"{folder(first)}/{WARM_START}") == b"[]"
    run(make_config(*mixed_table, EARLIER, name="later"), store)
    assert train(config, store).warm_start == []
