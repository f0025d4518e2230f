"""What each feature adds to a prediction, in the unit of the prediction."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from modelyard.api.identity import canonical_json
from modelyard_runtimes.model import Model, load_files
from modelyard_runtimes.model.explain import contributions

from .conftest import document, files, trees

COLUMNS: dict[str, Any] = {
    "size": [5.0, 15.0, None],
    "member": [True, None, False],
    "colour": ["red", "blue", "mauve"],
}


def test_contributions_of_a_mixed_ensemble_add_up_to_its_prediction(model: Model) -> None:
    inputs = model.schema.validate(COLUMNS)
    base, values = contributions(model, inputs)
    assert (base.shape, values.shape) == ((1,), (3, 1, 3))
    np.testing.assert_allclose(
        base + values.sum(axis=2), model.predict_inputs(inputs)[:, 1:], atol=1e-12
    )


def test_a_pair_of_numbers_counts_half_for_each_of_both() -> None:
    changed = document()
    pairs = [{"kind": "Ratio", "left": 0, "right": 1}, {"kind": "Sum", "left": 0, "right": 1}]
    changed["encoders"][0]["numeric"]["interactions"] = pairs
    changed["members"] = [{**changed["members"][0], "weight": 1}]
    # Trees split by size, by size / member and size + member, and by colour.
    splits = [(0, 10, 8, -1, 1), (2, 9, 8, -0.4, 0.9), (3, 4, 10, 0.3, -0.2), (4, 0.5, 10, 0, 0.7)]
    packed = {"members/0.txt": trees("regression", *splits)}
    changed |= {"task": "Regression", "classes": []}
    changed.pop("positiveLabel")
    model = load_files({**packed, "model.json": canonical_json(changed)})
    inputs = model.schema.validate(COLUMNS)
    base, values = contributions(model, inputs)
    np.testing.assert_allclose(
        (base + values.sum(axis=2))[:, 0], model.predict_inputs(inputs), atol=1e-12
    )
    by_column = model.members[0].contributions(
        model.encoders[0].transform(inputs), np.zeros((1, 5))
    )[:, 0]
    halves = (by_column[:, 2] + by_column[:, 3]) / 2
    by_feature = dict(zip(model.schema.names, values[:, 0].T, strict=True))
    assert np.abs(halves).min() > 0
    np.testing.assert_allclose(by_feature["size"], by_column[:, 0] + halves)
    np.testing.assert_allclose(by_feature["member"], by_column[:, 1] + halves)
    np.testing.assert_allclose(by_feature["colour"], by_column[:, 4])


def test_a_linear_member_is_explained_against_the_mean_of_its_rows() -> None:
    changed = document()
    changed["encoders"][1]["center"] = [10.0, 0.5, 0.25, 0.5, 0.25, 0.0]
    changed["members"] = [{**changed["members"][1], "weight": 1}]
    model = load_files({**files(), "model.json": canonical_json(changed)})
    base, values = contributions(
        model, model.schema.validate({"size": [5], "member": [True], "colour": ["red"]})
    )
    expected = 0.5 * 2 + 0.25 * -1 + 0.5 * 1 + 0.25 * 0.25
    assert base[0] == pytest.approx(1 / (1 + np.exp(-expected)))
    by_feature = dict(zip(model.schema.names, values[0, 0], strict=True))
    # Size has no weight; member moves the margin by 1, colour by the rest, and both share alike.
    assert by_feature["size"] == 0
    assert by_feature["colour"] / by_feature["member"] == pytest.approx((3 - expected - 1) / 1)


@pytest.mark.parametrize("scale", [pytest.param(1.0, id="usual"), pytest.param(20.0, id="steep")])
def test_contributions_to_three_classes_add_up_for_each_class(scale: float) -> None:
    changed = document() | {"classes": ["a", "b", "c"]}
    changed.pop("positiveLabel")
    changed["members"] = [{**changed["members"][1], "weight": 1}]
    stream = io.BytesIO()
    np.save(stream, scale * np.random.default_rng(1).normal(size=(7, 3)))
    packed = {"model.json": canonical_json(changed), "members/1.npy": stream.getvalue()}
    model = load_files(packed)
    inputs = model.schema.validate({**COLUMNS, "size": [0.5, -0.3, None]})
    base, values = contributions(model, inputs)
    np.testing.assert_allclose(base + values.sum(axis=2), model.predict_inputs(inputs), atol=1e-12)
    np.testing.assert_allclose(values.sum(axis=1), 0.0, atol=1e-6)


@pytest.mark.parametrize(
    "curve",
    [
        pytest.param({"slope": 0.5, "intercept": -1.0}, id="Platt"),
        pytest.param({"inputs": [0.2, 0.5, 0.7], "values": [0.1, 0.1, 0.9]}, id="Isotonic"),
    ],
)
def test_contributions_to_a_calibrated_prediction_add_up_to_it(curve: dict[str, Any]) -> None:
    packed = {**files(), "model.json": canonical_json(document() | {"calibration": [curve]})}
    model = load_files(packed)
    inputs = model.schema.validate(COLUMNS)
    base, values = contributions(model, inputs)
    np.testing.assert_allclose(
        base + values.sum(axis=2), model.predict_inputs(inputs)[:, 1:], atol=1e-12
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("scale", [pytest.param(1.0, id="usual"), pytest.param(20.0, id="steep")])
def test_contributions_at_a_second_level_add_up_to_the_prediction(
    classes: int, scale: float
) -> None:
    outputs = classes if classes > 2 else 1
    second_level = {"scale": "Logit", "intercepts": [0.3, -0.2, 0.0][:outputs]}
    changed = document() | {"classes": ["a", "b", "c"][:classes], "secondLevel": second_level}
    if classes > 2:
        changed.pop("positiveLabel")
        changed["members"] = [{**changed["members"][1], "weight": weight} for weight in (0.9, 0.4)]
    else:
        changed["positiveLabel"] = "b"
    stream = io.BytesIO()
    np.save(stream, scale * np.random.default_rng(1).normal(size=(7, outputs)))
    packed = {**files(), "model.json": canonical_json(changed), "members/1.npy": stream.getvalue()}
    model = load_files(packed)
    inputs = model.schema.validate({**COLUMNS, "size": [0.5, -0.3, None]})
    base, values = contributions(model, inputs)
    predicted = model.predict_inputs(inputs)[:, -outputs:]
    np.testing.assert_allclose(base + values.sum(axis=2), predicted, atol=1e-12)


def test_contributions_of_values_at_a_second_level_add_up_to_the_prediction() -> None:
    second_level = {"scale": "Identity", "intercepts": [-7.0]}
    changed = document() | {"task": "Regression", "classes": [], "secondLevel": second_level}
    changed.pop("positiveLabel")
    changed["members"][0]["weight"] = 1.5
    packed = {**files(), "model.json": canonical_json(changed)}
    packed["members/0.txt"] = trees("regression", (0, 10, 8, -1, 1))
    model = load_files(packed)
    inputs = model.schema.validate(COLUMNS)
    base, values = contributions(model, inputs)
    np.testing.assert_allclose((base + values.sum(axis=2))[:, 0], model.predict_inputs(inputs))


def on_square_roots(*splits: tuple[int, float, int, float, float]) -> Model:
    """Return a model whose one member, of a tree for each split, was fitted on square roots."""
    changed = document() | {"task": "Regression", "classes": []}
    changed.pop("positiveLabel")
    changed["members"] = [{**changed["members"][0], "weight": 1, "link": "Square"}]
    packed = {"members/0.txt": trees("regression", *splits)}
    return load_files({**packed, "model.json": canonical_json(changed)})


def test_contributions_to_a_square_follow_its_slope_even_where_they_cancel() -> None:
    # The second row is 1 above what is expected by its size and as much below by its colour.
    model = on_square_roots((0, 10, 8, 2, 4), (2, 0.5, 10, 1, 3))
    inputs = model.schema.validate(COLUMNS)
    base, values = contributions(model, inputs)
    predicted = model.predict_inputs(inputs)
    np.testing.assert_allclose((base + values.sum(axis=2))[:, 0], predicted, atol=1e-12)
    encoded = model.encoders[0].transform(inputs)
    roots = model.members[0].margin(encoded)[:, 0]
    np.testing.assert_allclose(predicted, roots**2)
    steps = model.members[0].contributions(encoded, np.zeros((1, 3)))[:, 0]
    slopes = roots + steps[:, -1]  # of a square, on the way from the expected root to the row's
    by_feature = dict(zip(model.schema.names, values[:, 0].T, strict=True))
    np.testing.assert_allclose(by_feature["size"], slopes * steps[:, 0], rtol=1e-6)
    np.testing.assert_allclose(by_feature["colour"], slopes * steps[:, 2], rtol=1e-6)


def test_a_square_of_a_negative_root_is_zero() -> None:
    model = on_square_roots((0, 10, 8, -2, 3))
    assert model.predict(COLUMNS).tolist() == [0.0, 9.0, 9.0]


def test_an_expected_root_that_is_its_own_square_is_no_identity() -> None:
    # A tree of the conftest holds a row at each leaf, so the expected root is (-1 + 3) / 2 = 1.
    model = on_square_roots((0, 10, 8, -1, 3))
    inputs = model.schema.validate(COLUMNS)
    base, values = contributions(model, inputs)
    assert base.tolist() == [1.0]
    np.testing.assert_allclose((base + values.sum(axis=2))[:, 0], [0.0, 9.0, 9.0], atol=1e-12)
