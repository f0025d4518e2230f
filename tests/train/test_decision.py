"""What is decided out of fold: calibration, threshold, intervals; and that it is served."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from modelyard.api.experiment import ErrorCosts, Evaluation, ExperimentSpec, Intervals
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import load
from modelyard_runtimes.model.calibration import calibrated
from modelyard_runtimes.model.packed import read
from modelyard_runtimes.model.schema import Floats, Inputs, InputSchema
from modelyard_runtimes.serve.predictor import Predictor
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.confidence import interval_of_folds, interval_of_rows
from modelyard_runtimes.train.decision import cheapest_threshold, decide, error_cost
from modelyard_runtimes.train.declared import check_declared
from modelyard_runtimes.train.evidence.calibration import calibration, calibration_error
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.task import Goal, SearchData
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_predict

MakeConfig = Callable[..., TrainConfig]


def search_data(target: Floats, classes: int) -> SearchData:
    task, metric = ("Classification", "log_loss") if classes else ("Regression", "rmse")
    rows = len(target)
    inputs = Inputs(np.zeros((rows, 1)), np.zeros((rows, 0), dtype=np.int32))
    goal = Goal(task, classes, metric, "None", 1)
    return SearchData(goal, inputs, (), target, np.arange(rows) % 3)


def drawn(true: Floats, generator: np.random.Generator) -> Floats:
    """Return a class for each row of probabilities."""
    edges = true.cumsum(axis=1)
    return (generator.random(len(true))[:, None] > edges).sum(axis=1).astype(np.float64)


def odds(probabilities: Floats) -> Floats:
    return np.asarray(np.log(probabilities / (1 - probabilities)))


MISCALIBRATED = {
    "too sure": lambda p: 1 / (1 + np.exp(-3 * odds(p))),
    "not sure enough": lambda p: 1 / (1 + np.exp(-0.3 * odds(p))),
    "too high": lambda p: 1 / (1 + np.exp(-odds(p) - 1.5)),
}


@pytest.mark.parametrize("method", ["Platt", "Isotonic"])
@pytest.mark.parametrize("kind", MISCALIBRATED)
def test_calibration_lowers_the_error_on_rows_that_it_was_not_fitted_on(
    kind: str, method: str
) -> None:
    generator = np.random.default_rng(3)
    true = generator.beta(1.5, 2, 8000)
    target = (generator.random(8000) < true).astype(np.float64)
    outputs = MISCALIBRATED[kind](true)[:, None]
    evaluation = Evaluation(calibration=method)  # type: ignore[arg-type]
    found = decide(evaluation, search_data(target[:4000], 2), outputs[:4000])
    after = calibrated(found.calibration, outputs[4000:])
    assert calibration(target[4000:], outputs[4000:], 1).is_off
    assert not calibration(target[4000:], after, 1).is_off
    assert calibration_error(target[4000:], after) < 0.03


@pytest.mark.parametrize("method", ["Platt", "Isotonic"])
def test_calibrated_probabilities_of_three_classes_sum_to_one(method: str) -> None:
    generator = np.random.default_rng(4)
    true = generator.dirichlet([1.0, 2.0, 1.0], 6000)
    target = drawn(true, generator)
    outputs = true**3 / (true**3).sum(axis=1, keepdims=True)
    evaluation = Evaluation(calibration=method)  # type: ignore[arg-type]
    found = decide(evaluation, search_data(target[:3000], 3), outputs[:3000])
    after = calibrated(found.calibration, outputs[3000:])
    np.testing.assert_allclose(after.sum(axis=1), 1.0, atol=1e-12)
    before = calibration_error(target[3000:], outputs[3000:])
    assert calibration_error(target[3000:], after) < before / 2


def test_probabilities_that_rank_the_wrong_way_become_the_share_of_hits() -> None:
    generator = np.random.default_rng(4)
    outputs = generator.uniform(0.005, 0.02, 4000)
    target = (generator.random(4000) < 0.02 * (outputs < 0.0125)).astype(np.float64)

    found = decide(Evaluation(calibration="Platt"), search_data(target, 2), outputs[:, None])
    after = calibrated(found.calibration, outputs[:, None])

    np.testing.assert_allclose(after, target.mean(), rtol=1e-4)
    assert (np.diff(after[np.argsort(outputs), 0]) >= 0).all()


@pytest.mark.parametrize(
    ("positive", "negative"),
    [
        pytest.param(1, 1, id="equal costs"),
        pytest.param(1, 10, id="misses cost more"),
        pytest.param(25, 1, id="alarms cost more"),
        pytest.param(0, 1, id="alarms are free"),
        pytest.param(1, 0, id="misses are free"),
    ],
)
def test_no_other_threshold_costs_less(positive: float, negative: float) -> None:
    generator = np.random.default_rng(5)
    probabilities = np.round(generator.random(300), 2)
    target = (generator.random(300) < probabilities).astype(np.float64)
    costs = ErrorCosts(false_positive=positive, false_negative=negative)
    found = cheapest_threshold(target, probabilities, costs)
    every = [
        error_cost(target, probabilities, other, costs) for other in np.linspace(0, 1.01, 1011)
    ]
    assert error_cost(target, probabilities, found, costs) == pytest.approx(min(every), abs=1e-12)


def test_a_threshold_among_three_classes_is_refused() -> None:
    spec = ExperimentSpec.model_validate(
        {
            "datasetRef": {"name": "rows"},
            "task": {"type": "Classification", "target": "y"},
            "evaluation": {"threshold": {"value": 0.3}},
        }
    )
    with pytest.raises(RunFailure, match=r"spec\.evaluation\.threshold: the target has 3 classes"):
        check_declared(spec, InputSchema([]), {}, 3)


@pytest.mark.parametrize("seed", range(5))
def test_intervals_of_values_cover_what_was_declared(seed: int) -> None:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(8000, 4))
    target = features @ [1.0, 2.0, -1.0, 0.5] + generator.standard_t(4, size=8000)
    seen, new = slice(0, 3000), slice(3000, None)
    out_of_fold = cross_val_predict(LinearRegression(), features[seen], target[seen], cv=3)
    evaluation = Evaluation(intervals=Intervals())
    found = decide(evaluation, search_data(target[seen], 0), out_of_fold[:, None]).conformal
    assert found is not None
    model = LinearRegression().fit(features[seen], target[seen])
    inside = np.abs(target[new] - model.predict(features[new])) <= found.radius
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_sets_of_classes_cover_what_was_declared(seed: int) -> None:
    generator = np.random.default_rng(seed)
    true = generator.dirichlet([0.7, 0.7, 0.7, 0.7], 8000)
    target = drawn(true, generator)
    evaluation = Evaluation(intervals=Intervals(coverage=0.9))
    found = decide(evaluation, search_data(target[:3000], 4), true[:3000]).conformal
    assert found is not None
    new: npt.NDArray[np.bool_] = (
        true[3000:][np.arange(5000), target[3000:].astype(int)] >= 1 - found.radius
    )
    assert np.mean(new) == pytest.approx(0.9, abs=0.02)


def test_rows_that_tie_with_the_one_that_decides_the_radius_lie_inside() -> None:
    """In floats 1 - (1 - p) is more than p for a third of all p."""
    levels = np.linspace(0.001, 0.499, 499)
    for level in levels:
        outputs = np.repeat([level, 1 - level], [30, 70])[:, None]
        evaluation = Evaluation(intervals=Intervals(coverage=0.9))
        found = decide(evaluation, search_data(np.ones(100), 2), outputs).conformal
        assert found is not None
        assert found.plausible([1 - level, level], 0) == [True, True]


@pytest.mark.parametrize("level", [0.1, 3e9])
def test_values_that_tie_with_the_one_that_decides_the_radius_lie_inside(level: float) -> None:
    target = level + np.random.default_rng(1).integers(1, 9, 200) / 7
    evaluation = Evaluation(intervals=Intervals(coverage=0.9))
    found = decide(evaluation, search_data(target, 0), np.full((200, 1), level)).conformal
    assert found is not None
    low, high = found.interval(level)
    inside = (low <= target) & (target <= high)
    assert inside.mean() >= 0.9


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "f1", "balanced_accuracy"])
def test_resamples_without_a_rare_class_do_not_count(metric: str) -> None:
    target = np.repeat([0.0, 1.0], [297, 3])
    found = interval_of_rows(metric, target, target[:, None], 0.5, 1)
    assert found is not None
    assert (found.low, found.high) == (1.0, 1.0)


def test_the_interval_of_folds_is_that_of_students_t() -> None:
    found = interval_of_folds([0.8, 0.9, 1.0])
    radius = 4.302652729911275 * 0.1 / 3**0.5
    assert (found.low, found.high) == pytest.approx((0.9 - radius, 0.9 + radius))


def test_the_interval_of_the_holdout_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(6)
    covered = 0
    for seed in range(60):
        hits = generator.random(200) < 0.8
        outputs = np.where(hits, 0.9, 0.1)[:, None]
        found = interval_of_rows("accuracy", np.ones(200), outputs, 0.5, seed)
        assert found is not None
        covered += found.low <= 0.8 <= found.high
    assert covered >= 53


def test_what_is_decided_is_served(
    make_config: MakeConfig, mixed_table: tuple[pa.Table, dict[str, str]], store: Store
) -> None:
    table, types = mixed_table
    spec = {
        "task": {"type": "Classification", "target": "churn", "positiveLabel": "yes"},
        "features": {"exclude": ["note", "since"]},
        "search": {"trials": 3, "learners": ["LightGBM"]},
        "ensemble": {"type": "None"},
        "evaluation": {
            "calibration": "Platt",
            "threshold": {"costs": {"falsePositive": 1, "falseNegative": 9}},
            "intervals": {"coverage": 0.8},
        },
    }
    record = train(make_config(table, types, spec), store)
    folder = store.open_artifact(record.artifact.uri).folder()
    model = load(folder)
    document = model.document
    assert document.threshold < 0.4
    assert len(document.calibration) == 1
    assert document.conformal is not None

    evidence = store.open_artifact(record.evidence.uri)
    found = json.loads(evidence.read("calibration.json"))
    assert found["before_recalibration"] is not None
    assert record.metrics["cost"] >= 0
    assert json.loads(evidence.read("intervals.json"))["declared_coverage"] == 0.8
    assert record.metric_interval is not None
    assert record.metric_interval.low <= record.metrics["roc_auc"] <= record.metric_interval.high
    assert all(
        entry.interval is not None and entry.interval.low <= entry.metric <= entry.interval.high
        for entry in record.leaderboard
    )
    card = store.read_bytes(record.card_uri).decode()
    assert f"The threshold {document.threshold:.6g} is the cheapest out of fold" in card

    predictor = Predictor(read(folder))
    names = list(model.schema.names)
    together = predictor.predict(table.select(names).to_pydict())
    for row in range(40):
        alone = predictor.predict({name: [table.column(name)[row].as_py()] for name in names})
        assert alone.values[0] == pytest.approx(together.values[row], abs=1e-12)
        assert alone.labels[0] == together.labels[row]
    positive = [row[1] >= document.threshold for row in together.values]
    assert [label == "yes" for label in together.labels] == positive
    sets = model.plausible(np.array(together.values))
    assert all(sets)
