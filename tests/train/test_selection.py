"""Features are selected by training rows alone, and members see only those."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from modelyard.api.features import Selection
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import load
from modelyard_runtimes.model.explain import contributions
from modelyard_runtimes.model.schema import Inputs
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.feature_plan import FeaturePlan
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.selection import kept_features, log_tail
from modelyard_runtimes.train.task import Goal, SearchData, open_data
from modelyard_runtimes.train.trial import Trial
from scipy.special import gammaln, log_ndtr, logsumexp

from tests.train.candidates import LIGHTGBM, LINEAR

TRUE, NOISE = 5, 50
BORUTA = Selection(method="Boruta")
RANKED = [
    Selection(method="MutualInformation", max_features=10),
    Selection(method="ChiSquared", max_features=10),
    Selection(method="Importance", max_features=10),
]


def name(selection: Selection) -> str:
    return selection.method


def planted(seed: int, classes: int = 2, rows: int = 600) -> SearchData:
    """Return rows whose first five numbers tell the target, the others nothing."""
    generator = np.random.default_rng(seed)
    numbers = generator.normal(size=(rows, TRUE + NOISE))
    value = numbers[:, :TRUE] @ np.array([1.4, -1.2, 1.2, 1.3, -1.3])
    value += generator.normal(scale=0.5, size=rows)
    return SearchData(
        goal=Goal(
            "Classification" if classes else "Regression",
            classes,
            "roc_auc" if classes else "rmse",
            "None",
            seed,
        ),
        inputs=Inputs(numbers, np.zeros((rows, 0), dtype=np.int32)),
        categories=(),
        target=(value > 0).astype(np.float64) if classes else value,
        folds=np.arange(rows) % 2,
        plan=FeaturePlan(number_features=tuple(range(TRUE + NOISE))),
    )


def mixed(rows: int = 240) -> SearchData:
    """Return rows with numbers, categories and texts, of which some tell the target."""
    generator = np.random.default_rng(3)
    numbers = generator.normal(size=(rows, 3))
    numbers[generator.random((rows, 3)) < 0.1] = np.nan
    codes = generator.integers(0, 6, size=(rows, 2)).astype(np.int32)
    value = np.nan_to_num(numbers[:, 1]) + 2 * (codes[:, 1] == 2)
    told = value + generator.normal(scale=0.5, size=rows)
    texts = (
        ["a b" if one else "b c" for one in generator.random(rows) < 0.5],
        ["late again" if one > 0.5 else "on time" for one in told],
    )
    return SearchData(
        goal=Goal("Classification", 2, "roc_auc", "None", 1),
        inputs=Inputs(numbers, codes, texts),
        categories=(4, 4),
        target=(value > 0.4).astype(np.float64),
        folds=np.arange(rows) % 3,
        plan=FeaturePlan(number_features=(0, 3, 3), code_features=(1, 4), text_features=(2, 5)),
    )


@pytest.mark.parametrize(
    ("selection", "classes"),
    [
        pytest.param(selection, classes, id=f"{selection.method}, {classes} classes")
        for selection in RANKED
        for classes in (2, 0)
        if classes or selection.method != "ChiSquared"
    ],
)
def test_a_ranking_puts_what_tells_the_target_before_noise(
    selection: Selection, classes: int
) -> None:
    data = planted(1, classes, rows=1500)
    kept = kept_features(data, data.fit_count, selection)
    assert set(range(TRUE)) <= set(kept)
    assert len(kept) == 10


@pytest.mark.parametrize("rows", [2, 3, 8, 12, 20, 24, 39, 60])
def test_mutual_information_ranks_quantities_of_few_rows(rows: int) -> None:
    data = planted(1, classes=0, rows=rows)
    data.inputs.numbers[:, 7] = data.target
    kept = kept_features(data, 2, Selection(method="MutualInformation", max_features=1))
    assert len(kept) == 1
    if rows > 8:
        assert kept == (7,)


def test_chi_squared_ranks_features_that_all_tell_the_class_beyond_doubt() -> None:
    data = planted(1, rows=6000)
    generator = np.random.default_rng(2)
    for feature, share in enumerate(np.linspace(0.8, 0.99, TRUE)):
        told = generator.random(len(data.target)) < share
        data.inputs.numbers[:, feature] = np.where(told, data.target, 1 - data.target)
    for count in range(1, TRUE):
        kept = kept_features(data, 2, Selection(method="ChiSquared", max_features=count))
        assert kept == tuple(range(TRUE - count, TRUE))


@pytest.mark.parametrize("statistic", [0.5, 20.0, 1_000.0, 1_400.0, 1_500.0, 4_000.0, 1e6])
@pytest.mark.parametrize("pairs", [1, 2, 5, 60, 500])
def test_the_tail_of_chi_squared_is_that_of_a_poisson_count(statistic: float, pairs: int) -> None:
    """It exceeds x with 2k degrees of freedom where a count of mean x / 2 is less than k."""
    counts = np.arange(pairs)
    logarithms = counts * np.log(statistic / 2) - statistic / 2 - gammaln(counts + 1)
    expected = logsumexp(logarithms)
    assert log_tail(statistic, 2 * pairs) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("statistic", [0.5, 20.0, 1_000.0, 1_400.0, 1_500.0, 4_000.0, 1e6])
def test_the_tail_of_one_degree_of_freedom_is_that_of_both_sides_of_a_normal(
    statistic: float,
) -> None:
    expected = np.log(2) + log_ndtr(-np.sqrt(statistic))
    assert log_tail(statistic, 1) == pytest.approx(expected, rel=1e-9)


def test_boruta_keeps_what_tells_the_target_and_drops_the_noise() -> None:
    data = planted(1)
    check_kept(kept_features(data, data.fit_count, BORUTA))


@pytest.mark.soak
@pytest.mark.parametrize("classes", [2, 0], ids=["two classes", "values"])
def test_boruta_does_so_with_any_rows_and_seed(classes: int) -> None:
    for seed in range(5):
        data = planted(seed, classes)
        check_kept(kept_features(data, data.fit_count, BORUTA))


def check_kept(kept: Iterable[int]) -> None:
    noise = [feature for feature in kept if feature >= TRUE]
    assert set(range(TRUE)) <= set(kept)
    assert len(noise) <= 0.1 * NOISE, noise


def kept_by_seed(selection: Selection, classes: int) -> list[set[int]]:
    """Return what is kept of the same rows in searches of five seeds."""
    data = planted(1, classes, rows=1500)
    seeded = [replace(data, goal=replace(data.goal, seed=seed)) for seed in range(5)]
    return [set(kept_features(one, one.fit_count, selection)) for one in seeded]


def shared(kept: Iterable[set[int]]) -> float:
    """Return the least share that two sets have in common of what is in either."""
    return min(len(one & other) / len(one | other) for one, other in combinations(kept, 2))


@pytest.mark.parametrize(
    ("selection", "classes", "stable"),
    [
        *(
            pytest.param(one, classes, stable, id=f"{one.method}, {classes} classes")
            for one, stable in zip(RANKED, (1.0, 1.0, 5 / 15), strict=True)
            for classes in (2, 0)
            if classes or one.method != "ChiSquared"
        ),
        *(
            pytest.param(
                BORUTA, classes, 5 / 7, id=f"Boruta, {classes} classes", marks=pytest.mark.soak
            )
            for classes in (2, 0)
        ),
    ],
)
def test_a_search_of_another_seed_keeps_what_tells_the_target_and_drops_nine_tenths_of_the_noise(
    selection: Selection, classes: int, stable: float
) -> None:
    """Room that a ranking has left is filled with any noise, which a forest draws by its seed.

    So its sets share what tells the target, and where there is no such room they are equal.
    """
    kept = kept_by_seed(selection, classes)
    for one in kept:
        check_kept(one)
    assert shared(kept) >= stable
    if selection.max_features is not None:
        exact = selection.model_copy(update={"max_features": TRUE})
        assert kept_by_seed(exact, classes) == [set(range(TRUE))] * 5


def test_boruta_says_when_nothing_is_better_than_chance() -> None:
    data = planted(1, rows=200)
    shuffled = np.random.default_rng(1).permutation(data.target)
    noise = replace(
        data, target=shuffled, inputs=Inputs(data.inputs.numbers[:, :3], data.inputs.codes)
    )
    noise = replace(noise, plan=FeaturePlan(number_features=(0, 1, 2)))
    with pytest.raises(RunFailure, match=r"spec\.features\.selection.*another method"):
        kept_features(noise, noise.fit_count, BORUTA)


@pytest.mark.parametrize(
    "selection", [one.model_copy(update={"max_features": 3}) for one in RANKED], ids=name
)
def test_a_feature_is_ranked_by_all_of_its_columns(selection: Selection) -> None:
    data = mixed()
    assert kept_features(data, data.fit_count, selection) == (3, 4, 5)


@pytest.mark.parametrize(
    "selection",
    [BORUTA, *(one.model_copy(update={"max_features": 2}) for one in RANKED)],
    ids=name,
)
def test_no_row_of_a_fold_decides_which_features_its_fit_sees(selection: Selection) -> None:
    data = mixed()
    canaries = np.flatnonzero(data.folds == 1)
    numbers, codes, target = (
        part.copy() for part in (data.inputs.numbers, data.inputs.codes, data.target)
    )
    numbers[canaries, 0] = 1e9 * target[canaries]
    codes[canaries, 0] = target[canaries]
    target[canaries] = 1 - target[canaries]
    texts = tuple(list(one) for one in data.inputs.texts)
    for canary in canaries:
        texts[0][canary] = f"canary {target[canary]}"
    changed = replace(data, inputs=Inputs(numbers, codes, texts), target=target)
    assert kept_features(data, 1, selection) == kept_features(changed, 1, selection)
    assert kept_features(data, 0, selection) != kept_features(changed, 0, selection)


def test_a_trial_sees_the_features_of_its_folds() -> None:
    data = mixed()
    data = replace(data, plan=data.plan.model_copy(update={"kept": ((1, 3), (1, 3), (1, 3), (4,))}))
    spoiled = replace(
        data,
        inputs=Inputs(
            np.column_stack([np.full(len(data.folds), 7.0), data.inputs.numbers[:, 1:]]),
            np.column_stack([data.inputs.codes[:, 0], np.zeros(len(data.folds), np.int32)]),
            tuple(["nothing"] * len(data.folds) for _ in data.inputs.texts),
        ),
    )
    for parameters in (LINEAR, LIGHTGBM):
        trial = Trial(0, dict(parameters), (None,) * 3)  # type: ignore[arg-type]
        before, after = trial.run(data)[1], trial.run(spoiled)[1]
        assert before is not None
        np.testing.assert_array_equal(before, after)


def test_trial_processes_get_the_same_plan(tmp_path: Path) -> None:
    data = mixed()
    data = replace(data, plan=data.plan.model_copy(update={"kept": ((1,), (2, 3), (), (4,))}))
    data.save(tmp_path)
    assert open_data(tmp_path).plan == data.plan


def test_the_model_takes_all_features_and_needs_only_those_it_sees(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
) -> None:
    table, types = mixed_table
    config = make_config(
        table,
        types,
        {
            "task": {"type": "Classification", "target": "churn"},
            "features": {
                "selection": {"method": "MutualInformation", "maxFeatures": 2},
                "transforms": [{"type": "Binning"}, {"type": "TargetEncoding"}],
            },
            "search": {"trials": 2, "learners": ["LightGBM", "Linear"]},
            "ensemble": {"type": "None"},
        },
        workers=1,
    )

    record = train(config, store)

    evidence = store.open_artifact(record.evidence.uri)
    told = json.loads(evidence.read("selection.json"))
    assert (told["method"], told["maxFeatures"], len(told["folds"])) == ("MutualInformation", 2, 3)
    assert all(len(fold) == 2 for fold in told["folds"])
    assert "left it out by MutualInformation" in evidence.read("card.md").decode()

    model = load(store.open_artifact(record.artifact.uri).folder())
    assert any(encoder.derived for encoder in model.document.encoders)
    unseen = [one for one in model.schema.names if one not in told["model"]]
    assert set(model.schema.names) == set(types) - {"id", "churn"}
    assert not any(one.required for one in model.document.features if one.name in unseen)
    whole = model.predict(table)
    np.testing.assert_array_equal(model.predict(table.select(told["model"])), whole)

    base, values = contributions(model, model.schema.validate(table))
    places = [model.schema.names.index(one) for one in unseen]
    assert not values[:, :, places].any()
    np.testing.assert_allclose(base + values.sum(axis=2)[:, 0], whole[:, 1], atol=1e-9)
    shap = pq.read_table(pa.BufferReader(evidence.read("shap.parquet")))
    assert not any(any(shap.column(f"shap_{one}").to_pylist()) for one in unseen)
