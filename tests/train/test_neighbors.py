"""KNeighbors keeps training rows: which of them, with what weight, and what a run makes of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from modelyard.api.records import CARD_FILE
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.model import load
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.columns import fit_columns
from modelyard_runtimes.train.learners import neighbors
from modelyard_runtimes.train.learners.base import FitRequest, Packed
from modelyard_runtimes.train.learners.neighbors import KNeighbors, sample
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.task import Goal

from tests.train.problems import GOALS, make_data

PARAMETERS = {"neighbors": 5, "weighting": "Distance"}


def request(goal: Goal, seed: int = 1) -> FitRequest:
    data = make_data(goal)
    columns = fit_columns(data, data.fit_count, KNeighbors().encoding(PARAMETERS))
    return FitRequest(goal, columns.document, columns.rows, PARAMETERS, seed)


def stored(packed: Packed) -> np.ndarray:
    return np.asarray(np.load(io.BytesIO(packed.content), allow_pickle=False))


@pytest.mark.parametrize(
    ("goal", "outputs"),
    [
        pytest.param("two classes", [[1.0]], id="the positive class"),
        pytest.param("three classes", [[0.0, 1.0, 0.0]], id="each of three classes"),
        pytest.param("values", [[1.0]], id="the value"),
    ],
)
def test_a_packed_model_holds_columns_outputs_and_weights(
    goal: str, outputs: list[list[float]]
) -> None:
    asked = request(GOALS[goal])
    asked = replace(asked, rows=replace(asked.rows, target=np.ones(300)))
    packed = KNeighbors().fit(asked).pack()
    columns = asked.rows.columns
    expected = np.column_stack([columns, np.repeat(outputs, 300, axis=0), asked.rows.weights])
    np.testing.assert_array_equal(stored(packed), expected)
    assert packed.votes is not None
    assert packed.votes.model_dump() == PARAMETERS


def test_balanced_classes_vote_as_if_they_were_of_one_size() -> None:
    asked = request(GOALS["balanced classes"])
    everyone = replace(asked, parameters={"neighbors": 200, "weighting": "Uniform"})
    everyone = replace(everyone, rows=asked.rows.take(np.arange(200)))
    target, weights = everyone.rows.target, everyone.rows.weights
    found = KNeighbors().fit(everyone).predict(asked.rows.columns[200:])
    assert target.mean() < 0.45
    np.testing.assert_allclose(found, weights[target == 1].sum() / weights.sum(), atol=1e-12)
    assert found[0, 0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())
def test_of_too_many_rows_equal_seeds_keep_the_same_and_others_do_not(
    goal: Goal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbors, "MOST_ROWS", 120)
    first, again, other = (KNeighbors().fit(request(goal, seed)).pack() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(stored(first)) == 120


def test_a_sample_keeps_every_class_and_its_share() -> None:
    counts = [60_000, 29_998, 1, 1]
    target = np.repeat(np.arange(4.0), counts)[np.random.default_rng(3).permutation(90_000)]
    goal = replace(GOALS["three classes"], classes=4)
    rows = sample(target, goal, 1)
    assert len(rows) == neighbors.MOST_ROWS
    assert (np.diff(rows) > 0).all()
    kept = np.bincount(target[rows].astype(np.intp))
    np.testing.assert_allclose(kept, [6_666, 3_332, 1, 1], atol=1)


def test_a_sample_of_values_follows_neither_their_order_nor_their_size() -> None:
    rows = sample(np.arange(50_000.0), GOALS["values"], 1)
    assert len(np.unique(rows)) == neighbors.MOST_ROWS
    assert rows.mean() == pytest.approx(25_000, rel=0.02)


def rings(rows: int = 300) -> pa.Table:
    """Return rows whose class is a ring about the middle: who is near tells it."""
    generator = np.random.default_rng(6)
    first, second = generator.normal(size=(2, rows))
    kind = np.where(np.abs(np.hypot(first, second) - 1.2) < 0.5, "ring", "other")
    colour = generator.choice(["red", "green"], size=rows)
    return pa.table({"first": first, "second": second, "colour": colour, "kind": kind})


TYPES = {"first": "Numeric", "second": "Numeric", "colour": "Categorical", "kind": "Categorical"}


def test_a_run_is_repeatable_and_its_model_is_explained_and_predicts_single_rows(
    make_config: Callable[..., TrainConfig], store: Store
) -> None:
    table = rings()
    spec = {
        "task": {"type": "Classification", "target": "kind", "metric": "log_loss"},
        "search": {"trials": 7, "learners": ["KNeighbors", "LightGBM"]},
        "ensemble": {"type": "Voting"},
    }
    first, again = (
        train(make_config(table, TYPES, spec, name=name), store) for name in ("first", "again")
    )
    assert first.artifact.digest == again.artifact.digest
    assert first.leaderboard == again.leaderboard
    assert {one.learner for one in first.leaderboard} >= {"KNeighbors", "LightGBM"}

    model = load(store.open_artifact(first.artifact.uri).folder())
    kinds = [member.type for member in model.document.members]
    assert kinds.count("Neighbors") == 1
    many = model.predict(table.drop_columns(["kind"]))
    row = {name: [table.column(name)[0].as_py()] for name in model.schema.names}
    np.testing.assert_allclose(model.predict(row), many[:1], rtol=1e-12)

    evidence = store.open_artifact(first.evidence.uri)
    assert "KNeighbors holds rows it was fitted on" in evidence.read(CARD_FILE).decode()
    shap = json.loads(evidence.read("shap.json"))
    assert shap["approximate_members"] == [kinds.index("Neighbors")]
    assert shap["importance"][2]["feature"] == "colour"
    lines = pq.read_table(io.BytesIO(evidence.read("shap.parquet")))
    assert set(lines.column("member").to_pylist()) == set(range(len(kinds)))


def test_values_are_learned_by_neighbours_alone(
    make_config: Callable[..., TrainConfig], store: Store
) -> None:
    table = rings()
    radius = np.hypot(table.column("first").to_numpy(), table.column("second").to_numpy())
    table = table.set_column(3, "kind", [radius])
    spec = {
        "task": {"type": "Regression", "target": "kind"},
        "search": {"trials": 6, "learners": ["KNeighbors"]},
    }
    record = train(make_config(table, TYPES | {"kind": "Numeric"}, spec), store)
    model = load(store.open_artifact(record.artifact.uri).folder())
    assert {member.type for member in model.document.members} == {"Neighbors"}
    assert record.metrics["r2"] > 0.6
