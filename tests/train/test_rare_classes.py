"""Classes with too few rows for the split end the run, or are left out where that is declared."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.records import TrainRecord
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.problem import prepare
from modelyard_runtimes.train.rare import rare_classes, told
from modelyard_runtimes.train.run import train_with
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.target import Target, read_target

from .conftest import MakeConfig
from .in_process import InProcess

TYPES = {"x": "Numeric", "kind": "Categorical"}
DROP = {"type": "Classification", "target": "kind", "rareClasses": "Drop"}
KINDS = ["a"] * 90 + ["b"] * 70 + ["c"] * 3 + ["d"] * 2 + ["e"] + [None]
QUICK = {
    "search": {"trials": 1, "learners": ["Linear"]},
    "explain": {"permutationRepeats": 0, "shapRows": 0},
}


def table_of(kinds: Sequence[str | None]) -> pa.Table:
    """Return rows of these kinds in an order of chance, each with a number of its own."""
    chance = np.random.default_rng(4)
    order = chance.permutation(len(kinds))
    shuffled = [kinds[place] for place in order]
    tells = np.array([kind == "a" for kind in shuffled])
    return pa.table({"x": chance.normal(size=len(kinds)) + tells, "kind": shuffled})


def target_of(kinds: Sequence[str | None], **fields: Any) -> Target:
    """Return the target where rare classes are to be left out."""
    spec = {"datasetRef": {"name": "rows"}, "task": DROP, "validation": {"folds": 3}}
    return read_target(
        Snapshot(table_of(kinds), TYPES), ExperimentSpec.model_validate({**spec, **fields})
    )


def trained(config: TrainConfig, store: Store) -> TrainRecord:
    """Return the record of a run in this process."""
    return train_with(config, store, lambda _, data, folder: InProcess(data))


def card_of(store: Store, record: TrainRecord) -> str:
    return store.read_bytes(record.card_uri).decode()


def test_a_rare_class_ends_the_run_and_the_message_names_the_field_that_leaves_it_out(
    make_config: MakeConfig, store: Store
) -> None:
    task = {"type": "Classification", "target": "kind"}
    for declared in (task, {**task, "rareClasses": "Fail"}):
        config = make_config(table_of(KINDS), TYPES, {"task": declared})
        with pytest.raises(RunFailure, match=r"class 'd' has 2 rows.*rareClasses: Drop") as refused:
            trained(config, store)
        assert refused.value.reason == "TooFewRows"


def test_rows_of_rare_classes_are_left_out_counted_and_named(
    make_config: MakeConfig, store: Store
) -> None:
    table = table_of(KINDS)
    record = trained(make_config(table, TYPES, {"task": DROP, **QUICK}), store)

    card = card_of(store, record)
    assert "| left out with a rare class | 3 |" in card
    assert "| left out for want of a target | 1 |" in card
    assert re.search(r"spec\.task\.rareClasses.*2 of 5 classes.*'e' \(1\), 'd' \(2\)$", card, re.M)
    assert "- Classes: `a`, `b`, `c`\n" in card
    content = store.open_artifact(record.evidence.uri).read("predictions.parquet")
    held = pq.read_table(io.BytesIO(content)).column("row").to_pylist()
    kinds = table.column("kind").to_pylist()
    assert {kinds[row] for row in held} == {"a", "b", "c"}


def test_the_model_is_the_one_of_data_from_which_somebody_took_these_rows(
    make_config: MakeConfig, store: Store
) -> None:
    table = table_of(KINDS)
    cleaned = table.filter(pa.compute.is_in(table["kind"], pa.array(["a", "b", "c"])))
    task = {"type": "Classification", "target": "kind"}
    by_hand = trained(make_config(cleaned, TYPES, {"task": task, **QUICK}, name="hand"), store)
    by_field = trained(make_config(table, TYPES, {"task": DROP, **QUICK}), store)
    assert by_field.artifact.digest == by_hand.artifact.digest
    assert "rare class" not in card_of(store, by_hand)


def test_where_no_class_is_rare_nothing_is_left_out_or_said(
    make_config: MakeConfig, store: Store
) -> None:
    config = make_config(table_of(["a"] * 60 + ["b"] * 50 + ["c"] * 40), TYPES, {"task": DROP})
    problem = prepare(Snapshot(table_of(["a"] * 60 + ["b"] * 50 + ["c"] * 40), TYPES), config)
    assert problem.target.rare == {}
    assert not any("rareClasses" in warning for warning in problem.warnings)


@pytest.mark.parametrize(
    ("kinds", "fields", "rare"),
    [
        pytest.param({"a": 90, "b": 60, "c": 3, "d": 2}, {}, {"d": 2}, id="by log_loss three do"),
        pytest.param(
            {"a": 90, "b": 60, "c": 4, "d": 3},
            {"task": {**DROP, "metric": "f1"}},
            {"d": 3},
            id="by f1 each fold needs one",
        ),
        pytest.param(
            {"a": 90, "b": 60, "c": 4, "d": 3},
            {"validation": {"folds": 3, "timeColumn": "x"}},
            {"d": 3},
            id="by time each stretch needs one",
        ),
        pytest.param(
            {"a": 90, "b": 60, "c": 3, "d": 2, "e": 1},
            {"validation": {"folds": 3, "holdout": 0.5}},
            {"e": 1, "d": 2, "c": 3},
            id="half of them are held out",
        ),
        pytest.param(
            {f"k{number:03}": 1 for number in range(200)} | {"a": 90, "b": 60, "c": 30},
            {},
            {f"k{number:03}": 1 for number in range(200)},
            id="more classes than there may be",
        ),
    ],
)
def test_a_class_is_rare_that_the_split_would_refuse(
    kinds: dict[str, int], fields: dict[str, Any], rare: dict[str, int]
) -> None:
    target = target_of([kind for kind, count in kinds.items() for _ in range(count)], **fields)
    assert target.rare == rare
    assert list(target.rare) == list(rare)
    assert target.classes == sorted(kinds.keys() - rare.keys())
    assert Counter(target.values.astype(int).tolist()) == {
        place: kinds[str(label)] for place, label in enumerate(target.classes)
    }


def test_copies_of_one_row_count_once() -> None:
    table = pa.table(
        {"x": [*np.arange(90.0), *[500.0] * 8], "kind": ["a", "b", "c"] * 30 + ["d"] * 8}
    )
    spec = ExperimentSpec.model_validate({"datasetRef": {"name": "rows"}, "task": DROP})
    labels = table.column("kind").to_pylist()
    assert rare_classes(Snapshot(table, TYPES), np.arange(98), labels, spec) == {"d": 8}


def test_of_two_classes_that_are_left_each_fold_needs_a_row() -> None:
    # Of three classes 'b' has enough rows; of two the usual metric is roc_auc, which needs more.
    with pytest.raises(
        RunFailure, match=r"Drop leaves 1 of 3 classes.*of 'c' \(1\), 'b' \(3\)"
    ) as end:
        target_of(["a"] * 60 + ["b"] * 3 + ["c"])
    assert end.value.reason == "TooFewRows"


def test_no_more_than_ten_classes_are_named() -> None:
    assert told({f"k{number}": 1 for number in range(12)}).endswith("'k9' (1) and 2 more")
