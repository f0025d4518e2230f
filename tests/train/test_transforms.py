"""Declared transforms are fitted on training rows alone, and are the same packed and served."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from modelyard.api.features import Transform
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import Model, ModelDocument
from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.model.explain import contributions
from modelyard_runtimes.model.format import EncoderDocument, FeatureSchema
from modelyard_runtimes.model.schema import Inputs, InputSchema
from modelyard_runtimes.train.columns import FittedColumns, fit_columns
from modelyard_runtimes.train.declared_features import steps_of
from modelyard_runtimes.train.encoding import EncodingOptions
from modelyard_runtimes.train.feature_plan import FeaturePlan
from modelyard_runtimes.train.refit import Refit
from modelyard_runtimes.train.task import Goal, SearchData
from modelyard_runtimes.train.trial import Trial, TrialResult

from tests.train.candidates import LIGHTGBM, LINEAR

PLAIN = EncodingOptions(missing="Keep", scaling="None", categories="Ordinal")
SCHEMA = InputSchema(
    [
        FeatureSchema(name="city", type="Categorical", required=True, categories=["a", "b", "c"]),
        FeatureSchema(name="since", type="Datetime", required=True),
        FeatureSchema(name="size", type="Numeric", required=False),
        FeatureSchema(name="shop", type="Categorical", required=False, categories=["x", "y"]),
        FeatureSchema(name="weight", type="Numeric", required=False),
    ]
)
SIZE = 6
WEIGHT = 7
"""The columns of the size and the weight, behind the parts of the moment."""
NUMBERS = {"left": "size", "right": "weight"}
CROSS = {"left": "city", "right": "shop", "operation": "Cross"}
UNFITTED = ("hash", "sum", "difference", "product", "ratio")
TRANSFORMS: dict[str, dict[str, Any]] = {
    "target": {"type": "TargetEncoding"},
    "target of one, not smoothed": {
        "type": "TargetEncoding",
        "columns": ["shop"],
        "smoothing": 0,
    },
    "frequency": {"type": "FrequencyEncoding"},
    "group": {"type": "GroupStatistics", "by": "city"},
    "bins": {"type": "Binning", "bins": 4},
    "hash": {"type": "HashEncoding", "buckets": 3},
    "sum": {"type": "Interactions", "pairs": [{**NUMBERS, "operation": "Sum"}]},
    "difference": {"type": "Interactions", "pairs": [{**NUMBERS, "operation": "Difference"}]},
    "product": {"type": "Interactions", "pairs": [{**NUMBERS, "operation": "Product"}]},
    "ratio": {"type": "Interactions", "pairs": [{**NUMBERS, "operation": "Ratio"}]},
    "cross": {"type": "Interactions", "pairs": [CROSS], "smoothing": 2},
}
FITTED = {name: one for name, one in TRANSFORMS.items() if name not in UNFITTED}
"""Those that the training rows shape; a name's bucket and a sum are the same whatever they are."""
EACH = pytest.mark.parametrize("declared", TRANSFORMS.values(), ids=list(TRANSFORMS))


def make_data(*declared: dict[str, Any], classes: int = 2, rows: int = 240) -> SearchData:
    generator = np.random.default_rng(4)
    numbers = generator.normal(size=(rows, WEIGHT + 1))
    numbers[generator.random(rows) < 0.1, SIZE] = np.nan
    codes = np.column_stack([generator.integers(0, 5, rows), generator.integers(0, 4, rows)])
    value = (codes[:, 0] == 1) + numbers[:, 0] + generator.normal(scale=0.5, size=rows)
    target = {0: value, 2: value > 0.3, 3: np.digitize(value, [0.0, 0.8])}[classes]
    transforms = [Transform.model_validate(one) for one in declared]
    return SearchData(
        goal=Goal(
            "Classification" if classes else "Regression",
            classes,
            {0: "rmse", 2: "roc_auc", 3: "log_loss"}[classes],
            "None",
            1,
        ),
        inputs=Inputs(numbers, codes.astype(np.int32)),
        categories=(3, 2),
        target=target.astype(np.float64),
        folds=np.arange(rows) % 3,
        plan=FeaturePlan.of(SCHEMA, steps_of(transforms, SCHEMA)),
    )


def derived(fitted: FittedColumns, columns: np.ndarray) -> np.ndarray:
    """Return the columns behind the given numbers and before the categories."""
    return columns[:, WEIGHT + 1 : len(fitted.document.numeric.fill)]


def test_each_transform_is_what_it_says() -> None:
    data = make_data(
        {"type": "TargetEncoding", "columns": ["shop"], "smoothing": 4},
        {"type": "FrequencyEncoding", "columns": ["city"]},
        {"type": "GroupStatistics", "by": "city", "columns": ["size"]},
        {"type": "Binning", "bins": 4, "columns": ["size"]},
    )
    train = data.folds != 0
    city, shop = data.inputs.codes[:, 0], data.inputs.codes[:, 1]
    size, target = data.inputs.numbers[:, SIZE], data.target
    fitted = fit_columns(data, 0, PLAIN)

    found = derived(fitted, Encoder(fitted.document).transform(data.inputs))

    for row in range(20):
        alike = train & (shop == shop[row])
        mean = (target[alike].sum() + 4 * target[train].mean()) / (alike.sum() + 4)
        group = size[train & (city == city[row])]
        edges = np.nanquantile(size[train], [0.25, 0.5, 0.75])
        place = np.nan if np.isnan(size[row]) else np.sum(edges <= size[row])
        expected = [mean, np.mean(city[train] == city[row]), np.nanmean(group), np.nanstd(group)]
        np.testing.assert_allclose(found[row], [*expected, place], atol=1e-12)


def test_each_pair_is_what_it_says() -> None:
    operations = ("Sum", "Difference", "Product", "Ratio")
    pairs = [*({**NUMBERS, "operation": one} for one in operations), CROSS]
    data = make_data({"type": "Interactions", "smoothing": 4, "pairs": pairs})
    data.inputs.numbers[:5, WEIGHT] = 0.0
    fitted = fit_columns(data, 0, PLAIN)

    found = derived(fitted, Encoder(fitted.document).transform(data.inputs))

    size, weight = data.inputs.numbers[:, SIZE], data.inputs.numbers[:, WEIGHT]
    city, shop = data.inputs.codes.T
    train, target = data.folds != 0, data.target
    for row in range(20):
        ratio = size[row] / weight[row] if weight[row] else np.nan
        both = train & (city == city[row]) & (shop == shop[row])
        mean = (target[both].sum() + 4 * target[train].mean()) / (both.sum() + 4)
        plain = [size[row] + weight[row], size[row] - weight[row], size[row] * weight[row], ratio]
        np.testing.assert_allclose(found[row], [*plain, mean], atol=1e-12)


def test_a_category_is_in_one_bucket_by_its_name_alone() -> None:
    names = [f"city {number}" for number in range(200)]
    schema = InputSchema(
        [FeatureSchema(name="city", type="Categorical", required=True, categories=names)]
    )
    declared = Transform(type="HashEncoding", buckets=16)
    (step,) = steps_of([declared], schema)
    data = replace(
        make_data(),
        inputs=Inputs(np.empty((202, 0)), np.arange(202, dtype=np.int32)[:, None]),
        target=np.zeros(202),
        folds=np.arange(202) % 2,
        categories=(200,),
        plan=FeaturePlan.of(schema, (step,)),
    )
    document = fit_columns(data, 2, PLAIN).document
    columns = Encoder(document).transform(data.inputs)[:, :16]
    assert np.count_nonzero(columns, axis=1).tolist() == [1] * 200 + [0, 0]
    assert set(np.unique(columns)) == {-1.0, 0.0, 1.0}
    assert np.count_nonzero(columns, axis=0).min() > 3
    alone = InputSchema([schema.features[0].model_copy(update={"categories": names[7:8]})])
    assert steps_of([declared], alone)[0].buckets[0][0] == step.buckets[0][7]


def test_a_category_without_rows_gets_what_all_rows_have() -> None:
    data = make_data(
        {"type": "TargetEncoding", "smoothing": 0, "columns": ["city"]},
        {"type": "GroupStatistics", "by": "city", "columns": ["size"]},
        {"type": "FrequencyEncoding", "columns": ["city"]},
    )
    data = replace(data, inputs=Inputs(data.inputs.numbers, data.inputs.codes % 3))
    size = data.inputs.numbers[:, SIZE]

    fitted = fit_columns(data, data.fit_count, PLAIN)

    unknown = Inputs(data.inputs.numbers[:1], np.array([[3, 0]], dtype=np.int32))
    found = derived(fitted, Encoder(fitted.document).transform(unknown))[0]
    expected = [data.target.mean(), np.nanmean(size), np.nanstd(size), 0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("classes", "columns"), [(0, 1), (2, 1), (3, 3)])
def test_the_target_is_a_column_or_one_for_each_of_several_classes(
    classes: int, columns: int
) -> None:
    data = make_data({"type": "TargetEncoding", "columns": ["city"]}, classes=classes)
    assert len(fit_columns(data, 0, PLAIN).document.derived) == columns


@pytest.mark.parametrize("declared", FITTED.values(), ids=list(FITTED))
def test_the_rows_of_other_folds_shape_what_a_fit_sees(declared: dict[str, Any]) -> None:
    data = make_data(declared)
    codes, target = data.inputs.codes.copy(), data.target.copy()
    others = data.folds == 1
    codes[others], target[others] = 2, 1 - target[others]
    numbers = np.where(others[:, None], 1e9, data.inputs.numbers)
    changed = replace(data, inputs=Inputs(numbers, codes), target=target)
    before, after = (fit_columns(one, 0, PLAIN).document.derived for one in (data, changed))
    assert before != after


@EACH
def test_no_row_of_a_fold_shapes_what_its_fit_sees(declared: dict[str, Any]) -> None:
    data = make_data(declared)
    judged = data.folds == 1
    numbers, codes, target = (
        part.copy() for part in (data.inputs.numbers, data.inputs.codes, data.target)
    )
    numbers[judged], codes[judged], target[judged] = 1e9, 2, 1 - target[judged]
    changed = replace(data, inputs=Inputs(numbers, codes), target=target)
    before, after = fit_columns(data, 1, PLAIN), fit_columns(changed, 1, PLAIN)
    assert before.document == after.document
    np.testing.assert_array_equal(before.rows.columns, after.rows.columns)


@pytest.mark.parametrize(
    "declared",
    [TRANSFORMS["target"], TRANSFORMS["cross"]],
    ids=["of its category", "of both categories"],
)
def test_a_training_row_is_not_told_its_own_target(declared: dict[str, Any]) -> None:
    data = make_data(declared)
    before = fit_columns(data, data.fit_count, PLAIN)
    for row in range(10):
        target = data.target.copy()
        target[row] = 1 - target[row]
        after = fit_columns(replace(data, target=target), data.fit_count, PLAIN)
        own, changed = (derived(one, one.rows.columns) for one in (before, after))
        np.testing.assert_array_equal(own[row], changed[row])
        assert not np.array_equal(own, changed)


@EACH
@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(LINEAR, id="Linear"),
        pytest.param(LIGHTGBM, id="LightGBM"),
    ],
)
def test_a_packed_model_makes_the_same_of_rows_alone_and_explains_them(
    declared: dict[str, Any], parameters: dict[str, Any]
) -> None:
    data = make_data(declared)
    outputs = Trial(0, parameters, (None,) * 3).run(data)[1]
    assert outputs is not None
    member = Refit(TrialResult(0, parameters, "Complete", (1.0,), 10)).run(data)
    assert member.encoder.derived
    loaded = EncoderDocument.model_validate_json(member.encoder.model_dump_json(by_alias=True))
    assert loaded == member.encoder
    whole = Encoder(member.encoder).transform(data.inputs)
    np.testing.assert_array_equal(Encoder(loaded).transform(data.inputs), whole)

    path = "members/0"
    document = ModelDocument.model_validate(
        {
            "task": "Classification",
            "target": "t",
            "classes": [0, 1],
            "positiveLabel": 1,
            "features": SCHEMA.features,
            "encoders": [loaded],
            "members": [
                {
                    "type": member.packed.type,
                    "learner": parameters["learner"],
                    "trial": 0,
                    "weight": 1,
                    "encoder": 0,
                    "file": path,
                }
            ],
        }
    )
    model = Model(document, {path: member.packed.content})
    rows = [data.inputs.take(np.array([row])) for row in range(20)]
    together = model.predict_inputs(data.inputs.take(np.arange(20)))
    alone = np.concatenate([model.predict_inputs(row) for row in rows])
    np.testing.assert_allclose(alone, together, atol=1e-15)
    base, values = contributions(model, data.inputs.take(np.arange(20)))
    np.testing.assert_allclose(base + values.sum(axis=2)[:, 0], together[:, 1], atol=1e-9)


def test_numbers_count_for_the_feature_they_are_made_of() -> None:
    data = make_data({"type": "FrequencyEncoding", "columns": ["shop"]}, {"type": "Binning"})
    fitted = fit_columns(data, 0, PLAIN)
    sources = Encoder(fitted.document).sources(SCHEMA)
    assert sources[WEIGHT + 1 : WEIGHT + 4] == [(3,), (2,), (4,)]


def test_a_pair_counts_for_both_of_its_features() -> None:
    pairs = [{**NUMBERS, "operation": "Ratio"}, CROSS]
    fitted = fit_columns(make_data({"type": "Interactions", "pairs": pairs}), 0, PLAIN)
    sources = Encoder(fitted.document).sources(SCHEMA)
    assert sources[WEIGHT + 1 : WEIGHT + 3] == [(2, 4), (0, 3)]


def test_nothing_is_made_of_features_that_are_not_kept() -> None:
    data = make_data({"type": "FrequencyEncoding"}, {"type": "GroupStatistics", "by": "shop"})
    kept = data.plan.model_copy(update={"kept": ((0, 2),) * 4})
    fitted = fit_columns(replace(data, plan=kept), 0, PLAIN)
    assert [one.code for one in fitted.document.derived if one.kind == "CategoryNumbers"] == [0]
    assert fitted.rows.columns.shape[1] == 3


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        pytest.param(
            {"type": "TargetEncoding", "columns": ["size"]},
            r"transforms\[0\]\.columns: 'size' is Numeric, and this transform takes Categorical",
            id="another type",
        ),
        pytest.param(
            {"type": "Binning", "columns": ["sise"]},
            r"transforms\[0\]\.columns: 'sise' is no feature of the model; did you mean 'size'",
            id="no feature",
        ),
        pytest.param(
            {"type": "GroupStatistics", "by": "size"},
            r"transforms\[0\]\.by: 'size' is Numeric",
            id="groups of numbers",
        ),
        pytest.param(
            {"type": "Interactions", "pairs": [{**NUMBERS, "operation": "Cross"}]},
            r"transforms\[0\]\.pairs\[0\]\.left: 'size' is Numeric",
            id="a cross of numbers",
        ),
        pytest.param(
            {"type": "Interactions", "pairs": [{**NUMBERS, "right": "shop", "operation": "Sum"}]},
            r"transforms\[0\]\.pairs\[0\]\.right: 'shop' is Categorical",
            id="a sum with a category",
        ),
    ],
)
def test_a_column_that_does_not_fit_is_refused_by_its_field(
    declared: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunFailure, match=message):
        make_data(declared)


def test_a_cross_of_too_many_categories_is_refused() -> None:
    names = [f"city {number}" for number in range(200)]
    features = [
        FeatureSchema(name=name, type="Categorical", required=True, categories=names)
        for name in ("city", "shop")
    ]
    cross = Transform.model_validate({"type": "Interactions", "pairs": [CROSS]})
    with pytest.raises(RunFailure, match=r"pairs\[0\]: .* 40804 pairs .* use TargetEncoding"):
        steps_of([cross], InputSchema(features))
