"""TorchMLP: equal seeds give equal bytes, and the packed model needs no PyTorch.

PyTorch is installed in an environment of its own: `make networks` runs these tests there.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.model import load
from modelyard_runtimes.model.format import EncoderDocument
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.learners.base import Encoded, FitRequest, Packed
from modelyard_runtimes.train.learners.torch_mlp import TorchMLP
from modelyard_runtimes.train.refit import check_parity
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.task import Goal
from sklearn.datasets import load_digits

pytest.importorskip("torch", reason="PyTorch is not installed (modelyard-runtimes[torch])")

PARAMETERS = {
    "layers": 2,
    "width": 16,
    "shape": "Constant",
    "blocks": 0,
    "members": 2,
    "dropout": 0.0,
    "learning_rate": 1e-2,
    "weight_decay": 1e-2,
}
EMPTY = EncoderDocument.model_validate(
    {
        "numeric": {"fill": [], "mean": [], "scale": []},
        "categorical": {"style": "OneHot", "levels": []},
    }
)
GOALS = {
    "two classes": Goal("Classification", 2, "roc_auc", "None", 1),
    "three classes": Goal("Classification", 3, "log_loss", "None", 1),
    "values": Goal("Regression", 0, "rmse", "None", 1),
    "values by absolute error": Goal("Regression", 0, "mae", "None", 1),
}


def request(goal: Goal, seed: int = 1) -> FitRequest:
    """Return rows whose target depends on the product of two columns: nothing linear sees it."""
    generator = np.random.default_rng(5)
    columns = generator.normal(size=(400, 3))
    signal = columns[:, 0] * columns[:, 1]
    edges = {0: [], 2: [0.0], 3: [-0.3, 0.3]}[goal.classes]
    target = np.digitize(signal, edges).astype(np.float64) if edges else 1000 + 50 * signal
    train_rows, valid_rows = (
        Encoded(columns[part], target[part], np.ones(len(target[part])))
        for part in (slice(0, 300), slice(300, 400))
    )
    return FitRequest(goal, EMPTY, train_rows, PARAMETERS, seed, valid=valid_rows)


def arrays_of(packed: Packed) -> list[np.ndarray]:
    """Return the arrays that a packed network consists of."""
    stream = io.BytesIO(packed.content)
    found: list[np.ndarray] = []
    while stream.tell() < len(packed.content):
        found.append(np.load(stream))
    return found


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())
def test_the_validation_loss_falls_and_decides_the_end(goal: Goal) -> None:
    fitted = TorchMLP().fit(request(goal))
    best = int(np.argmin(fitted.losses))
    assert fitted.losses[best] < 0.7 * fitted.losses[0]
    assert len(fitted.losses) <= min(best + 12, 100)


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())
def test_a_refit_of_the_best_number_of_epochs_is_the_fit_that_found_it(goal: Goal) -> None:
    searched = request(goal)
    ended = TorchMLP().fit(searched)
    refit = TorchMLP().fit(
        replace(searched, valid=None, iterations=int(np.argmin(ended.losses)) + 1)
    )
    assert searched.valid is not None
    columns = searched.valid.columns
    np.testing.assert_array_equal(refit.predict(columns), ended.predict(columns))
    check_parity(refit, refit.pack(), searched.rows, goal.task)


@pytest.mark.parametrize(
    ("changes", "shapes"),
    [
        pytest.param(
            {"layers": 3, "shape": "Constant"},
            [(2, 4, 16), (2, 17, 16), (2, 17, 16), (2, 17, 1)],
            id="constant",
        ),
        pytest.param(
            {"layers": 3, "shape": "Halving"},
            [(2, 4, 16), (2, 17, 8), (2, 9, 8), (2, 9, 1)],
            id="halving, not below 8",
        ),
        pytest.param(
            {"layers": 4, "width": 128, "shape": "Halving"},
            [(2, 4, 128), (2, 129, 64), (2, 65, 32), (2, 33, 16), (2, 17, 1)],
            id="deep",
        ),
        pytest.param(
            {"layers": 1, "blocks": 2},
            [(2, 4, 16), (2, 2, 17, 16), (2, 2, 17, 16), (2, 17, 1)],
            id="residual blocks alone",
        ),
        pytest.param(
            {"layers": 2, "shape": "Halving", "blocks": 1},
            [(2, 4, 16), (2, 2, 17, 16), (2, 17, 8), (2, 9, 1)],
            id="a residual block after the first layer",
        ),
    ],
)
def test_the_architecture_is_the_declared_one(
    changes: dict[str, Any], shapes: list[tuple[int, ...]]
) -> None:
    asked = request(GOALS["two classes"])
    parameters = {**PARAMETERS, **changes, "dropout": 0.3}
    asked = replace(asked, valid=None, iterations=2, parameters=parameters)
    fits = [TorchMLP().fit(asked) for _ in range(2)]
    packed = fits[0].pack()
    assert packed == fits[1].pack()
    check_parity(fits[0], packed, asked.rows, "Classification")
    assert [array.shape for array in arrays_of(packed)] == shapes


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())
def test_residual_blocks_learn_and_are_packed_as_they_were_fitted(goal: Goal) -> None:
    searched = request(goal)
    searched = replace(searched, parameters={**PARAMETERS, "layers": 1, "blocks": 2})
    fitted = TorchMLP().fit(searched)
    assert min(fitted.losses) < 0.7 * fitted.losses[0]
    packed = fitted.pack()
    check_parity(fitted, packed, searched.rows, goal.task)
    _, *blocks, _ = arrays_of(packed)
    assert all(block[1].any() for block in blocks)


def test_a_trial_from_before_there_were_blocks_and_members_is_a_single_plain_network() -> None:
    asked = replace(request(GOALS["two classes"]), valid=None, iterations=2)
    plain = {**PARAMETERS, "members": 1}
    unknown = ("blocks", "members")
    earlier = {name: value for name, value in PARAMETERS.items() if name not in unknown}
    packed = [
        TorchMLP().fit(replace(asked, parameters=parameters)).pack()
        for parameters in (plain, earlier)
    ]
    assert packed[0] == packed[1]


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())
def test_members_learn_apart(goal: Goal) -> None:
    """The first of several is what it is alone, and no other is like it."""
    asked = replace(request(goal), valid=None, iterations=3)
    alone, together = (
        arrays_of(TorchMLP().fit(replace(asked, parameters={**PARAMETERS, "members": many})).pack())
        for many in (1, 3)
    )
    for one, many in zip(alone, together, strict=True):
        assert (len(one), len(many)) == (1, 3)
        np.testing.assert_allclose(many[0], one[0], rtol=1e-3, atol=1e-5 * np.abs(one).max())
    first = together[0]
    assert not np.allclose(first[0], first[1])
    assert not np.allclose(first[1], first[2])


def test_dropped_values_are_dropped_in_training_alone() -> None:
    asked = replace(request(GOALS["values"]), valid=None, iterations=3)
    dropped = replace(asked, parameters={**PARAMETERS, "dropout": 0.4})
    fitted, other = TorchMLP().fit(asked), TorchMLP().fit(dropped)
    columns = asked.rows.columns
    assert not np.allclose(fitted.predict(columns), other.predict(columns))
    np.testing.assert_array_equal(other.predict(columns), other.predict(columns))


ARCHITECTURE = {
    "layers": {"type": "Integer", "low": 1, "high": 3},
    "width": {"type": "Integer", "low": 64, "high": 512, "log": True},
    "shape": {"type": "Categorical", "choices": ["Constant", "Halving"]},
    "blocks": {"type": "Integer", "low": 0, "high": 2},
    "members": {"type": "Integer", "low": 4, "high": 4},
    "dropout": {"type": "Float", "low": 0, "high": 0.5},
    # Larger networks need smaller steps; all else is that of the fixed one.
    "learning_rate": {"type": "Float", "low": 0.001, "high": 0.01, "log": True},
    "weight_decay": {"type": "Float", "low": 0.1, "high": 0.1},
}
# The first trial is the default, moved into the space.
SEARCHES = {
    "a fixed network": (1, {"members": {"type": "Integer", "low": 1, "high": 1}}),
    "four of them": (1, ARCHITECTURE),
    "the best of thirty": (30, ARCHITECTURE),
}
SPLITS = range(1, 6)
CLEARLY_LESS = 0.95


def digits_experiment(seed: int, trials: int, space: dict[str, Any]) -> dict[str, Any]:
    """Return an experiment whose seed decides the holdout."""
    return {
        "task": {"type": "Classification", "target": "digit", "metric": "log_loss"},
        "search": {"trials": trials, "learners": ["TorchMLP"], "space": {"TorchMLP": space}},
        "ensemble": {"type": "None"},
        "explain": {"permutationRepeats": 0, "shapRows": 0},
        "seed": seed,
    }


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_thirty_architectures_on_digits_beat_a_fixed_one(
    make_config: Callable[..., TrainConfig], store: Store
) -> None:
    """On the folds, where they were chosen, and on the holdout, which chose nothing."""
    digits = load_digits()
    names = [f"pixel {place}" for place in range(64)]
    table = pa.table(dict(zip([*names, "digit"], [*digits.data.T, digits.target], strict=True)))
    types = dict.fromkeys(names, "Numeric") | {"digit": "Categorical"}
    losses = np.empty((len(SPLITS), len(SEARCHES), 2))
    for place, seed in enumerate(SPLITS):
        for kind, (name, (trials, space)) in enumerate(SEARCHES.items()):
            spec = digits_experiment(seed, trials, space)
            record = train(make_config(table, types, spec, name=name.replace(" ", "-")), store)
            losses[place, kind] = record.leaderboard[0].metric, record.metrics["log_loss"]
        print(f"split {seed}: {told(losses[place])}", flush=True)
    means = losses.mean(axis=0)
    print(f"mean: {told(means)}")
    fixed, several, best = means
    assert (best < CLEARLY_LESS * fixed).all()
    assert (best < several).all()


def told(losses: np.ndarray) -> str:
    """Return the log losses of each search, out of fold and on the holdout."""
    return ", ".join(
        f"{name} {folds:.4f} {held:.4f}"
        for name, (folds, held) in zip(SEARCHES, losses, strict=True)
    )


def test_equal_seeds_give_equal_bytes_and_others_give_others() -> None:
    fits = [TorchMLP().fit(request(GOALS["two classes"], seed)).pack() for seed in (1, 1, 2)]
    assert fits[0] == fits[1]
    assert fits[0] != fits[2]


def test_a_run_is_repeatable_and_its_model_predicts_without_torch(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
) -> None:
    space = {"blocks": {"type": "Integer", "low": 1, "high": 1}}
    spec = {
        "task": {"type": "Classification", "target": "churn"},
        "search": {"trials": 2, "learners": ["TorchMLP"], "space": {"TorchMLP": space}},
    }
    first, again = (
        train(make_config(*mixed_table, spec, name=name), store) for name in ("first", "again")
    )
    assert first.artifact.digest == again.artifact.digest
    evidence = store.open_artifact(first.evidence.uri)
    assert json.loads(evidence.read("shap.json"))["approximate_members"]
    folder = store.open_artifact(first.artifact.uri).folder()
    row = {name: [mixed_table[0].column(name)[0].as_py()] for name in load(folder).schema.names}
    row["since"] = [str(row["since"][0])] if "since" in row else []
    code = (
        "import json, sys; from pathlib import Path; from modelyard_runtimes.model import load;"
        f"print(load(Path({str(folder)!r})).predict(json.loads({json.dumps(row)!r})).tolist());"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(done.stdout), load(folder).predict(row), rtol=1e-12)
