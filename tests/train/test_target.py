"""Integers that are one and the same float are told apart, as classes and as categories."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.experiment import ExperimentSpec
from modelyard_runtimes.train.features import choose_features
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.target import read_target

from .conftest import MakeConfig

IDS = [2**53, 2**53 + 1, 2**60, 2**60 + 1]
TYPES = {"id": "Categorical", "kind": "Categorical"}
CLASSIFICATION = {"type": "Classification", "target": "kind"}


def table_of(kinds: list[int | None]) -> pa.Table:
    return pa.table({"id": IDS, "kind": pa.array(kinds, pa.int64())})


@pytest.mark.parametrize(
    ("kinds", "classes"),
    [
        pytest.param([*IDS], IDS, id="all beyond"),
        pytest.param([IDS[0], IDS[1], IDS[1], None], [IDS[1], IDS[0]], id="one is missing"),
        pytest.param([0, 1, 1, None], [1, 0], id="small"),
    ],
)
def test_large_integers_are_classes_of_their_own(
    kinds: list[int | None], classes: list[int]
) -> None:
    spec = {"datasetRef": {"name": "rows"}, "task": CLASSIFICATION}
    found = read_target(Snapshot(table_of(kinds), TYPES), ExperimentSpec.model_validate(spec))
    assert found.classes == classes
    assert {type(label) for label in found.classes} == {int}
    read = [found.classes[int(code)] for code in found.values]
    assert read == [kind for kind in kinds if kind is not None]


def test_large_integers_are_known_categories_of_their_own(make_config: MakeConfig) -> None:
    table = table_of([0, 1, 0, 1])
    config = make_config(table, TYPES, {"task": CLASSIFICATION})
    (feature,) = choose_features(Snapshot(table, TYPES), config, np.arange(4)).features
    assert feature.categories == sorted(map(str, IDS))
