"""Every family of models: packed equals fitted, transforms see training rows only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from modelyard.api.identity import canonical_json
from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.model.format import FeatureSchema, MemberDocument, NumericEncoding
from modelyard_runtimes.model.members import open_member
from modelyard_runtimes.model.schema import Inputs, InputSchema
from modelyard_runtimes.train import task
from modelyard_runtimes.train.encoding import Interactions, fit_encoder
from modelyard_runtimes.train.learners.base import Encoded, FitRequest, Packed, Value
from modelyard_runtimes.train.learners.registry import LEARNERS
from modelyard_runtimes.train.refit import ParityError, Refit, check_parity
from modelyard_runtimes.train.space import LEARNER, SQUARE_ROOT, TARGET, portfolio
from modelyard_runtimes.train.task import Goal, SearchData
from modelyard_runtimes.train.trial import Trial, validation_rows

from tests.train.problems import GOALS, make_data

CONFIGURATIONS = [
    pytest.param(parameters, id=f"{parameters[LEARNER]}-{number}")
    for number, parameters in enumerate(portfolio(list(LEARNERS)))
]


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())
@pytest.mark.parametrize("parameters", CONFIGURATIONS)
def test_a_packed_member_predicts_as_the_fitted_one(
    goal: Goal, parameters: dict[str, object]
) -> None:
    data = make_data(goal)
    learner = LEARNERS[str(parameters[LEARNER])]
    chosen = {name: value for name, value in parameters.items() if name != LEARNER}
    train, unseen = np.arange(200), np.arange(200, 300)
    document = fit_encoder(data.inputs.take(train), data.categories, learner.encoding(chosen))
    encoder = Encoder(document)
    rows = Encoded(
        encoder.transform(data.inputs.take(train)), data.target[train], data.weights(train)
    )
    fitted = learner.fit(FitRequest(goal, document, rows, chosen, 1, iterations=30))
    packed = fitted.pack()
    member = open_member(
        MemberDocument(
            type=packed.type,
            learner=str(parameters[LEARNER]),
            trial=0,
            weight=1,
            encoder=0,
            votes=packed.votes,
            file="",
        ),
        packed.content,
        encoder.width,
        goal.task,
    )
    columns = encoder.transform(data.inputs.take(unseen))
    expected = fitted.predict(columns)
    assert expected.shape == (100, goal.outputs)
    np.testing.assert_allclose(member.predict(columns), expected, rtol=fitted.parity, atol=1e-12)
    alone = np.vstack([member.predict(columns[row : row + 1]) for row in range(20)])
    np.testing.assert_allclose(alone, expected[:20], rtol=fitted.parity, atol=1e-12)
    contributions = member.contributions(columns, rows.columns)
    np.testing.assert_allclose(contributions.sum(axis=2), member.margin(columns), atol=1e-9)


@pytest.mark.parametrize("metric", ["rmse", "mae"])
@pytest.mark.parametrize("unit", [pytest.param(1.0, id="large"), pytest.param(1e-4, id="small")])
@pytest.mark.parametrize(
    "parameters", [pytest.param(portfolio([name])[0], id=name) for name in LEARNERS]
)
def test_a_member_on_square_roots_predicts_squares_and_explains_roots(
    parameters: dict[str, Value], unit: float, metric: str
) -> None:
    data = make_data(replace(GOALS["values"], never_negative=True, metric=metric))
    data = replace(data, target=unit * np.square(data.target - data.target.min()))
    on_roots: dict[str, Value] = {**parameters, TARGET: SQUARE_ROOT}
    result, outputs = Trial(0, on_roots, (None, None, None)).run(data)
    assert outputs is not None
    assert outputs.min() >= 0
    assert result.value < 0.5 * data.target.std()

    packed = Refit(result).run(data)
    assert packed.packed.link == "Square"
    document = MemberDocument(
        type=packed.packed.type,
        learner="",
        trial=0,
        weight=1,
        encoder=0,
        link="Square",
        votes=packed.packed.votes,
        file="",
    )
    encoder = Encoder(packed.encoder)
    columns = encoder.transform(data.inputs)
    member = open_member(document, packed.packed.content, encoder.width, "Regression")
    margin = member.margin(columns)
    np.testing.assert_allclose(member.linked(margin), member.predict(columns), atol=1e-9)
    contributions = member.contributions(columns, columns)
    np.testing.assert_allclose(contributions.sum(axis=2), margin, atol=1e-8)
    compiled = open_member(document, packed.packed.content, encoder.width, "Regression")
    compiled.compile()
    np.testing.assert_array_equal(compiled.predict(columns), member.predict(columns))


@pytest.mark.parametrize("parameters", CONFIGURATIONS)
def test_a_trial_of_each_default_is_completed(parameters: dict[str, object]) -> None:
    data = make_data(GOALS["two classes"])
    result, outputs = Trial(0, dict(parameters), (None, None, None)).run(data)  # type: ignore[arg-type]
    assert result.state == "Complete"
    assert outputs is not None
    assert result.value > 0.8


def test_a_packed_member_that_predicts_otherwise_is_refused() -> None:
    data = make_data(GOALS["values"])
    learner = LEARNERS["Linear"]
    chosen = {"penalty": 1e-3, "knots": 0}
    document = fit_encoder(data.inputs, data.categories, learner.encoding(chosen))
    columns = Encoder(document).transform(data.inputs)
    rows = Encoded(columns, data.target, np.ones(len(columns)))
    fitted = learner.fit(FitRequest(data.goal, document, rows, chosen, 1))
    packed = fitted.pack()
    check_parity(fitted, packed, rows, "Regression")
    spoiled = packed.content[:-8] + np.float64(7).tobytes()
    with pytest.raises(ParityError):
        check_parity(fitted, Packed("Linear", spoiled), rows, "Regression")


ITERATIVE = [one for one in CONFIGURATIONS if LEARNERS[str(one.values[0][LEARNER])].iterative]
ROWS = {"few rows": 10_000, "many rows": 300}


@pytest.mark.parametrize("many", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize(
    ("parameters", "folds"),
    [
        *(pytest.param(*one.values, 3, id=one.id) for one in CONFIGURATIONS),
        pytest.param(*CONFIGURATIONS[0].values, 2, id="two folds"),
    ],
)
def test_out_of_fold_predictions_do_not_depend_on_other_rows_of_the_fold(
    parameters: dict[str, object], folds: int, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a fold is judged by decides neither its transforms, nor its fit, nor when that ends."""
    monkeypatch.setattr(task, "MANY_ROWS", many)
    data = make_data(GOALS["two classes"])
    data = replace(data, folds=np.arange(len(data.folds)) % folds)
    canaries = np.flatnonzero(data.folds == 1)[:20]
    numbers, codes, target = (
        part.copy() for part in (data.inputs.numbers, data.inputs.codes, data.target)
    )
    numbers[canaries], codes[canaries], target[canaries] = 1e9, 3, 1 - target[canaries]
    changed = replace(data, inputs=Inputs(numbers, codes, data.inputs.texts), target=target)
    trial = Trial(0, dict(parameters), (None,) * folds)  # type: ignore[arg-type]
    before, after = trial.run(data)[1], trial.run(changed)[1]
    assert before is not None
    assert after is not None
    others = (data.folds == 1) & ~np.isin(np.arange(len(data.folds)), canaries)
    np.testing.assert_array_equal(before[others], after[others])
    assert not np.array_equal(before[data.folds != 1], after[data.folds != 1])


@pytest.mark.parametrize("parameters", ITERATIVE)
@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())
def test_a_fit_that_is_validated_is_the_one_of_the_least_loss(
    goal: Goal, parameters: dict[str, object]
) -> None:
    data = make_data(goal)
    learner = LEARNERS[str(parameters[LEARNER])]
    chosen = {name: value for name, value in parameters.items() if name != LEARNER}
    document = fit_encoder(data.inputs, data.categories, learner.encoding(chosen))
    columns = Encoder(document).transform(data.inputs)
    rows = Encoded(columns, data.target, np.ones(len(columns)))
    train, valid = rows.take(np.arange(200)), rows.take(np.arange(200, 300))
    request = FitRequest(goal, document, train, chosen, 1, valid=valid)
    found = learner.fit(request)
    best = int(np.argmin(found.losses)) + 1
    assert best < len(found.losses), "later iterations are worse"
    again = learner.fit(replace(request, valid=None, iterations=best))
    np.testing.assert_allclose(found.predict(columns), again.predict(columns), atol=1e-9)


@pytest.mark.parametrize("many", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_iterations_are_found_on_rows_of_other_folds_that_have_every_class(
    folds: int, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "MANY_ROWS", many)
    data = make_data(GOALS["three classes"])
    data = replace(data, folds=np.arange(len(data.folds)) % folds)
    for fold in range(folds):
        valid = validation_rows(data, fold)
        judged = data.folds == fold
        assert not (valid & judged).any()
        assert set(data.target[valid]) == set(data.target[~valid & ~judged]) == {0, 1, 2}


def rows_of_classes(counts: Sequence[int], folds: int) -> SearchData:
    """Return rows with a number, so many of each class, dealt to folds in turns."""
    target = np.repeat(np.arange(len(counts), dtype=np.float64), counts)
    data = make_data(GOALS["three classes" if len(counts) == 3 else "two classes"], len(target))
    return replace(data, target=target, folds=np.arange(len(target)) % folds)


@pytest.mark.parametrize("many", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("folds", [2, 3, 5])
@pytest.mark.parametrize(
    "counts",
    [
        pytest.param((40, 2), id="two rows of two classes"),
        pytest.param((2, 40), id="two rows of the first class"),
        pytest.param((41, 3), id="three rows"),
        pytest.param((20, 20, 2), id="two rows of three classes"),
        pytest.param((2, 4, 30), id="few rows of two classes"),
        pytest.param((8, 2), id="few rows at all"),
    ],
)
def test_the_last_row_of_a_class_is_left_to_fit_on(
    counts: Sequence[int], folds: int, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "MANY_ROWS", many)
    data = rows_of_classes(counts, folds)
    for fold in range(folds):
        valid, seen = validation_rows(data, fold), data.folds != fold
        assert valid.any()
        assert not (valid & ~seen).any()
        assert set(data.target[seen & ~valid]) == set(data.target[seen])


@pytest.mark.parametrize("parameters", ITERATIVE)
def test_a_class_of_two_rows_in_two_folds_is_learned(parameters: dict[str, object]) -> None:
    data = rows_of_classes((41, 2), folds=2)
    result, _ = Trial(0, dict(parameters), (None, None)).run(data)  # type: ignore[arg-type]
    assert result.state == "Complete"


@pytest.mark.parametrize("rows", [2, 3, 5, 9, 10, 11, 40])
def test_few_rows_beside_one_fold_are_enough_to_find_iterations_on(rows: int) -> None:
    data = make_data(GOALS["values"], 6 + rows)
    data = replace(data, folds=np.where(np.arange(6 + rows) < 6, 0, task.ONLY_FITTED))
    valid = validation_rows(data, 0)
    assert valid.sum() == max(1, rows // 10)
    assert not (valid & data.left_out(0)).any()


@pytest.mark.parametrize("parameters", ITERATIVE)
def test_a_model_is_fitted_to_few_rows_beside_one_fold(parameters: dict[str, object]) -> None:
    data = make_data(GOALS["values"], 14)
    data = replace(data, folds=np.where(np.arange(14) < 6, np.arange(14) % 2, task.ONLY_FITTED))
    result, _ = Trial(0, dict(parameters), (None,)).run(data)  # type: ignore[arg-type]
    assert result.state == "Complete"


@pytest.mark.parametrize("huge", [1e40, 1e200, 1.7e308], ids="{:g}".format)
@pytest.mark.parametrize("parameters", CONFIGURATIONS)
def test_numbers_of_any_size_are_learned_from_and_packed(
    parameters: dict[str, object], huge: float
) -> None:
    data = make_data(GOALS["values"])
    numbers = data.inputs.numbers
    numbers[:20, 0], numbers[20:30, 1], numbers[30:40, 1] = huge, huge, -huge
    # All that is known of a column is huge, so that a split parts the missing from the largest.
    numbers[:, 2] = np.where(data.target > 0, huge, np.nan)
    result, _ = Trial(0, dict(parameters), (None, None, None)).run(data)  # type: ignore[arg-type]
    assert result.value < data.target.std()
    member = Refit(result).run(data)
    assert canonical_json(member.encoder.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param("None", [], id="none"),
        pytest.param("Sums", [[1 + 10, 1 - 10], [np.nan] * 2, [3 + 0, 3 - 0]], id="sums"),
        pytest.param("Ratios", [[0.1], [np.nan], [np.nan]], id="ratios"),
    ],
)
def test_interactions_pair_columns_of_many_values_in_units_of_the_training_rows(
    kind: str, expected: list[list[float]]
) -> None:
    generator = np.random.default_rng(2)
    numbers = np.column_stack([generator.normal(size=(50, 2)), generator.integers(0, 2, 50)])
    numbers[0, 0] = np.nan
    numbers[:, :2] /= np.nanstd(numbers[:, :2], axis=0)
    empty = np.zeros((50, 0), dtype=np.int32)
    chosen = dict(portfolio(["LightGBM"])[0], interactions=kind)
    document = fit_encoder(Inputs(numbers, empty), [], LEARNERS["LightGBM"].encoding(chosen))
    unseen = np.array([[1.0, 10.0, 0.0], [np.nan, 1.0, 1.0], [3.0, 0.0, 1.0]])
    encoded = Encoder(document).transform(Inputs(unseen, empty[:3]))
    np.testing.assert_array_equal(encoded[:, :3], unseen)
    np.testing.assert_allclose(encoded[:, 3:], np.array(expected).reshape(3, -1))
    features = [FeatureSchema(name=name, type="Numeric", required=True) for name in "abc"]
    sources = Encoder(document).sources(InputSchema(features))
    assert sources[3:] == [(0, 1)] * len(expected[0] if expected else [])


def test_transforms_are_those_of_the_rows_they_were_fitted_on() -> None:
    options = LEARNERS["Linear"].encoding({"penalty": 1, "knots": 0})
    numbers = np.array([[1.0], [2.0], [np.nan], [6.0]])
    codes = np.array([[0], [0], [1], [4]], dtype=np.int32)
    document = fit_encoder(Inputs(numbers, codes), [3], replace(options, min_count=2))
    assert document.numeric.fill == [2.0]
    assert document.numeric.mean == [2.75]
    assert document.numeric.indicators == [0]
    # Category 0 is frequent; 1 and 2 are rare, as an unknown one is; missing stands apart.
    assert document.categorical.levels == [[0, 1, 1, 1, 2]]


def fitted_numbers(
    *columns: Sequence[float], interactions: Interactions = "None"
) -> NumericEncoding:
    """Return what scales these columns, makes hinges and pairs them."""
    options = LEARNERS["Linear"].encoding({"penalty": 1, "knots": 3})
    inputs = Inputs(np.column_stack(columns), np.zeros((len(columns[0]), 0), dtype=np.int32))
    document = fit_encoder(inputs, [], replace(options, interactions=interactions))
    assert canonical_json(document.model_dump(mode="json"))
    return document.numeric


@pytest.mark.parametrize("rows", [2, 7, 300])
@pytest.mark.parametrize("value", [0.1, -1 / 3, 1e-300, 1e40, 1.7e308])
def test_a_column_of_equal_values_is_centred_and_not_scaled(value: float, rows: int) -> None:
    numeric = fitted_numbers([value] * rows, [value] * (rows - 1) + [np.nan])
    assert numeric.mean == [value] * 2
    assert numeric.scale == [1.0] * 2
    assert numeric.fill == [value] * 2
    assert numeric.knots == [[], []]


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e200, 1e307], ids="{:g}".format)
def test_a_column_of_any_unit_is_scaled_as_in_another(unit: float) -> None:
    values = np.random.default_rng(4).normal(size=300)
    plain, other = (
        fitted_numbers(values * one, values**2 * one, interactions="Sums") for one in (1.0, unit)
    )
    np.testing.assert_allclose(np.array(other.mean) / unit, plain.mean, rtol=1e-9)
    np.testing.assert_allclose(np.array(other.scale) / unit, plain.scale, rtol=1e-9)
    np.testing.assert_allclose(other.knots, plain.knots, rtol=1e-9)
    weights = [np.array([pair.weights for pair in one.interactions]) for one in (plain, other)]
    np.testing.assert_allclose(weights[1] * unit, weights[0], rtol=1e-9)


def test_deviations_too_small_to_divide_by_count_as_none() -> None:
    tiny = [step * 5e-324 for step in range(4)]
    numeric = fitted_numbers(tiny, tiny, interactions="Sums")
    assert numeric.scale == [1.0, 1.0]
    assert [pair.weights for pair in numeric.interactions] == [(1.0, 1.0), (1.0, -1.0)]


@pytest.mark.parametrize("columns", [1, 2, 9])
def test_ordinary_numbers_are_scaled_by_mean_and_standard_deviation(columns: int) -> None:
    generator = np.random.default_rng(columns)
    numbers = generator.normal(size=(301, columns)) * 10.0 ** generator.integers(-6, 6, columns)
    numeric = fitted_numbers(*numbers.T, interactions="Sums")
    assert numeric.mean == numbers.mean(axis=0).tolist()
    assert numeric.scale == numbers.std(axis=0).tolist()
    for pair in numeric.interactions:
        left, right = (1 / numbers[:, side].copy().std() for side in (pair.left, pair.right))
        assert np.abs(pair.weights).tolist() == [left, right]
