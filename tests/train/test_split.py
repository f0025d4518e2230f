"""Equal rows stay together, and each class is where it has to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.dataset import ColumnType
from modelyard.api.experiment import ExperimentSpec
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.split import Split, split_rows
from modelyard_runtimes.train.target import Target

SEEDS = range(20)


def split(table: pa.Table, target: str, seed: int, least: int = 5, **fields: Any) -> Split:
    """Split the rows of a table by a seed; a target of texts is one of classes."""
    values = np.array(table[target].to_pylist())
    classes: list[Any] = []
    if values.dtype.kind == "U":
        classes, values = np.unique(values, return_inverse=True)  # type: ignore[assignment]
        classes = list(classes)
    read = Target(np.arange(len(values)), values.astype(np.float64), classes, 0)
    kinds = {"class": "Categorical", "id": "Identifier"}
    types: dict[str, ColumnType] = {
        name: kinds.get(name, "Numeric")  # type: ignore[misc]
        for name in table.column_names
    }
    spec = ExperimentSpec.model_validate(
        {
            "datasetRef": {"name": "rows"},
            "task": {"type": "Classification" if classes else "Regression", "target": target},
            "validation": fields,
            "features": {"exclude": [name for name in types if name == "note"]},
        }
    )
    return split_rows(Snapshot(table, types), read, spec, (seed, seed + 1), least)


def copied(rows: int, copies: int) -> pa.Table:
    """Return rows of chance, of which some stand there again, in any order."""
    chance = np.random.default_rng(3)
    places = np.concatenate([np.arange(rows), chance.integers(0, rows, copies)])
    chance.shuffle(places)
    values, names = chance.normal(size=rows), chance.choice(["a", "b", "c"], rows)
    return pa.table({"x": values[places], "y": values[places] ** 2, "class": names[places]})


@pytest.mark.parametrize("target", ["y", "class"])
@pytest.mark.parametrize("seed", SEEDS)
def test_equal_rows_are_on_one_side_and_in_one_fold(target: str, seed: int) -> None:
    table = copied(300, 60)
    kept, held, folds, original = split(table, target, seed)

    values = np.array(table["x"])
    assert not np.isin(values[held], values[kept]).any()
    for value in np.unique(values[kept]):
        assert len(np.unique(folds[values[kept] == value])) == 1
    assert sorted([*kept, *held]) == list(range(360))
    assert (original != np.arange(360)).sum() == 60
    assert 0.1 < len(held) / 360 < 0.3


@pytest.mark.parametrize("name", ["id", "note"], ids=["an identifier", "an excluded column"])
def test_a_number_of_its_own_makes_a_copy_no_other_row(name: str) -> None:
    table = copied(300, 60)
    told_apart = table.append_column(name, pa.array([f"{row:05}" for row in range(360)]))

    assert split(told_apart, "y", 1).original.tolist() == split(table, "y", 1).original.tolist()


def test_people_who_are_alike_are_no_copies() -> None:
    chance = np.random.default_rng(4)
    alike = {"age": chance.integers(18, 90, 3000) * 1.0, "class": chance.choice(["f", "m"], 3000)}
    table = pa.table({"id": [f"{row:05}" for row in range(3000)], **alike})

    assert split(table, "class", 1).original.tolist() == list(range(3000))


def test_a_column_that_decides_the_class_makes_no_copies_of_the_rows() -> None:
    x = np.random.default_rng(4).integers(0, 100, 3000) * 1.0
    table = pa.table({"id": [f"{row:05}" for row in range(3000)], "x": x, "y": x * 2})

    assert split(table, "y", 1).original.tolist() == list(range(3000))


def test_rows_that_are_all_different_are_split_as_if_nobody_had_looked() -> None:
    table = copied(300, 0)
    kept, held, folds, original = split(table, "class", 1)

    assert len(held) == 60
    assert np.bincount(folds).tolist() == [48] * 5
    assert original.tolist() == list(range(300))
    assert np.all(np.diff(kept) > 0)


RARE = ["a"] * 40 + ["b"] * 30 + ["c"] * 3 + ["d"] * 4


@pytest.mark.parametrize("seed", SEEDS)
def test_a_class_of_three_rows_is_held_out_once_and_always_fitted_on(seed: int) -> None:
    table = pa.table({"x": np.random.default_rng(1).normal(size=77), "class": RARE})
    kept, held, folds, _ = split(table, "class", seed, least=2)

    names = np.array(RARE)
    assert set(names[held]) == set("abcd")
    for fold in range(5):
        assert set(names[kept][folds != fold]) == set("abcd")


@pytest.mark.parametrize(
    ("names", "least"), [(RARE, 5), (RARE + ["e"] * 2, 2)], ids=["in every fold", "in any"]
)
def test_a_class_of_fewer_rows_is_refused(names: list[str], least: int) -> None:
    table = pa.table({"x": np.random.default_rng(1).normal(size=len(names)), "class": names})
    with pytest.raises(RunFailure, match=r"class '[ce]' has [23] rows, too few") as refused:
        split(table, "class", 1, least=least)
    assert refused.value.reason == "TooFewRows"


def test_more_classes_than_rows_of_the_holdout_are_refused() -> None:
    names = [f"c{number}" for number in range(20) for _ in range(4)]
    table = pa.table({"x": np.random.default_rng(1).normal(size=80), "class": names})
    with pytest.raises(RunFailure, match="than there are classes, 20"):
        split(table, "class", 1, least=2)


def test_a_rare_class_is_learned_by_every_family(make_config: Any, store: Store) -> None:
    chance = np.random.default_rng(2)
    names = chance.permutation(["a"] * 150 + ["b"] * 120 + ["c"] * 3 + ["d"] * 5)
    table = pa.table({"x": chance.normal(size=278) + (names == "a"), "class": names})
    spec = {
        "task": {"type": "Classification", "target": "class"},
        "search": {"trials": 8, "learners": ["LightGBM", "Linear", "ExtraTrees"]},
    }
    record = train(make_config(table, {"x": "Numeric", "class": "Categorical"}, spec), store)

    assert (record.progress.done, record.progress.failed) == (8, 0)
    assert {one.learner for one in record.leaderboard} == {"LightGBM", "Linear", "ExtraTrees"}
    assert record.metrics["log_loss"] < 1.2
