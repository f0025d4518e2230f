"""Ordinal features: learned by their order, asked for by their texts."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.records import TrainRecord
from modelyard.api.runs import DatasetConfig, TrainConfig
from modelyard_runtimes.dataset.snapshot import make_snapshot
from modelyard_runtimes.model import Model, ValidationError
from modelyard_runtimes.model.predictor import load
from modelyard_runtimes.store import Store
from modelyard_runtimes.tables.inputs import typed_inputs
from modelyard_runtimes.train.evidence.dependence import partial_dependence
from modelyard_runtimes.train.evidence.exchange import value_of
from modelyard_runtimes.train.run import train

GRADES = ("low", "medium", "high", "very high")


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, float, float]]:
    """Return rows of grade, size and a price that rises with the grade."""
    generator = np.random.default_rng(3)
    steps, sizes = generator.integers(0, len(GRADES), 300), generator.normal(size=300)
    noise = generator.normal(scale=1.0, size=300)
    return [
        (GRADES[step], float(size), float(4 * step + 3 * size + error))
        for step, size, error in zip(steps, sizes, noise, strict=True)
    ]


@pytest.fixture
def trained(
    rows: list[tuple[str, float, float]],
    make_config: Callable[..., TrainConfig],
    store: Store,
    tmp_path: Path,
) -> Callable[[str], tuple[TrainRecord, Model]]:
    """Return what trains a family on a snapshot of the rows."""

    def run(learner: str) -> tuple[TrainRecord, Model]:
        with (tmp_path / "rows.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("grade", "size", "price"), *rows])
        source = {"source": {"path": str(tmp_path / "rows.csv")}}
        dataset = DatasetConfig.model_validate(
            {
                "namespace": "team",
                "name": "rows",
                "identity": "1" * 64,
                "spec": {**source, "privacy": {"detection": "Disabled"}},
                "store": {"uri": store.uri},
            }
        )
        snapshot = make_snapshot(dataset, store).snapshot
        spec = {
            "task": {"type": "Regression", "target": "price"},
            "search": {"trials": 2, "learners": [learner]},
        }
        config = make_config(
            pa.table({}),
            {},
            spec,
            name=learner.lower(),
            snapshot_uri=snapshot.uri,
            snapshot_digest=snapshot.digest,
        )
        record = train(config, store)
        folder = store.open_artifact(record.artifact.uri, record.artifact.digest)
        return record, load(Path(folder.path("model.json")).parent)

    return run


@pytest.mark.parametrize("learner", ["LightGBM", "Linear", "ExtraTrees"])
def test_a_model_learns_the_order_and_is_asked_by_the_texts(
    trained: Callable[[str], tuple[TrainRecord, Model]], learner: str
) -> None:
    record, model = trained(learner)
    (grade, _) = model.schema.features
    assert (grade.type, grade.categories) == ("Ordinal", list(GRADES))
    assert record.metrics["rmse"] < 3
    answers = model.predict({"grade": list(GRADES), "size": [0.0] * 4})
    assert (np.diff(answers) > 1).all()


def test_what_is_no_step_counts_as_missing_wherever_it_is_read(
    trained: Callable[[str], tuple[TrainRecord, Model]],
) -> None:
    _, model = trained("LightGBM")
    given = ["high", "unheard of", None]
    inputs = model.schema.validate({"grade": given, "size": [0.0] * 3})
    np.testing.assert_array_equal(inputs.numbers[:, 0], [2, np.nan, np.nan])
    assert [value_of(model.schema, inputs, row, 0) for row in range(3)] == ["high", None, None]
    table = pa.table({"grade": pa.array(given, pa.large_string()), "size": [0.0] * 3})
    found, misfits = typed_inputs(model.schema, table)
    assert not misfits
    np.testing.assert_array_equal(found.numbers, inputs.numbers)
    answers = model.predict({"grade": given, "size": [0.0] * 3})
    assert answers[1] == answers[2] != answers[0]
    with pytest.raises(ValidationError, match="not an object"):
        model.schema.validate({"grade": [{}], "size": [0.0]})


def test_partial_dependence_tries_every_step_in_order(
    trained: Callable[[str], tuple[TrainRecord, Model]],
) -> None:
    _, model = trained("LightGBM")
    grades = ["very high"] * 150 + ["medium"] + ["low"] * 150
    inputs = model.schema.validate({"grade": grades, "size": [0.0] * len(grades)})
    (curve,) = partial_dependence(model, inputs, [0], seed=1)
    assert curve["values"] == ["low", "medium", "very high"]
