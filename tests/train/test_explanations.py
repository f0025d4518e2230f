"""What single features and rows do to predictions, checked by predicting again."""

from __future__ import annotations

import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import Model, load
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.evidence import charts
from modelyard_runtimes.train.evidence.exchange import HIDDEN
from modelyard_runtimes.train.evidence.shap_values import shap_values
from modelyard_runtimes.train.problem import prepare
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.snapshot import Snapshot
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import partial_dependence as peer

MakeConfig = Callable[..., TrainConfig]

TASK = {"type": "Classification", "target": "churn", "positiveLabel": "yes"}


class Estimator(RegressorMixin, BaseEstimator):
    """The packed model as scikit-learn sees it: one column of numbers varies, the rest stays."""

    __sklearn_is_fitted__ = staticmethod(lambda: True)

    def __init__(self, model: Model, table: pa.Table) -> None:
        self.model = model
        self.table = table

    def fit(self, _rows: Any, _target: Any) -> Estimator:
        return self

    def predict(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        table = self.table.set_column(0, "size [cm]", pa.array(rows[:, 0], from_pandas=True))
        return np.asarray(self.model.predict(table)[:, 1])


def test_what_was_asked_for_is_there_and_true(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    table, types = mixed_table
    asked = {
        "task": TASK,
        "features": {"exclude": ["note"]},
        "search": {"trials": 4},
        "explain": {
            "partialDependence": ["size [cm]", "colour", "member", "since"],
            "lime": {"rows": 4},
            "counterfactuals": {"rows": 48, "immutable": ["member"]},
        },
    }
    config = make_config(table, types, asked, pii=["since"])
    record = train(config, store)
    model = load(store.open_artifact(record.artifact.uri).folder())
    evidence = store.open_artifact(record.evidence.uri)
    holdout = prepare(Snapshot(table, types), config).holdout
    rows = table.take(pa.array(holdout.rows)).select(list(model.schema.names))

    size, colour, member, since = json.loads(evidence.read("partial_dependence.json"))
    matrix = np.column_stack([rows.column(0).to_numpy(), np.zeros(rows.num_rows)])
    expected = peer(
        Estimator(model, rows),
        matrix,
        [0],
        custom_values={0: np.array(size["values"])},
        kind="both",
    )
    np.testing.assert_allclose(np.array(size["mean"])[:, 0], expected["average"][0], atol=1e-9)
    np.testing.assert_allclose(
        np.array(size["rows"])[:, :, 0], expected["individual"][0][:20], atol=1e-9
    )
    assert set(colour["values"]) <= {"blue", "green", "red", None}
    assert member["values"] == [False, True]
    assert set(since["values"]) == {HIDDEN}
    for number in range(4):
        drawn = ET.fromstring(evidence.read(f"partial_dependence/{number}.svg"))
        title = drawn.find("{http://www.w3.org/2000/svg}title")
        assert title is not None
        assert title.text is not None
        assert title.text.startswith("Partial dependence on")

    locally = json.loads(evidence.read("lime.json"))
    assert np.mean([local["fit"] for local in locally]) > 0.3
    for local in locally:
        row = table.slice(local["row"], 1)
        assert local["prediction"] == pytest.approx(model.predict(row)[0, 1], abs=1e-12)
        assert local["weights"][0]["feature"] in ("size [cm]", "colour", "since")

    found = json.loads(evidence.read("counterfactuals.json"))
    assert len(found) == 48
    assert sum(one["found"] for one in found) >= 0.95 * len(found)
    for one in found:
        row = table.slice(one["row"], 1)
        assert one["predicted"] == model.labels(model.predict(row))[0]
        changes = {change["feature"]: change["to"] for change in one.get("changes", [])}
        assert "member" not in changes
        if one["found"] and "since" not in changes:
            changed = {
                name: [changes.get(name, row.column(name)[0].as_py())]
                for name in model.schema.names
            }
            (label,) = model.labels(model.predict(changed))
            assert (label, label != one["predicted"]) == (one["becomes"], True)


TELLING = ("first", "second", "third")


def telling_and_noise(rows: int = 600) -> pa.Table:
    """Return rows with three columns that tell the target, among ten that do not."""
    generator = np.random.default_rng(5)
    first, second, third = generator.normal(size=(3, rows))
    score = 1.5 * first - 1.2 * second + 1.5 * np.sin(2 * third)
    noise = {f"noise {number}": generator.normal(size=rows) for number in range(10)}
    bought = score + generator.normal(scale=0.5, size=rows) > 0
    names = [*noise, *TELLING]
    columns = {**noise, "first": first, "second": second, "third": third}
    shuffled = {names[place]: columns[names[place]] for place in generator.permutation(13)}
    return pa.table({**shuffled, "bought": bought})


@pytest.mark.parametrize("learner", ["Linear", "LightGBM", "ExtraTrees"])
def test_what_tells_the_target_stands_before_all_noise(
    make_config: MakeConfig, store: Store, learner: str
) -> None:
    table = telling_and_noise()
    types = dict.fromkeys(table.column_names, "Numeric") | {"bought": "Boolean"}
    spec = {
        "task": {"type": "Classification", "target": "bought"},
        "search": {"trials": 1, "learners": [learner]},
        "explain": {"permutationRepeats": 3, "shapRows": 120, "lime": {"rows": 20}},
    }
    record = train(make_config(table, types, spec), store)
    evidence = store.open_artifact(record.evidence.uri)
    permuted = json.loads(evidence.read("importance.json"))["features"]
    shap = json.loads(evidence.read("shap.json"))["importance"]
    for found, measure in ((permuted, "mean"), (shap, "share")):
        assert [one[measure] for one in found] == sorted(
            (other[measure] for other in found), reverse=True
        )
        assert {one["feature"] for one in found[:3]} == set(TELLING)
        assert found[2][measure] > 2 * found[3][measure]

    rows = json.loads(evidence.read("lime.json"))
    assert len(rows) == 20
    assert {row["weights"][0]["feature"] for row in rows} == set(TELLING)
    local = [{one["feature"]: one["weight"] for one in row["weights"]} for row in rows]
    size = {name: np.mean([abs(row[name]) for row in local]) for name in local[0]}
    assert set(sorted(size, key=size.__getitem__)[-3:]) == set(TELLING)
    for row, weights in zip(rows, local, strict=True):
        value = table.column("first")[row["row"]].as_py()
        if abs(value) > 0.5:
            assert weights["first"] * value > 0


def test_nothing_is_explained_that_was_not_asked_for(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    table, types = mixed_table
    config = make_config(table, types, {"task": TASK, "search": {"trials": 1}})
    record = train(config, store)
    files = set(store.list(f"artifacts/{record.evidence.digest[7:]}"))
    assert not [path for path in files if "partial" in path or "lime" in path]


@pytest.mark.parametrize(
    ("explain", "message"),
    [
        pytest.param(
            {"partialDependence": ["colour", "colours"]},
            r"spec\.explain\.partialDependence\[1\]: 'colours' is no feature of the model "
            r"\(did you mean 'colour'\?\); correct the name or remove the entry",
            id="no feature",
        ),
        pytest.param(
            {"partialDependence": ["note"]},
            r"spec\.explain\.partialDependence\[0\]: 'note' is a Text.*remove the entry",
            id="a text",
        ),
        pytest.param(
            {"partialDependence": ["region"]},
            r"partialDependence\[0\]: 'region' is no feature of the model "
            r"\(it is sensitive: .*\); remove the entry",
            id="a sensitive column",
        ),
        pytest.param(
            {"counterfactuals": {"immutable": ["id"]}},
            r"counterfactuals\.immutable\[0\]: 'id' is no feature.*\(it identifies rows\); remove",
            id="an identifier",
        ),
    ],
)
def test_a_column_that_cannot_be_explained_is_told_before_the_search(
    make_config: MakeConfig,
    mixed_table: tuple[pa.Table, dict[str, str]],
    explain: dict[str, Any],
    message: str,
) -> None:
    table, types = mixed_table
    spec = {"task": TASK, "explain": explain, "fairness": {"sensitive": ["region"]}}
    config = make_config(table, types, spec)
    with pytest.raises(RunFailure, match=message):
        prepare(Snapshot(table, types), config)


def test_a_chart_cannot_be_broken_by_the_names_in_it() -> None:
    drawn = charts.bars("<script>", [("a < b & c", 0.5), ("x" * 50, -1.0)])
    texts = [element.text for element in ET.fromstring(drawn).iter() if element.text]
    assert "<script>" in texts
    assert "a < b & c" in texts
    assert ET.fromstring(charts.lines("t", ("x", "y"), [("one", [(1.0, 2.0)])])) is not None


@pytest.mark.soak
def test_a_thousand_rows_are_explained_within_thirty_seconds(
    make_config: MakeConfig, store: Store
) -> None:
    generator = np.random.default_rng(12)
    values = generator.normal(size=(6000, 30))
    score = values @ generator.normal(size=30) + np.sin(3 * values[:, 0]) * 4
    table = pa.table({f"x{column}": values[:, column] for column in range(30)} | {"y": score > 0})
    types = dict.fromkeys(table.column_names, "Numeric") | {"y": "Boolean"}
    spec = {
        "task": {"type": "Classification", "target": "y"},
        "search": {"trials": 2, "learners": ["LightGBM", "ExtraTrees"]},
    }
    config = make_config(table, types, spec)
    record = train(config, store)
    model = load(store.open_artifact(record.artifact.uri).folder())
    problem = prepare(Snapshot(table, types), config)
    started = time.process_time()
    found = shap_values(model, problem, 1000, 42)
    assert time.process_time() - started < 30
    assert found is not None
    assert found.additivity_error <= 1e-6
