"""Compiled trees answer as LightGBM does, to the last bit of the sums, whatever the model."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from modelyard_runtimes.model import forest as forests
from modelyard_runtimes.model.forest import Forest, NotCompiled, compiled
from modelyard_runtimes.model.trees import Trees

from tests.model.conftest import trees as tree_text

COLUMNS = 6
SMALL = float(np.float32(1e-35))
"""The greatest number that LightGBM takes for 0."""


def fitted(rows: int = 3000, rounds: int = 30, **settings: Any) -> bytes:
    """Return a model text over numbers with gaps and zeros, and categories in two columns."""
    random = np.random.default_rng(4)
    given = hard_rows(rows, random)
    shape = np.nan_to_num(given[:, 0]) * np.nan_to_num(given[:, 1]) + (given[:, 4] == 3)
    objective = settings.get("objective", "binary")
    target = np.digitize(shape, [-0.5, 0.5]) if objective == "multiclass" else shape
    target = (shape > 0).astype(float) if objective == "binary" else target
    options = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": 1} | settings
    categorical = [] if settings.get("linear_tree") else [4, 5]
    data = lgb.Dataset(given, target, categorical_feature=categorical, params=options)
    text = lgb.train(options, data, rounds).model_to_string()
    return text.partition("end of trees\n")[0].encode() + b"end of trees\n"


def hard_rows(count: int, random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return rows with all that splits distinguish."""
    rows = random.normal(size=(count, COLUMNS))
    rows[:, 2][random.random(count) < 0.5] = 0.0
    rows[:, 4] = random.integers(0, 9, count)
    rows[:, 5] = random.integers(0, 120, count)
    rows[:, :4][random.random((count, 4)) < 0.15] = np.nan
    return rows


def strange_rows() -> np.ndarray[Any, Any]:
    """Return rows that no model was fitted on."""
    random = np.random.default_rng(9)
    strange = [
        np.nan,
        0.0,
        -0.0,
        SMALL,
        -SMALL,
        1e-36,
        -1e-36,
        1e300,
        -1e300,
        2.5,
        -0.5,
        -1.0,
        3.999,
        1e10,
        40.0,
    ]
    return random.choice(strange, size=(2000, COLUMNS))


MODELS = [
    pytest.param({}, id="two classes"),
    pytest.param({"objective": "multiclass", "num_class": 3}, id="three classes"),
    pytest.param({"objective": "regression"}, id="regression"),
    pytest.param({"objective": "regression_l1"}, id="mean absolute error"),
    pytest.param({"num_leaves": 2}, id="stumps"),
    pytest.param({"num_leaves": 200, "min_data_in_leaf": 1}, id="more leaves than a word has bits"),
    pytest.param({"use_missing": False}, id="missing values count as 0"),
    pytest.param({"zero_as_missing": True}, id="0 counts as missing"),
    pytest.param({"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}, id="mean of trees"),
    pytest.param({"sigmoid": 2.0}, id="another sigmoid"),
    pytest.param({"max_cat_to_onehot": 1}, id="sets of categories"),
    pytest.param({"min_data_in_leaf": 100_000}, id="single leaves"),
]  # fmt: skip


@pytest.mark.parametrize("settings", MODELS)
def test_answers_are_those_of_lightgbm(settings: dict[str, Any]) -> None:
    text = fitted(**settings)
    reference = Trees(text, COLUMNS)
    rows = np.concatenate([hard_rows(2000, np.random.default_rng(5)), strange_rows()])

    found = compiled(text, COLUMNS, reference.predict)(rows)

    assert found.shape == (len(rows), reference.outputs)
    assert np.abs(found - reference.predict(rows)).max() <= 1e-15


def test_sums_are_equal_to_the_last_bit() -> None:
    text = fitted(objective="regression", rounds=100)
    rows = hard_rows(5000, np.random.default_rng(6))
    assert np.array_equal(Forest(text, COLUMNS).predict(rows), Trees(text, COLUMNS).predict(rows))


@pytest.mark.parametrize("value", [9.999, 10.0, 10.001, np.nan])
def test_a_threshold_belongs_to_the_left(value: float) -> None:
    text = tree_text("regression", (0, 10.0, 0, 1.0, 2.0), (0, 12.0, 8, 4.0, 8.0))
    rows = np.full((2, 3), value)
    assert np.array_equal(Forest(text, 3).predict(rows), Trees(text, 3).predict(rows))


def test_no_rows_have_no_answers() -> None:
    assert Forest(fitted(), COLUMNS).predict(np.empty((0, COLUMNS))).shape == (0, 1)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        pytest.param({"linear_tree": True, "objective": "regression"}, "linear", id="linear leaves"),
        pytest.param({"objective": "poisson"}, "objective is poisson", id="another link"),
        pytest.param({"objective": "regression", "reg_sqrt": True}, "sqrt", id="squared answers"),
    ],
)  # fmt: skip
def test_what_only_lightgbm_evaluates_is_left_to_it(settings: dict[str, Any], why: str) -> None:
    shift = {"rounds": 3}
    text = fitted(**settings, **shift) if settings["objective"] != "poisson" else _poisson()
    with pytest.raises(NotCompiled, match=why):
        Forest(text, COLUMNS)


def _poisson() -> bytes:
    return fitted(objective="regression", rounds=3).replace(
        b"objective=regression", b"objective=poisson"
    )


def test_a_table_that_no_cache_holds_is_left_to_lightgbm(monkeypatch: Any) -> None:
    monkeypatch.setattr(forests, "MOST_TABLE_BYTES", 1000)
    with pytest.raises(NotCompiled, match="too many leaves"):
        Forest(fitted(), COLUMNS)


def test_other_answers_are_not_trusted() -> None:
    text = fitted()
    with pytest.raises(NotCompiled, match="answers otherwise"):
        compiled(text, COLUMNS, lambda rows: np.zeros((len(rows), 1)))
