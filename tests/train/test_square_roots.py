"""Targets that are never negative: some candidates fit their square roots."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from modelyard.api.records import TrainRecord
from modelyard_runtimes.model import Model, load
from modelyard_runtimes.model.explain import contributions
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.run import train
from sklearn import metrics

from .conftest import MakeConfig

TYPES = {"hour": "Numeric", "kind": "Categorical", "count": "Numeric"}
SPEC: dict[str, Any] = {
    "task": {"type": "Regression", "target": "count"},
    "search": {"trials": 6, "learners": ["LightGBM", "Linear"]},
}


def counts(rows: int = 400) -> pa.Table:
    """Return counts whose spread grows with them: every feature multiplies."""
    generator = np.random.default_rng(5)
    hour, kind = generator.uniform(0, 6, rows), generator.choice(list("abc"), rows)
    mean = np.exp(0.7 * hour) * np.where(kind == "a", 3.0, 1.0)
    return pa.table({"hour": hour, "kind": kind, "count": generator.poisson(mean).astype(float)})


def fitted(trial: dict[str, Any]) -> str:
    return str(trial["parameters"].get("target", "nothing else"))


@pytest.fixture
def trained(make_config: MakeConfig, store: Store) -> TrainRecord:
    return train(make_config(counts(), TYPES, SPEC), store)


def model_of(store: Store, record: TrainRecord) -> Model:
    return load(store.open_artifact(record.artifact.uri).folder())


def test_a_search_of_counts_packs_members_on_square_roots(
    trained: TrainRecord, store: Store
) -> None:
    evidence = store.open_artifact(trained.evidence.uri)
    trials = json.loads(evidence.read("trials.json"))
    assert {fitted(trial) for trial in trials} == {"Value", "SquareRoot"}
    model = model_of(store, trained)
    chosen = {trial["number"]: fitted(trial) for trial in trials}
    for member in model.document.members:
        assert member.link == ("Square" if chosen[member.trial] == "SquareRoot" else "Identity")
    assert "Square" in {member.link for member in model.document.members}

    inputs = model.schema.validate(counts(50).drop_columns(["count"]))
    base, values = contributions(model, inputs)
    predicted = model.predict_inputs(inputs)
    np.testing.assert_allclose((base + values.sum(axis=2))[:, 0], predicted, rtol=1e-9)
    card = evidence.read("card.md").decode()
    assert "LightGBM on square roots" in card or "Linear on square roots" in card
    shap = json.loads(evidence.read("shap.json"))
    links = [member.link for member in model.document.members]
    assert shap["square_root_members"] == [n for n, link in enumerate(links) if link == "Square"]
    held = pq.read_table(pa.BufferReader(evidence.read("predictions.parquet")))
    rmse = metrics.root_mean_squared_error(held["y_true"], held["y_pred"])
    assert trained.metrics["rmse"] == pytest.approx(rmse)


def test_values_below_zero_are_fitted_as_they_are(make_config: MakeConfig, store: Store) -> None:
    table = counts(120)
    moved = pa.compute.subtract(table["count"], 1.0)
    table = table.set_column(2, "count", moved)
    assert pa.compute.min(moved).as_py() < 0
    record = train(make_config(table, TYPES, SPEC), store)
    trials = json.loads(store.open_artifact(record.evidence.uri).read("trials.json"))
    assert {fitted(trial) for trial in trials} == {"nothing else"}
    assert {one.link for one in model_of(store, record).document.members} == {"Identity"}
