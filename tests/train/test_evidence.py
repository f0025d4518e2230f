"""The evidence says what can be computed again from the artifacts."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from modelyard.api.artifacts import run_key
from modelyard.api.experiment import ENSEMBLE
from modelyard.api.records import TrainRecord
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.model import load
from modelyard_runtimes.model.schema import Floats, Inputs
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.evidence.calibration import calibration
from modelyard_runtimes.train.evidence.fairness import Judged, fairness
from modelyard_runtimes.train.evidence.importance import permutation_importance
from modelyard_runtimes.train.groups import groups_of
from modelyard_runtimes.train.problem import Holdout, prepare
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.search import CANDIDATES_A_LEARNER
from modelyard_runtimes.train.snapshot import Snapshot, read_snapshot
from modelyard_runtimes.train.space import turns
from modelyard_runtimes.train.task import derived_seed
from sklearn import datasets, metrics

MakeConfig = Callable[..., TrainConfig]


def read_table(store: Store, record: TrainRecord, path: str) -> pa.Table:
    return pq.read_table(
        io.BytesIO(store.open_artifact(record.evidence.uri, record.evidence.digest).read(path))
    )


def read_json(store: Store, record: TrainRecord, path: str) -> object:
    return json.loads(store.open_artifact(record.evidence.uri).read(path))


OF_A_FOLD = {
    "roc_auc": lambda truth, outputs: metrics.roc_auc_score(truth, outputs[:, 0]),
    "log_loss": metrics.log_loss,
    "rmse": lambda truth, outputs: metrics.root_mean_squared_error(truth, outputs[:, 0]),
}


def check_leaderboard(config: TrainConfig, store: Store, record: TrainRecord) -> None:
    """Compute the value of each trial again, by what it is logged to predict out of fold.

    Logged is what an ensemble may want: the best of each family. Of others it depends on the
    order in which trials end.
    """
    snapshot = read_snapshot(store, config.snapshot_uri, config.snapshot_digest)
    search = prepare(snapshot, config).search
    run = run_key(config.namespace, "Experiment", config.name, config.identity)
    trials = [entry for entry in record.leaderboard if entry.trial != ENSEMBLE]
    places = zip(trials, turns(entry.learner for entry in trials), strict=True)
    wanted = [entry for entry, turn in places if turn < CANDIDATES_A_LEARNER]
    assert len(wanted) >= min(len(trials), CANDIDATES_A_LEARNER)
    for entry in wanted:
        logged = np.load(io.BytesIO(store.read_bytes(f"{run}/oof/{entry.trial}.npy")))
        values = [
            OF_A_FOLD[record.metric](search.target[chosen], logged[chosen])
            for chosen in (search.folds == fold for fold in range(search.fold_count))
        ]
        assert entry.metric == pytest.approx(np.mean(values), abs=1e-12)
    own = [entry.metric for entry in trials]
    assert own == sorted(own, reverse=record.metric == "roc_auc")


def calibration_error(probability: Floats, right: Floats) -> float:
    """Return the distance of predicted and observed frequencies, by ten bins, weighted by rows."""
    places = np.minimum((probability * 10).astype(np.intp), 9)
    apart = [abs(float((probability - right)[places == place].sum())) for place in range(10)]
    return sum(apart) / len(right)


def test_binary_metrics_can_be_recomputed_and_the_model_predicts_the_same(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    table, types = mixed_table
    photo = pa.array([f"{row}.png" for row in range(table.num_rows)])
    table, types = table.append_column("photo", photo), {**types, "photo": "Image"}
    config = make_config(
        table,
        types,
        {
            "task": {"type": "Classification", "target": "churn", "positiveLabel": "yes"},
            "fairness": {"sensitive": ["region"]},
        },
        privacy={"note": "Mask"},
        pii=["since"],
    )
    record = train(config, store)
    predictions = read_table(store, record, "predictions.parquet").to_pydict()
    truth = np.array(predictions["y_true"]) == "yes"
    chosen = np.array(predictions["y_pred"]) == "yes"
    probability = np.array(predictions["probability_yes"])
    expected = {
        "roc_auc": metrics.roc_auc_score(truth, probability),
        "average_precision": metrics.average_precision_score(truth, probability),
        "log_loss": metrics.log_loss(truth, probability),
        "accuracy": metrics.accuracy_score(truth, chosen),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, chosen),
        "f1": metrics.f1_score(truth, chosen),
        "expected_calibration_error": calibration_error(probability, truth),
    }
    check_leaderboard(config, store, record)
    assert record.metrics == pytest.approx(expected, abs=1e-12)

    model = load(store.open_artifact(record.artifact.uri, record.artifact.digest).folder())
    rows = table.take(pa.array(predictions["row"]))
    np.testing.assert_allclose(model.predict(rows)[:, 1], probability, atol=1e-12)
    assert rows.column("churn").to_pylist() == predictions["y_true"]
    assert model.document.privacy == {"note": "Mask"}
    assert model.document.never_logged == ["since"]
    assert model.schema.names == ("size [cm]", "colour", "member", "since")

    (difference,) = record.fairness
    by_group = {
        region: [np.array(rows.column("region").to_pylist()) == region][0]
        for region in ("north", "south")
    }
    parity = abs(np.subtract(*[chosen[members].mean() for members in by_group.values()]))
    odds = max(
        abs(
            np.subtract(
                *[chosen[members & (truth == side)].mean() for members in by_group.values()]
            )
        )
        for side in (True, False)
    )
    assert difference.demographic_parity_difference == pytest.approx(parity, abs=1e-9)
    assert difference.equalized_odds_difference == pytest.approx(odds, abs=1e-9)

    shap = read_table(store, record, "shap.parquet")
    assert set(shap.column_names) >= {f"shap_{name}" for name in model.schema.names}
    card = store.read_bytes(record.card_uri).decode()
    assert "| `note` | the privacy action Mask hides its values" in card
    assert "| `id` | it identifies rows |" in card
    assert "| `photo` | it names images, which no engine reads |" in card
    assert record.artifact.digest in card
    leaderboard = read_json(store, record, "leaderboard.json")
    assert leaderboard == [entry.to_json() for entry in record.leaderboard]


def wine() -> tuple[pa.Table, dict[str, str]]:
    """Return rows of three classes, told by numbers."""
    source = datasets.load_wine()
    table = pa.table(
        {
            **{name: source.data[:, n] for n, name in enumerate(source.feature_names)},
            "kind": source.target,
        }
    )
    return table, dict.fromkeys(table.column_names, "Numeric")


def test_metrics_of_three_classes_can_be_recomputed(make_config: MakeConfig, store: Store) -> None:
    spec = {
        "task": {"type": "Classification", "target": "kind"},
        "search": {"trials": 3, "learners": ["Linear", "LightGBM"]},
    }
    config = make_config(*wine(), spec)
    record = train(config, store)
    check_leaderboard(config, store, record)
    predictions = read_table(store, record, "predictions.parquet")
    truth, chosen = (
        predictions.column(name).to_numpy().astype(np.intp) for name in ("y_true", "y_pred")
    )
    found = [predictions.column(f"probability_{kind}").to_numpy() for kind in range(3)]
    probabilities = np.column_stack(found)
    np.testing.assert_array_equal(chosen, probabilities.argmax(axis=1))
    one_of = np.eye(3)[truth]
    expected = {
        "roc_auc": metrics.roc_auc_score(truth, probabilities, multi_class="ovr"),
        "average_precision": metrics.average_precision_score(one_of, probabilities),
        "log_loss": metrics.log_loss(truth, probabilities),
        "accuracy": metrics.accuracy_score(truth, chosen),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, chosen),
        "f1": metrics.f1_score(truth, chosen, average="macro"),
        "expected_calibration_error": calibration_error(probabilities.max(axis=1), truth == chosen),
    }
    assert record.metrics == pytest.approx(expected, abs=1e-12)


def test_shap_values_add_up_to_the_margin_of_every_member(
    make_config: MakeConfig, store: Store
) -> None:
    table, types = wine()
    spec = {
        "task": {"type": "Classification", "target": "kind"},
        "search": {"trials": 3, "learners": ["ExtraTrees", "LightGBM"]},
    }
    record = train(make_config(table, types, spec), store)
    model = load(store.open_artifact(record.artifact.uri).folder())
    assert model.classes == [0, 1, 2]
    shap = read_table(store, record, "shap.parquet")
    for number, document in enumerate(model.document.members):
        lines = shap.filter(pa.compute.equal(shap.column("member"), number))
        names = ["base_value", *(f"shap_{name}" for name in model.schema.names)]
        totals = np.sum([lines.column(name).to_numpy() for name in names], axis=0)
        rows = table.take(lines.column("row").combine_chunks())
        encoded = model.encoders[document.encoder].transform(model.schema.validate(rows))
        margins = model.members[number].margin(encoded)
        output = lines.column("output").to_numpy()
        np.testing.assert_allclose(totals, margins[np.arange(len(output)), output], atol=1e-6)
        member = model.members[number]
        np.testing.assert_allclose(member.linked(margins), member.predict(encoded), atol=1e-12)


def test_regression_beats_the_naive_model_by_a_fifth(make_config: MakeConfig, store: Store) -> None:
    source = datasets.load_diabetes()
    table = pa.table(
        {
            **{name: source.data[:, n] for n, name in enumerate(source.feature_names)},
            "progression": source.target,
        }
    )
    types = dict.fromkeys(table.column_names, "Numeric")
    spec = {"task": {"type": "Regression", "target": "progression"}, "search": {"trials": 8}}
    config = make_config(table, types, spec)
    record = train(config, store)
    check_leaderboard(config, store, record)
    predictions = read_table(store, record, "predictions.parquet").to_pydict()
    truth, predicted = np.array(predictions["y_true"]), np.array(predictions["y_pred"])
    assert record.metrics == pytest.approx(
        {
            "rmse": metrics.root_mean_squared_error(truth, predicted),
            "mae": metrics.mean_absolute_error(truth, predicted),
            "r2": metrics.r2_score(truth, predicted),
        }
    )
    assert record.metrics["rmse"] < 0.8 * np.sqrt(np.mean((truth - truth.mean()) ** 2))
    assert "calibration.json" not in store.list(f"artifacts/{record.evidence.digest[7:]}")


def test_the_holdout_touches_neither_weights_nor_leaderboard(
    make_config: MakeConfig, store: Store
) -> None:
    generator = np.random.default_rng(2)
    table = pa.table({"x": generator.normal(size=200), "c": generator.choice(list("abc"), 200)})
    table = table.append_column(
        "y", [table.column("x").to_numpy() * 3 + generator.normal(size=200)]
    )
    types = {"x": "Numeric", "c": "Categorical", "y": "Numeric"}
    spec = {"task": {"type": "Regression", "target": "y"}, "search": {"trials": 9}}
    config = make_config(table, types, spec, name="before")
    snapshot = read_snapshot(store, config.snapshot_uri, config.snapshot_digest)
    held_out = prepare(snapshot, config).holdout.rows
    columns = table.to_pydict()
    for row in held_out:
        columns["x"][row], columns["c"][row] = None, "unheard of"
        columns["y"][row] = 1e6 + row  # or they were copies, which stay together
    changed = make_config(pa.table(columns), types, spec, name="after")
    before, after = train(config, store), train(changed, store)
    assert before.metrics != after.metrics
    assert before.leaderboard == after.leaderboard
    assert before.artifact.digest == after.artifact.digest


def test_rows_without_a_target_are_left_out_and_counted(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    table, types = mixed_table
    target = table.column("churn").to_pylist()
    target[3] = target[77] = None
    table = table.set_column(table.column_names.index("churn"), "churn", [target])
    spec = {"task": {"type": "Classification", "target": "churn"}, "search": {"trials": 1}}
    record = train(make_config(table, types, spec), store)
    card = store.read_bytes(record.card_uri).decode()
    assert "| left out for want of a target | 2 |" in card
    rows = read_table(store, record, "predictions.parquet").column("row").to_pylist()
    assert not {3, 77} & set(rows)


@pytest.mark.parametrize(
    ("values", "kind", "positive", "classes"),
    [
        pytest.param([0, 1, 1], "Numeric", None, [1, 0], id="the rarer integer"),
        pytest.param([0.0, 1.0, 1.0], "Numeric", "1", [0, 1], id="declared, floats of integers"),
        pytest.param([True, False, False], "Boolean", None, [False, True], id="boolean"),
        pytest.param([True, False, True], "Boolean", "True", [False, True], id="declared boolean"),
        pytest.param(["b", "a", "b"], "Categorical", "b", ["a", "b"], id="declared text"),
        pytest.param(["b", "a", "c"], "Categorical", None, ["a", "b", "c"], id="three texts"),
    ],
)
def test_classes_keep_their_type_and_the_positive_one_is_last(
    make_config: MakeConfig,
    values: list[object],
    kind: str,
    positive: str | None,
    classes: list[object],
) -> None:
    table = pa.table({"x": np.arange(90.0) ** 2, "y": values * 30})
    types = {"x": "Numeric", "y": kind}
    task = {"type": "Classification", "target": "y"}
    if positive is not None:
        task["positiveLabel"] = positive
    found = prepare(Snapshot(table, types), make_config(table, types, {"task": task})).target
    assert found.classes == classes
    assert [type(label) for label in found.classes] == [type(label) for label in classes]


def test_calibration_error_is_the_weighted_distance_of_the_bins() -> None:
    outputs = np.array([[0.05], [0.05], [0.95], [0.95]])
    target = np.array([0.0, 1.0, 1.0, 1.0])
    found = calibration(target, outputs, 1)
    assert found.error == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)
    assert [part["rows"] for part in found.curve] == [2, 2]


def test_groups_of_a_regression_are_compared_by_their_mean_error() -> None:
    holdout = Holdout(
        rows=np.arange(4),
        inputs=Inputs(np.zeros((4, 1)), np.zeros((4, 0), dtype=np.int32)),
        target=np.array([1.0, 2.0, 3.0, 4.0]),
        groups={"region": ["n", "n", "s", "s"]},
    )
    outputs = np.array([[2.0], [3.0], [3.0], [3.5]])
    judged = Judged(holdout.target, outputs, "rmse", 0)
    (difference,) = fairness(judged, holdout.groups).differences
    assert difference.metric_difference == pytest.approx(1.25)
    assert difference.demographic_parity_difference is None


def test_importance_is_that_of_predicting_every_shuffled_row(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    """Rows that are not predicted again must have the outputs they would have got."""
    table, types = mixed_table
    task = {"task": {"type": "Classification", "target": "churn"}, "search": {"trials": 3}}
    config = make_config(table, types, task)
    record = train(config, store)
    model = load(store.open_artifact(record.artifact.uri).folder())
    holdout = prepare(Snapshot(table, types), config).holdout
    found = permutation_importance(model, holdout, "roc_auc", 4, 42)
    assert found == permutation_importance(model, holdout, "roc_auc", 4, 42, threads=3)
    assert (found.rows, found.repeats) == (len(holdout.target), 4)

    rows = table.take(pa.array(holdout.rows)).select(list(model.schema.names))
    baseline = metrics.roc_auc_score(holdout.target, model.predict(rows)[:, 1])
    for entry in found.features:
        position = model.schema.names.index(entry["feature"])
        generator = np.random.default_rng(derived_seed(42, 3, position))
        drops = []
        for _ in range(4):
            order = pa.array(generator.permutation(rows.num_rows))
            column = rows.column(position).take(order)
            shuffled = rows.set_column(position, entry["feature"], column)
            predicted = model.predict(shuffled)[:, 1]
            drops.append(baseline - metrics.roc_auc_score(holdout.target, predicted))
        assert entry["mean"] == pytest.approx(np.mean(drops), abs=1e-9)
        assert entry["std"] == pytest.approx(np.std(drops), abs=1e-9)


def test_importance_of_many_rows_is_measured_on_a_sample_that_the_evidence_tells(
    make_config: MakeConfig, store: Store
) -> None:
    values, noise = np.random.default_rng(3).normal(size=(2, 12_000))
    table = pa.table({"x": values, "y": 2 * values + noise})
    spec = {
        "task": {"type": "Regression", "target": "y"},
        "search": {"trials": 1, "learners": ["Linear"]},
    }
    record = train(make_config(table, {"x": "Numeric", "y": "Numeric"}, spec), store)
    importance = read_json(store, record, "importance.json")
    assert isinstance(importance, dict)
    assert (importance["rows"], importance["repeats"]) == (2000, 1)
    assert "on 2000 of 2400 rows of the holdout" in store.read_bytes(record.card_uri).decode()


def test_many_numbers_are_grouped_by_quarters() -> None:
    assert groups_of([*range(12), None]) == [
        *["0 to 2.75"] * 3,
        *["2.75 to 5.5"] * 3,
        *["5.5 to 8.25"] * 3,
        *["8.25 to 11"] * 3,
        "(missing)",
    ]
    assert groups_of([1, 0, None]) == ["1", "0", "(missing)"]


@pytest.mark.parametrize(
    ("numbers", "first"),
    [
        pytest.param(range(20_260_001, 20_260_041), "20260001 to 20260010.75", id="days"),
        pytest.param(
            [1 + 2**-40 * step for step in range(40)],
            "1 to 1.0000000000088676",
            id="close together",
        ),
        pytest.param(
            range(2**60, 2**60 + 40 * 2**20, 2**20),
            "1.152921504606847e+18 to 1.1529215046170706e+18",
            id="beyond what floats tell apart",
        ),
        pytest.param(np.linspace(0, 1, 40).tolist(), "0 to 0.25", id="few digits where they do"),
    ],
)
def test_quarters_that_differ_have_names_that_differ(numbers: Sequence[float], first: str) -> None:
    groups = groups_of(list(numbers))
    assert groups[0] == first
    assert list(Counter(groups).values()) == [10] * 4


def test_integers_that_are_one_float_are_one_group() -> None:
    edge = "1.15292e+18"
    assert groups_of([*range(2**60, 2**60 + 40), None]) == [f"{edge} to {edge}"] * 40 + [
        "(missing)"
    ]


def test_a_group_without_both_classes_is_not_compared() -> None:
    holdout = Holdout(
        rows=np.arange(5),
        inputs=Inputs(np.zeros((5, 1)), np.zeros((5, 0), dtype=np.int32)),
        target=np.array([0.0, 1.0, 0.0, 1.0, 1.0]),
        groups={"region": ["n", "n", "s", "s", "w"]},
    )
    outputs = np.array([[0.1], [0.9], [0.8], [0.2], [0.5]])
    found = fairness(Judged(holdout.target, outputs, "roc_auc", 2), holdout.groups)
    assert found.differences[0].metric_difference == pytest.approx(1.0)
    assert [entry["value"] for entry in found.groups["region"]] == [1.0, 0.0, None]


def test_telco_churn_reaches_the_promised_auc(
    make_config: MakeConfig, store: Store, shared_data: Path
) -> None:
    options = pc.ConvertOptions(null_values=["", " "], strings_can_be_null=True)
    table = pc.read_csv(shared_data / "telco_churn.csv", convert_options=options)
    numeric = {"tenure", "MonthlyCharges", "TotalCharges", "SeniorCitizen"}
    types = {
        name: "Numeric" if name in numeric else "Categorical" for name in table.column_names
    } | {"customerID": "Identifier"}
    spec = {
        "task": {"type": "Classification", "target": "Churn", "positiveLabel": "Yes"},
        "search": {"trials": 5},
    }
    record = train(make_config(table, types, spec), store)
    assert record.metrics["roc_auc"] >= 0.84
