"""Every planted defect is caught, and named so that a person knows what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import Model
from modelyard_runtimes.model.schema import Floats, Inputs
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.run import train

from tests.train.candidates import DEEP_TREES, many_classes

MakeConfig = Callable[..., TrainConfig]

ROWS = 600


@dataclass(frozen=True)
class Planted:
    """Rows with a defect, and what the product says of it.

    Attributes:
        columns: The rows.
        spec: What is declared besides a quick search.
        name: Name of the defect, or of the reason the run ends with.
        message: Parts of the message.
        remedy: Changes of the spec that mend it; None where the rows must change.
    """

    columns: Callable[[np.random.Generator], Mapping[str, Any]]
    spec: Mapping[str, Any]
    name: str
    message: tuple[str, ...]
    remedy: Mapping[str, Any] | None = None


def sound(generator: np.random.Generator) -> dict[str, Any]:
    """Return rows without a defect: two signals, and a class that they tell in part."""
    first, second = generator.normal(size=(2, ROWS))
    bought = first + second + generator.normal(size=ROWS) > 0
    return {"first": first, "second": second, "bought": np.where(bought, "yes", "no")}


def leak(generator: np.random.Generator) -> dict[str, Any]:
    columns = sound(generator)
    return columns | {"refund": (columns["bought"] == "yes") + generator.normal(0, 1e-3, ROWS)}


def duplicated_rows(generator: np.random.Generator) -> dict[str, Any]:
    chosen = np.concatenate([np.arange(ROWS), generator.integers(0, ROWS, ROWS // 2)])
    return {name: values[chosen] for name, values in sound(generator).items()}


def biased_group(generator: np.random.Generator) -> dict[str, Any]:
    columns = sound(generator)
    sex = generator.choice(["f", "m"], ROWS)
    favoured = columns["first"] + 2.0 * (sex == "m") - 1.0
    bought = favoured + generator.normal(size=ROWS) * 0.5 > 0
    return columns | {"first": favoured, "sex": sex, "bought": np.where(bought, "yes", "no")}


def rare_class(generator: np.random.Generator) -> dict[str, Any]:
    columns = sound(generator)
    score = columns["first"] + columns["second"] + generator.normal(size=ROWS) * 1.5
    return columns | {"bought": np.where(score > np.quantile(score, 0.88), "yes", "no")}


def noise(generator: np.random.Generator) -> dict[str, Any]:
    return sound(generator) | {"bought": generator.choice(["no", "yes"], ROWS)}


LINEAR = {"search": {"trials": 1, "learners": ["Linear"]}}
CLASSES = {"task": {"type": "Classification", "target": "bought", "positiveLabel": "yes"}}

PLANTED = {
    "leak": Planted(leak, CLASSES, "LeakageFound", ("'refund'", "spec.features.exclude"),
                    {"features": {"exclude": ["refund"]}}),
    "duplicated rows": Planted(duplicated_rows, CLASSES, "LeakageFound", ("of the rows are copies of others", "onFail Quarantine")),
    "biased group": Planted(
        biased_group, {**CLASSES, "fairness": {"sensitive": ["sex"]}}, "BiasedGroup",
        ("column 'sex', demographicParity", "group 'f'", "GroupThresholds"),
        {"fairness": {"limits": {"demographicParity": 0.9}}},
    ),
    "miscalibration": Planted(
        rare_class, {"task": {**CLASSES["task"], "imbalance": "Balanced"}}, "Miscalibrated",
        ("expected calibration error", "spec.evaluation.calibration"),
        {"evaluation": {"calibration": "Platt"}},
    ),
    "no signal": Planted(noise, CLASSES, "NoBetterThanNaive", ("The features tell too little",)),
}  # fmt: skip


def found(make_config: MakeConfig, store: Store, planted: Planted, spec: Any) -> dict[str, str]:
    """Return what is said of the rows: the defects, or why the run ended."""
    columns = pa.table(dict(planted.columns(np.random.default_rng(11))))
    types = {
        field.name: "Categorical" if pa.types.is_string(field.type) else "Numeric"
        for field in columns.schema
    }
    return said_of(make_config(columns, types, spec), store)


def said_of(config: TrainConfig, store: Store) -> dict[str, str]:
    """Return the defects of a run, or why it ended, by name."""
    try:
        record = train(config, store)
    except RunFailure as failure:
        return {failure.reason: failure.message}
    return {
        name: "\n".join(one.message for one in record.defects if one.name == name)
        for name in {one.name for one in record.defects}
    }


@pytest.mark.parametrize("planted", [pytest.param(one, id=name) for name, one in PLANTED.items()])
def test_a_planted_defect_is_caught_named_and_gone_once_mended(
    make_config: MakeConfig, store: Store, planted: Planted
) -> None:
    spec = {**LINEAR, **planted.spec}
    said = found(make_config, store, planted, spec)
    assert planted.name in said
    for part in planted.message:
        assert part in said[planted.name]
    if planted.remedy is not None:
        for key, change in planted.remedy.items():
            spec[key] = {**spec.get(key, {}), **change}
        assert planted.name not in found(make_config, store, planted, spec)


@pytest.mark.parametrize(
    ("field", "measured"),
    [
        # Latencies of two runs are compared, which takes an idle machine.
        pytest.param("latencyMsP95", "latency_ms_p95", id="slow", marks=pytest.mark.soak),
        pytest.param("maxModelMB", "model_mb", id="oversized"),
    ],
)
def test_a_large_model_is_caught_by_a_limit_that_a_plain_one_keeps_and_gone_with_that(
    make_config: MakeConfig, store: Store, field: str, measured: str
) -> None:
    table, types = many_classes()
    spec = {
        **LINEAR,
        "task": {"type": "Classification", "target": "kind", "metric": "accuracy"},
        "constraints": {field: 1000},
        "explain": {"permutationRepeats": 0, "shapRows": 0},
    }
    (plain,) = train(make_config(table, types, spec), store).leaderboard
    limit = 3 * getattr(plain, measured)
    spec["constraints"] = {field: limit}
    large = {"search": {"trials": 1, "learners": ["ExtraTrees"], "space": DEEP_TREES}}
    with pytest.raises(RunFailure) as end:
        train(make_config(table, types, {**spec, **large}), store)
    assert end.value.reason == "NoFeasibleModel"
    said = rf"the nearest is 0: spec\.constraints\.{field} is {limit:g}, it has (\S+)\. "
    has = re.search(said, end.value.message)
    assert has is not None
    assert float(has[1]) > limit
    assert "NoFeasibleModel" not in said_of(make_config(table, types, spec), store)


def test_sound_rows_have_no_defect(make_config: MakeConfig, store: Store) -> None:
    assert found(make_config, store, Planted(sound, CLASSES, "", ()), {**LINEAR, **CLASSES}) == {}


def test_a_model_that_answers_nan_is_refused(
    make_config: MakeConfig, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Model.outputs

    def spoiled(model: Model, inputs: Inputs) -> Floats:
        outputs = honest(model, inputs)
        outputs[[3, 5]] = np.nan
        return outputs

    monkeypatch.setattr(Model, "outputs", spoiled)
    said = found(make_config, store, Planted(sound, CLASSES, "", ()), {**LINEAR, **CLASSES})
    assert list(said) == ["NonFinitePredictions"]
    assert "of 120 rows of the holdout 2 get no number" in said["NonFinitePredictions"]
    assert "spec.search.learners" in said["NonFinitePredictions"]
