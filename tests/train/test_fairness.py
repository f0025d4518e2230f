"""Groups are compared by hand-made numbers, and a candidate against the difference is offered."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.experiment import FairnessLimits
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.evidence.fairness import Judged, fairness, worst_first
from modelyard_runtimes.train.evidence.mitigation import group_thresholds
from modelyard_runtimes.train.run import train

MakeConfig = Callable[..., TrainConfig]

TARGET = np.array([1, 1, 0, 0, 1, 1, 0, 0, 0, 1], dtype=np.float64)
OUTPUTS = np.array([0.9, 0.8, 0.7, 0.1, 0.9, 0.2, 0.1, 0.3, 0.2, 0.6])[:, None]
GROUPS = {"sex": ["m"] * 4 + ["f"] * 5 + ["x"]}


def test_every_rate_of_a_group_is_that_of_counting() -> None:
    found = fairness(Judged(TARGET, OUTPUTS, "accuracy", 2), GROUPS)
    by_group = {entry["group"]: entry for entry in found.groups["sex"]}
    expected = {
        "m": (4, 3 / 4, 2 / 2, 1 / 2, 3 / 4),
        "f": (5, 1 / 5, 1 / 2, 0 / 3, 4 / 5),
        "x": (1, 1.0, 1.0, None, None),
    }
    measures = ("rows", "selection_rate", "true_positive_rate", "false_positive_rate", "value")
    for group, values in expected.items():
        measured = tuple(by_group[group][measure] for measure in measures)
        assert measured == pytest.approx(values, abs=1e-9)
    (difference,) = found.differences
    assert difference.demographic_parity_difference == pytest.approx(0.8, abs=1e-9)
    assert difference.equalized_odds_difference == pytest.approx(0.5, abs=1e-9)
    assert difference.metric_difference == pytest.approx(0.05, abs=1e-9)


def test_the_threshold_decides_who_is_positive() -> None:
    strict = fairness(Judged(TARGET, OUTPUTS, "accuracy", 2, threshold=0.85), GROUPS)
    assert [entry["selection_rate"] for entry in strict.groups["sex"]] == [0.2, 0.25, 0.0]


@pytest.mark.parametrize(
    ("metric", "order"),
    [
        pytest.param("roc_auc", ["low", "high", "off", "none"], id="more is better"),
        pytest.param("log_loss", ["off", "high", "low", "none"], id="less is better"),
        pytest.param("rmse", ["off", "low", "high", "none"], id="mean error of a regression"),
    ],
)
def test_the_worst_group_comes_first(metric: str, order: list[str]) -> None:
    values = {"none": None, "high": 0.2, "low": -0.3, "off": 0.9}
    found = [{"group": group, "value": value} for group, value in values.items()]
    assert [entry["group"] for entry in worst_first(found, metric)] == order


def test_the_log_loss_of_a_group_without_a_class_is_that_of_its_rows() -> None:
    (*_, alone) = fairness(Judged(TARGET, OUTPUTS, "log_loss", 2), GROUPS).groups["sex"]
    assert alone["group"] == "x"
    assert alone["value"] == pytest.approx(-np.log(0.6))


@pytest.mark.parametrize(
    ("limits", "exceeded"),
    [
        pytest.param(None, ["demographicParity", "equalizedOdds"], id="defaults"),
        pytest.param(FairnessLimits(demographic_parity=0.8), [], id="just tolerated"),
        pytest.param(FairnessLimits(demographic_parity=0.79), ["demographicParity"], id="parity"),
        pytest.param(FairnessLimits(metric=0.01), ["metric"], id="metric"),
    ],
)
def test_a_difference_beyond_its_limit_is_named(
    limits: FairnessLimits | None, exceeded: list[str]
) -> None:
    found = fairness(Judged(TARGET, OUTPUTS, "accuracy", 2), GROUPS, limits)
    assert found.differences[0].exceeded == exceeded


def test_thresholds_by_group_make_rates_equal_and_say_what_they_cost() -> None:
    generator = np.random.default_rng(8)
    groups = generator.choice(["f", "m"], 4000)
    probabilities = np.clip(generator.random(4000) - 0.25 * (groups == "f"), 0, 1)
    target = (generator.random(4000) < probabilities).astype(np.float64)
    half = [slice(0, 2000), slice(2000, None)]
    judged = [Judged(target[part], probabilities[part][:, None], "roc_auc", 2) for part in half]
    names = [{"sex": groups[part].tolist()} for part in half]
    (found,) = group_thresholds(judged[0], names[0], judged[1], names[1])
    assert found["name"] == "GroupThresholds"
    assert found["thresholds"]["f"] < found["thresholds"]["m"]
    assert found["before"]["demographic_parity_difference"] > 0.2
    assert found["after"]["demographic_parity_difference"] < 0.05
    chosen = probabilities[half[1]] >= np.vectorize(found["thresholds"].get)(groups[half[1]])
    assert found["after"]["accuracy"] == np.mean(chosen == target[half[1]])


@pytest.mark.parametrize(
    ("levels", "rate", "positive"),
    [
        pytest.param([0.9] + [0.2] * 9, 0.2, 1, id="fewer are nearer"),
        pytest.param([0.9] + [0.2] * 9, 0.7, 10, id="all are nearer"),
        pytest.param([0.9] * 9 + [0.2], 0.3, 0, id="none is nearer"),
        pytest.param([0.1, 0.2, 0.3, 0.4], 0.5, 2, id="no ties"),
    ],
)
def test_a_threshold_takes_equal_rows_together(
    levels: list[float], rate: float, positive: int
) -> None:
    others = np.linspace(0.0, 1.0, 1000)
    outputs = np.concatenate([levels, others])[:, None]
    groups = {"g": ["a"] * len(levels) + ["b"] * len(others)}
    judged = Judged(np.zeros(len(outputs)), outputs, "roc_auc", 2, 1 - rate)
    (found,) = group_thresholds(judged, groups, judged, groups)
    assert sum(level >= found["thresholds"]["a"] for level in levels) == positive


def test_a_planted_bias_is_named_and_the_candidate_is_not_served(
    make_config: MakeConfig, store: Store
) -> None:
    generator = np.random.default_rng(9)
    sex = generator.choice(["f", "m"], 600)
    proxy = generator.normal(size=600) + 2.0 * (sex == "m")
    table = pa.table(
        {
            "proxy": proxy,
            "age": generator.integers(18, 80, 600).astype(float),
            "sex": sex,
            "hired": np.where(proxy + generator.normal(scale=0.3, size=600) > 1, "yes", "no"),
        }
    )
    types = {"proxy": "Numeric", "age": "Numeric", "sex": "Categorical", "hired": "Categorical"}
    spec = {
        "task": {"type": "Classification", "target": "hired", "positiveLabel": "yes"},
        "search": {"trials": 1, "learners": ["Linear"]},
        "fairness": {
            "sensitive": ["sex"],
            "limits": {"demographicParity": 0.2},
            "slices": ["age"],
        },
    }
    record = train(make_config(table, types, spec), store)
    assert record.fairness[0].exceeded == ["demographicParity"]
    (defect,) = [one for one in record.defects if one.name == "BiasedGroup"]
    assert "column 'sex', demographicParity" in defect.message
    assert "group 'f'" in defect.message
    evidence = store.open_artifact(record.evidence.uri)
    (candidate,) = json.loads(evidence.read("mitigation.json"))
    assert (
        candidate["after"]["demographic_parity_difference"]
        < candidate["before"]["demographic_parity_difference"] / 2
    )
    told = store.read_bytes(record.card_uri).decode()
    assert "Slices, worst first, of `age`:" in told
    slices = json.loads(evidence.read("slices.json"))["age"]
    assert sum(entry["rows"] for entry in slices) == 120
    assert len(slices) == 4
    model = json.loads(store.open_artifact(record.artifact.uri).read("model.json"))
    assert model["threshold"] == 0.5
