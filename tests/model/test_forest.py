"""Compiled trees answer as LightGBM does, to the last bit of the sums, whatever the model."""

from __future__ import annotations

import ctypes
import errno
import mmap
import re
from pathlib import Path
from typing import Any, cast

import lightgbm as lgb
import numpy as np
import pytest
from modelyard_runtimes.model import compile_trees as compiler
from modelyard_runtimes.model import compiled_trees as compiled_trees_module
from modelyard_runtimes.model.compile_trees import compile_trees
from modelyard_runtimes.model.compiled_trees import CompiledTrees
from modelyard_runtimes.model.errors import NotCompiled
from modelyard_runtimes.model.forest import Forest, compiled
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


def rows_at_thresholds(text: bytes, random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return rows of values at and next to thresholds of any column, and of missing ones."""
    thresholds = b" ".join(re.findall(rb"^threshold=(.*)$", text, re.MULTILINE)).split()
    rows = random.choice(np.array([0.0, *map(float, thresholds)]), size=(2000, COLUMNS))
    rows = np.nextafter(rows, rows + random.integers(-1, 2, rows.shape))
    rows[random.random(rows.shape) < 0.1] = np.nan
    return rows


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


@pytest.fixture(scope="module", params=MODELS)
def text(request: Any) -> bytes:
    """The text of each model."""
    return fitted(**request.param)


def test_answers_are_those_of_lightgbm(text: bytes) -> None:
    reference = Trees(text, COLUMNS)
    rows = np.concatenate([hard_rows(2000, np.random.default_rng(5)), strange_rows()])

    found = compiled(text, COLUMNS, reference.predict)(rows)

    assert found.shape == (len(rows), reference.outputs)
    assert np.abs(found - reference.predict(rows)).max() <= 1e-15


def test_a_single_row_gets_lightgbms_answer_to_the_last_bit(text: bytes, tmp_path: Path) -> None:
    random = np.random.default_rng(8)
    rows = [hard_rows(2000, random), strange_rows(), rows_at_thresholds(text, random)]
    reference = Trees(text, COLUMNS)

    compile_trees(text, COLUMNS, tmp_path / "trees")
    compiled_trees = CompiledTrees(tmp_path / "trees")

    for row in np.concatenate(rows).tolist():
        assert [*compiled_trees.predict_one(row)] == [*reference.predict_one(row)], row


def test_sums_are_equal_to_the_last_bit() -> None:
    text = fitted(objective="regression", rounds=100)
    rows = hard_rows(5000, np.random.default_rng(6))
    assert np.array_equal(Forest(text, COLUMNS).predict(rows), Trees(text, COLUMNS).predict(rows))


@pytest.mark.parametrize("value", [9.999, 10.0, 10.001, np.nan])
def test_a_threshold_belongs_to_the_left(value: float) -> None:
    text = tree_text("regression", (0, 10.0, 0, 1.0, 2.0), (0, 12.0, 8, 4.0, 8.0))
    rows = np.full((2, 3), value)
    assert np.array_equal(Forest(text, 3).predict(rows), Trees(text, 3).predict(rows))


@pytest.mark.parametrize("present", [-1.0, 0.0, 1.0])
def test_a_column_that_only_tells_whether_it_is_missing(present: float, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    flag = np.where(random.random(2000) < 0.5, present, np.nan)
    other = random.normal(size=2000)
    target = np.isnan(flag) + other + random.normal(scale=0.5, size=2000)
    options = {"objective": "regression", "verbosity": -1, "num_threads": 1}
    rows = np.column_stack([flag, other])
    text = lgb.train(options, lgb.Dataset(rows, target), 50).model_to_string().encode()
    reference = Trees(text, 2)
    found = compiled(text, 2, reference.predict)(rows)
    np.testing.assert_array_equal(found, reference.predict(rows))
    compile_trees(text, 2, tmp_path / "trees")


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


def test_a_table_that_no_cache_holds_is_left_to_lightgbm() -> None:
    with pytest.raises(NotCompiled, match="too many leaves"):
        Forest(fitted(), COLUMNS, most_table_bytes=1000)


def test_other_answers_are_not_trusted() -> None:
    text = fitted()
    with pytest.raises(NotCompiled, match="answers otherwise"):
        compiled(text, COLUMNS, lambda rows: np.zeros((len(rows), 1)))


def test_a_file_is_its_owners_alone_and_never_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "trees"
    compile_trees(fitted(), COLUMNS, path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        compile_trees(fitted(), COLUMNS, path)


def test_a_file_may_go_once_it_is_mapped(tmp_path: Path) -> None:
    text, row = fitted(), [0.5] * COLUMNS
    compile_trees(text, COLUMNS, tmp_path / "trees")
    compiled_trees = CompiledTrees(tmp_path / "trees")
    (tmp_path / "trees").unlink()
    assert [*compiled_trees.predict_one(row)] == [*Trees(text, COLUMNS).predict_one(row)]


LIMITS = {"MOST_TABLE_BYTES": "too many leaves", "MOST_BYTES_A_TREE": "too many columns"}


@pytest.mark.parametrize(("limit", "why"), LIMITS.items(), ids=LIMITS.values())
def test_a_server_takes_no_table_that_costs_more_than_it_saves(
    tmp_path: Path, monkeypatch: Any, limit: str, why: str
) -> None:
    monkeypatch.setattr(compiler, limit, 10)
    with pytest.raises(NotCompiled, match=why):
        compile_trees(fitted(), COLUMNS, tmp_path / "trees")


def test_compiled_code_that_answers_otherwise_is_not_taken(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(CompiledTrees, "predict_one", lambda _self, _row: [0.25])
    with pytest.raises(NotCompiled, match="answers otherwise"):
        compile_trees(fitted(), COLUMNS, tmp_path / "trees")


def test_code_that_may_not_be_run_is_an_error(tmp_path: Path, monkeypatch: Any) -> None:
    compile_trees(fitted(), COLUMNS, tmp_path / "trees")
    libc = compiled_trees_module._libc()

    class Refusing:
        """What the C library does where the folder is mounted `noexec`."""

        munmap = libc.munmap

        def mmap(self, place: None, size: int, access: int, *others: int) -> int | None:
            if not access & mmap.PROT_EXEC:
                return cast(int, libc.mmap(place, size, access, *others))
            ctypes.set_errno(errno.EPERM)
            return ctypes.c_void_p(-1).value

    monkeypatch.setattr(compiled_trees_module, "_libc", Refusing)
    with pytest.raises(PermissionError, match="its code cannot be mapped"):
        CompiledTrees(tmp_path / "trees")


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_sums_beyond_all_exponentials_have_a_probability(tmp_path: Path, value: float) -> None:
    text, row = tree_text("binary sigmoid:1", (0, 0.5, 8, -1e4, 1e4)), [value, 0.0, 0.0]
    compile_trees(text, 3, tmp_path / "trees")
    assert [*Trees(text, 3).predict_one(row)] == [value]
    assert [*CompiledTrees(tmp_path / "trees").predict_one(row)] == [value]
