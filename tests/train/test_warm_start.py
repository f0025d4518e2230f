"""A search may begin with what was best in earlier runs of the project; a replay with the same."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from modelyard.api.artifacts import RECORD, TRIALS, run_key
from modelyard.api.identity import canonical_json
from modelyard.api.records import MetaFeatures, TrainRecord
from modelyard.api.runs import DatasetConfig, TrainConfig, WarmTrial
from modelyard_runtimes.dataset.snapshot import make_snapshot
from modelyard_runtimes.store import Store, open_store
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.trial import TrialResult
from modelyard_runtimes.train.trial_log import parse_trial
from modelyard_runtimes.train.warm_start import WARM_START, distance

CHURN = {"type": "Classification", "target": "churn"}
QUICK = {"permutationRepeats": 0, "shapRows": 0}
EARLIER = {"task": CHURN, "search": {"trials": 4, "learners": ["Linear"]}, "explain": QUICK}
WARM = {
    "task": CHURN,
    "search": {"trials": 12, "learners": ["Linear"], "warmStart": {"k": 2}},
    "explain": QUICK,
}


def folder(record: TrainRecord) -> str:
    return run_key(record.namespace, "Experiment", record.name, record.identity)


def run(config: TrainConfig, store: Store) -> TrainRecord:
    """Run a search and leave its record, as the entry point does."""
    record = train(config, store)
    store.write_record(f"{folder(record)}/{RECORD}", canonical_json(record.to_json()))
    return record


def trials(record: TrainRecord, store: Store) -> list[TrialResult]:
    """Return the trials of a run by their numbers."""
    lines = store.read_bytes(f"{folder(record)}/{TRIALS}").splitlines()[1:]
    return sorted(map(parse_trial, lines), key=lambda trial: trial.number)


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
    tried = [(one.experiment, str(one.trial)) for one in record.warm_start if one.tried]
    assert tried == [("earlier", best.trial)]
    first = trials(record, store)[0]
    assert first.parameters == record.warm_start[0].parameters
    assert first.value == best.metric

    def again(known: list[WarmTrial]) -> tuple[TrainRecord, Store]:
        place = tmp_path / f"fresh-{len(known)}"
        fresh = open_store(config.store.model_copy(update={"uri": place.as_uri()}))
        measured = {"warm_start": [trial.to_json() for trial in known]}
        replay = make_config(
            *mixed_table, WARM, name="warm", measured=measured, snapshot_store={"uri": store.uri}
        )
        return train(replay, fresh), fresh

    replayed, fresh = again(record.warm_start)
    assert replayed.artifact.digest == record.artifact.digest
    assert trials(replayed, fresh) == trials(record, store)
    # Guides that are not tried show in what is proposed.
    assert len(record.warm_start) > 1
    assert trials(*again(record.warm_start[:1])) != trials(record, store)


def test_of_each_run_the_best_is_tried_and_the_next_ones_guide(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
) -> None:
    earlier = run(make_config(*mixed_table, EARLIER, name="earlier"), store)
    ranked = [int(one.trial) for one in earlier.leaderboard if one.trial != "ensemble"]
    for number in range(6):
        name = f"again-{number}"
        again = run(make_config(*mixed_table, EARLIER, name=name), store)
        assert again.leaderboard == earlier.leaderboard
    known = train(make_config(*mixed_table, WARM, name="warm"), store).warm_start
    # What the other runs found is the same, and is known once.
    assert [(one.trial, one.tried) for one in known] == [
        (trial, trial == ranked[0]) for trial in ranked
    ]


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


def test_of_other_datasets_the_most_alike_come_first(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
) -> None:
    table, types = mixed_table
    few = table.slice(0, 120)
    of_another = {**EARLIER, "datasetRef": {"name": "others"}}
    for name, rows in (("alike", table), ("few", few)):  # the latest is the less alike
        run(make_config(rows, types, of_another, name=name, identity=name[0] * 64), store)
    warm = train(make_config(table, types, WARM, name="warm"), store).warm_start
    assert [one.experiment for one in warm][:1] == ["alike"]


CHURNING = {
    "rows": 4000,
    "features": 20,
    "numeric": 0.5,
    "text": 0.0,
    "missing": 0.1,
    "classes": 2,
    "majority": 0.7,
}


@pytest.mark.parametrize(
    ("near", "far"),
    [
        pytest.param({}, {"rows": 8000}, id="equal data, then more rows"),
        pytest.param({"rows": 8000}, {"rows": 80_000}, id="rows by their ratio"),
        pytest.param({"features": 25}, {"numeric": 0.0}, id="features, then their types"),
        pytest.param({"majority": 0.75}, {"majority": 0.99}, id="classes as rare"),
        pytest.param({"missing": 0.0}, {"missing": 0.9}, id="as many gaps"),
    ],
)
def test_data_are_compared_by_what_they_are_like(
    near: dict[str, float], far: dict[str, float]
) -> None:
    here = MetaFeatures.model_validate(CHURNING)
    first, second = (MetaFeatures.model_validate(CHURNING | other) for other in (near, far))
    assert distance(first, here) < distance(second, here) < distance(None, here)


TABLES = {
    "telco_churn.csv": ("Churn", ["customerID"]),
    "adult.csv": ("income", []),
    "titanic.csv": ("Survived", ["PassengerId", "Name", "Ticket"]),
    "breast_cancer": ("target", []),
    "wine": ("target", []),
}
SEARCHED = 40


def experiment(folder: Path, store: Store, number: int, warm: dict[str, Any] | None) -> TrainConfig:
    """Return an experiment on a sample of a table in turn; each has a Dataset of its own."""
    source, (target, ignored) = list(TABLES.items())[number % len(TABLES)]
    place = {"path": str(folder / source)} if "." in source else {"builtin": source}
    made = {
        "namespace": "team",
        "name": f"sample-{number}",
        "identity": f"{number:064}",
        "spec": {
            "source": place,
            "sample": {"rows": 800, "seed": number},
            "privacy": {"detection": "Disabled"},
        },
        "store": {"uri": store.uri},
    }
    snapshot = make_snapshot(DatasetConfig.model_validate(made), store).snapshot
    config = {
        "namespace": "team" if warm or number < 20 else "alone",
        "name": f"experiment-{number}",
        "identity": f"{number:064}",
        "spec": {
            "datasetRef": {"name": f"sample-{number}"},
            "task": {"type": "Classification", "target": target, "metric": "log_loss"},
            "features": {"exclude": ignored},
            "validation": {"folds": 3},
            "search": {"trials": SEARCHED, "earlyStopping": {"type": "None"}, "warmStart": warm},
            "explain": QUICK,
            "seed": number,
        },
        "parallelism": 2,
        "workers": 2,
        "snapshot_uri": snapshot.uri,
        "snapshot_digest": snapshot.digest,
        "fingerprint": snapshot.digest,
        "store": {"uri": store.uri},
    }
    return TrainConfig.model_validate(config)


def losses(record: TrainRecord, store: Store) -> list[float]:
    """Return the loss of each trial, by its number."""
    return [trial.value for trial in trials(record, store)]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_twenty_experiments_spare_further_ones_a_third_of_their_trials(
    store: Store, shared_data: Path
) -> None:
    """Counted are the trials until 95 % of what a search gains over the first default."""
    counts: dict[str, list[int]] = {"cold": [], "warm": []}
    for number in range(20):
        run(experiment(shared_data, store, number, None), store)
    for number in range(20, 30):
        found = {
            kind: losses(run(experiment(shared_data, store, number, warm), store), store)
            for kind, warm in (("cold", None), ("warm", {"k": 3}))
        }
        first, best = found["cold"][0], min(map(min, found.values()))
        enough = first - 0.95 * (first - best)
        for kind, values in found.items():
            reached = (count for count, loss in enumerate(values, 1) if loss <= enough)
            counts[kind].append(next(reached, SEARCHED))
    medians = {kind: statistics.median(found) for kind, found in counts.items()}
    print(counts, medians)
    assert medians["warm"] <= 0.7 * medians["cold"]
