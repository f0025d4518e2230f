"""A single row gets, without arrays, exactly what the model gives it, or is left to the model."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from modelyard_runtimes.model import Model, ModelDocument, Packed, ValidationError
from modelyard_runtimes.model.compile_trees import compile_trees
from modelyard_runtimes.model.compiled_trees import CompiledTrees
from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.model.format import SecondLevel
from modelyard_runtimes.model.schema import InputSchema
from modelyard_runtimes.model.single import SingleRow
from modelyard_runtimes.model.single_encoder import single_encoder

from .conftest import trees

NAMES = ("colour", "member", "size")
MISSING_LEFT, MISSING_RIGHT = 10, 8
NUMERIC = {"fill": [None, None], "mean": [0, 0], "scale": [1, 1]}
CATEGORICAL = {"style": "Ordinal", "levels": [[0, 1, 2, 3]]}


SPLITS = [
    (0, 0.5, MISSING_LEFT, -0.3, 0.4),
    (1, 0.25, MISSING_RIGHT, 0.1, -0.8),
    (1, 1e3, MISSING_LEFT, 0.7, 1.1),
    (2, 0.5, MISSING_LEFT, -0.2, 0.9),
    (2, 2.5, MISSING_LEFT, 0.05, 1.7),
]
"""A split for each column, the second of numbers and the levels twice."""

PAIRS = [
    {"kind": "Sum", "left": 0, "right": 1, "weights": [0.1, -3.0]},
    {"kind": "Ratio", "left": 1, "right": 0},
    {"kind": "Ratio", "left": 0, "right": 1},
    {"kind": "Sum", "left": 0, "right": 1, "weights": [0.7, 1e307]},
]
SPLITS_OF_PAIRS = [
    (1, 0.25, MISSING_RIGHT, 0.1, -0.8),
    (2, 0.1, MISSING_LEFT, -0.3, 0.4),
    (2, -1.7, MISSING_RIGHT, 0.2, -0.15),
    (3, -0.6, MISSING_RIGHT, 0.7, 1.3),
    (4, 1.5, MISSING_LEFT, -0.25, 0.9),
    (5, 1e307, MISSING_RIGHT, 0.35, -0.45),
    (6, 1.5, MISSING_LEFT, 0.05, 1.7),
]
"""A split for each kind of column, those of pairs between numbers and levels."""


def document(**changes: Any) -> ModelDocument:
    member = {"type": "Trees", "learner": "LightGBM", "trial": 0, "encoder": 0}
    fields = {
        "task": "Classification",
        "target": "bought",
        "classes": ["no", "yes"],
        "positiveLabel": "yes",
        "features": [
            {
                "name": "colour",
                "type": "Categorical",
                "required": False,
                "categories": ["blue", "red"],
            },
            {"name": "member", "type": "Boolean", "required": False},
            {"name": "size", "type": "Numeric", "required": True},
        ],
        "encoders": [{"numeric": NUMERIC, "categorical": CATEGORICAL}],
        "members": [
            {**member, "weight": 0.3, "file": "members/0.txt"},
            {**member, "weight": 0.7, "file": "members/1.txt"},
        ],
        **changes,
    }
    return ModelDocument.model_validate(fields)


def packed(**changes: Any) -> Packed:
    found = document(**changes)
    objective = "binary sigmoid:1" if found.task == "Classification" else "regression"
    splits = SPLITS_OF_PAIRS if found.encoders[0].numeric.interactions else SPLITS
    width = Encoder(found.encoders[0]).width
    splits = [split for split in splits if split[0] < width]
    text = trees(objective, *splits, columns=width)
    return Packed(found, {"members/0.txt": text, "members/1.txt": text})


REGRESSION = {"task": "Regression", "classes": [], "positiveLabel": None}
WITH_PAIRS = {
    "encoders": [
        {"numeric": {**NUMERIC, "interactions": PAIRS}, "categorical": CATEGORICAL},
    ]
}
NUMERIC_OF_ONE = {"fill": [None], "mean": [0], "scale": [1]}
OF_SOME = {
    "encoders": [
        {
            "selection": {"numbers": [1], "codes": [0], "texts": []},
            "numeric": NUMERIC_OF_ONE,
            "categorical": CATEGORICAL,
        }
    ]
}
OF_NUMBERS = {
    "encoders": [
        {
            "selection": {"numbers": [0, 1], "codes": [], "texts": []},
            "numeric": NUMERIC,
            "categorical": {**CATEGORICAL, "levels": []},
        }
    ]
}
ONE_ON_SQUARE_ROOTS = [
    {"type": "Trees", "learner": "LightGBM", "trial": 0, "encoder": 0, **changes}
    for changes in (
        {"weight": 0.3, "file": "members/0.txt", "link": "Square"},
        {"weight": 0.7, "file": "members/1.txt"},
    )
]
MODELS: dict[str, dict[str, Any]] = {
    "two classes": {},
    "regression": REGRESSION,
    "pairs of numbers": WITH_PAIRS,
    "regression by pairs": {**REGRESSION, **WITH_PAIRS},
    "some features": OF_SOME,
    "no categories": OF_NUMBERS,
    "a member on square roots": {**REGRESSION, "members": ONE_ON_SQUARE_ROOTS},
    "steps of a scale": {
        "features": [
            {"name": "colour", "type": "Ordinal", "required": False, "categories": ["blue", "red"]},
            {"name": "member", "type": "Boolean", "required": False},
            {"name": "size", "type": "Numeric", "required": True},
        ],
        "encoders": [
            {
                "numeric": {"fill": [None] * 3, "mean": [0] * 3, "scale": [1] * 3},
                "categorical": {**CATEGORICAL, "levels": []},
            }
        ],
    },
}
ODD = [
    True,
    False,
    0,
    1,
    2,
    -1.5,
    1e308,
    2**64,
    10**400,
    float("inf"),
    float("nan"),
    None,
    "red",
    "green",
    "",
    "true",
    "1",
    [],
    {},
    ["red"],
]


@pytest.mark.parametrize("changes", MODELS.values(), ids=list(MODELS))
def test_10_000_rows_get_what_the_model_gives_them(changes: dict[str, Any]) -> None:
    whole, single = Model(*packed(**changes)), SingleRow(packed(**changes))
    random = np.random.default_rng(7)
    rows = {
        "size": [None if value < -2 else float(value) for value in random.normal(0, 1, 10_000)],
        "member": random.choice([True, False, None], 10_000).tolist(),
        "colour": random.choice(["red", "blue", "green", None], 10_000).tolist(),
    }
    expected = whole.predict(rows).reshape(10_000, -1).tolist()

    found = [single.predict(row) for row in zip(*(rows[name] for name in NAMES), strict=True)]

    assert found == expected
    assert len({tuple(row) for row in expected}) > 3


@pytest.mark.parametrize("changes", MODELS.values(), ids=list(MODELS))
def test_an_odd_row_gets_the_same_or_is_left_to_the_model(changes: dict[str, Any]) -> None:
    whole, single = Model(*packed(**changes)), SingleRow(packed(**changes))
    for size, member, colour in itertools.product(ODD, repeat=3):
        columns = {"size": [size], "member": [member], "colour": [colour]}
        found = single.predict([columns[name][0] for name in NAMES])
        try:
            expected = whole.predict(columns)[0]
        except ValidationError:
            assert found is None, columns
        else:
            assert found in (None, np.atleast_1d(expected).tolist()), columns


def of(changes: dict[str, Any], **members: Any) -> dict[str, Any]:
    encoder = {"numeric": NUMERIC, "categorical": CATEGORICAL, **changes}
    return {"encoders": [encoder], **members}


FULL_NUMERIC = {
    "fill": [0.25, None],
    "mean": [0.5, -2.0],
    "scale": [0.3, 7.0],
    "indicators": [1, 0],
    "knots": [[0.1, 0.9], [-0.4]],
    "interactions": PAIRS[:3],
}
ONE_HOT = {"style": "OneHot", "levels": [[0, 1, 1, 2]]}
ENCODERS: dict[str, dict[str, Any]] = {
    "numbers are filled": {"numeric": {**NUMERIC, "fill": [0, None]}},
    "numbers are scaled": {"numeric": {**NUMERIC, "scale": [1, 3]}},
    "numbers are shifted": {"numeric": {**NUMERIC, "mean": [0, 2]}},
    "what is missing is told": {"numeric": {**NUMERIC, "indicators": [0]}},
    "numbers have hinges": {"numeric": {**NUMERIC, "knots": [[1.0], []]}},
    "categories are spread": {"categorical": ONE_HOT},
    "a number is made of a category": {
        "numeric": {"fill": [None] * 3, "mean": [0] * 3, "scale": [1] * 3},
        "derived": [{"kind": "CategoryNumbers", "code": 0, "values": [1, 2, 3, 4]}],
    },
    "a number is put into a bin": {
        "numeric": {"fill": [None] * 3, "mean": [0] * 3, "scale": [1] * 3},
        "derived": [{"kind": "Bins", "number": 1, "edges": [-1.0, 0.0, 0.5]}],
    },
    "numbers are combined": {
        "numeric": {"fill": [None] * 6, "mean": [0] * 6, "scale": [1] * 6},
        "derived": [
            {"kind": "NumberPair", "left": 0, "right": 1, "operation": operation}
            for operation in ("Sum", "Difference", "Product", "Ratio")
        ],
    },
    "a number is made of two categories": {
        "numeric": {"fill": [None] * 3, "mean": [0] * 3, "scale": [1] * 3},
        "derived": [
            {
                "kind": "CategoryPairNumbers",
                "left": 0,
                "right": 0,
                "values": [[4 * row + column for column in range(4)] for row in range(4)],
            }
        ],
    },
    "all at once": {"numeric": FULL_NUMERIC, "categorical": ONE_HOT},
    "all at once of some features": {
        "selection": {"numbers": [1], "codes": [], "texts": []},
        "numeric": FULL_NUMERIC,
        "categorical": {**ONE_HOT, "levels": []},
        "derived": [{"kind": "CategoryNumbers", "code": 0, "values": [1, 2, 3, 4]}],
    },
}


@pytest.mark.parametrize("changes", ENCODERS.values(), ids=list(ENCODERS))
def test_an_encoder_of_one_row_makes_the_columns_that_the_encoder_of_many_makes(
    changes: dict[str, Any],
) -> None:
    found = document(**of(changes))
    many, schema = Encoder(found.encoders[0]), InputSchema(found.features)
    features = sorted(found.features, key=lambda feature: feature.type == "Categorical")
    one = single_encoder(features, found.encoders[0])
    assert one.width == many.width
    for size, member, colour in itertools.product(
        [-1.5, 0, 0.25, 0.9, 3, None], [True, False, None], ["red", "blue", "green", None]
    ):
        values = {"size": size, "member": member, "colour": colour}
        expected = many.transform(schema.validate({name: [values[name]] for name in NAMES}))

        encoded = one.encode([values[feature.name] for feature in features])

        assert encoded is not None
        np.testing.assert_array_equal(encoded, expected[0])


def linear(task: str, classes: int) -> Packed:
    """Return a linear model behind all transforms."""
    outputs = 1 if classes < 3 else classes
    filled = {"fill": [0.25, -1.0], "interactions": PAIRS[:1]}
    changes = of({"numeric": {**FULL_NUMERIC, **filled}, "categorical": ONE_HOT})
    member = {"trial": 0, "encoder": 0}
    found = document(
        **changes,
        task=task,
        classes=["a", "b", "c"][:classes],
        positiveLabel="b" if classes == 2 else None,
        members=[
            {
                **member,
                "type": "Linear",
                "learner": "Linear",
                "weight": 1.0,
                "file": "members/0.npy",
            }
        ],
    )
    width = Encoder(found.encoders[0]).width
    content = io.BytesIO()
    np.save(content, np.random.default_rng(5).normal(size=(width + 1, outputs)))
    return Packed(found, {"members/0.npy": content.getvalue()})


TASKS = {
    "two classes": ("Classification", 2),
    "three classes": ("Classification", 3),
    "values": ("Regression", 0),
}


@pytest.mark.parametrize(("task", "classes"), TASKS.values(), ids=list(TASKS))
def test_a_linear_model_gives_a_single_row_what_it_gives_many(task: str, classes: int) -> None:
    model = linear(task, classes)
    whole, single = Model(*model), SingleRow(model)
    for size, member, colour in itertools.product(ODD, repeat=3):
        columns = {"size": [size], "member": [member], "colour": [colour]}
        found = single.predict([columns[name][0] for name in NAMES])
        try:
            with np.errstate(all="ignore"):
                expected = np.atleast_1d(whole.predict(columns)[0])
        except ValidationError:
            assert found is None, columns
        else:
            if found is not None:
                np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=str(columns))
    assert single.predict(["red", True, 3.0]) is not None


OTHERS: dict[str, dict[str, Any]] = {
    "words": of({"texts": [{"words": ["a"], "idf": [1.0]}]}),
    "a date": {"features": [{"name": "since", "type": "Datetime", "required": False}]},
    "no features": {"features": []},
    "a network": {
        "members": [
            {
                "type": "MLP",
                "learner": "MLP",
                "trial": 0,
                "weight": 1.0,
                "encoder": 0,
                "file": "members/0.npy",
            }
        ]
    },
    "neighbours": {
        "members": [
            {
                "type": "Neighbors",
                "learner": "KNeighbors",
                "trial": 0,
                "weight": 1.0,
                "encoder": 0,
                "votes": {"neighbors": 1, "weighting": "Uniform"},
                "file": "members/0.npy",
            }
        ]
    },
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=list(OTHERS))
def test_other_models_are_not_known(changes: dict[str, Any]) -> None:
    assert SingleRow.is_known(document())
    assert not SingleRow.is_known(document(**changes))


CURVES = {
    "Platt": {"slope": 0.4, "intercept": -0.2},
    "Isotonic": {"inputs": [0.1, 0.4, 0.6], "values": [0.05, 0.3, 0.9]},
    "Isotonic, beyond its ends": {"inputs": [0.7, 0.8], "values": [0.25, 0.5]},
}


@pytest.mark.parametrize("curve", [pytest.param(curve, id=name) for name, curve in CURVES.items()])
def test_a_calibrated_model_gives_a_single_row_what_it_gives_many(curve: dict[str, Any]) -> None:
    calibrated = packed(calibration=[curve])
    row = {"colour": ["red"], "member": [True], "size": [3.0]}
    found = SingleRow(calibrated).predict([row[name][0] for name in NAMES])
    np.testing.assert_allclose([found], Model(*calibrated).predict(row), rtol=1e-12)
    assert not np.allclose([found], Model(*packed()).predict(row))


SECOND_LEVELS: dict[str, dict[str, Any]] = {
    "two classes": {"second_level": {"scale": "Logit", "intercepts": [0.3]}},
    "two classes, calibrated": {
        "second_level": {"scale": "Logit", "intercepts": [0.3]},
        "calibration": [CURVES["Platt"]],
    },
    "values": {**REGRESSION, "second_level": {"scale": "Identity", "intercepts": [-2.0]}},
}


@pytest.mark.parametrize("changes", SECOND_LEVELS.values(), ids=list(SECOND_LEVELS))
def test_a_second_level_gives_a_single_row_what_it_gives_many(changes: dict[str, Any]) -> None:
    model = packed(**changes)
    whole, single = Model(*model), SingleRow(model)
    for size, member, colour in itertools.product([-1.5, 0.25, None], [True, None], ["red", "x"]):
        row = {"colour": [colour], "member": [member], "size": [size]}
        found = single.predict([row[name][0] for name in NAMES])
        np.testing.assert_allclose(found, np.atleast_1d(whole.predict(row)[0]), rtol=1e-12)


def test_a_second_level_of_three_classes_gives_a_single_row_what_it_gives_many() -> None:
    plain = linear("Classification", 3)
    stacked = {"scale": "Logit", "intercepts": [0.1, -0.4, 0.0]}
    changed = plain.document.model_copy(
        update={"second_level": SecondLevel.model_validate(stacked)}
    )
    model = Packed(changed, plain.files)
    row = {"colour": ["red"], "member": [True], "size": [0.2]}
    found = SingleRow(model).predict(["red", True, 0.2])
    np.testing.assert_allclose(found, Model(*model).predict(row)[0], rtol=1e-12)
    assert not np.allclose(found, Model(*plain).predict(row)[0])


def of_three_classes() -> Packed:
    """Return trees of three classes beside a linear member."""
    model = linear("Classification", 3)
    (linear_member,) = model.document.members
    trees_member = {"type": "Trees", "learner": "LightGBM", "weight": 0.4, "file": "members/1.txt"}
    members = [
        linear_member.model_copy(update={"weight": 0.6}),
        linear_member.model_copy(update=trees_member),
    ]
    document = model.document.model_copy(update={"members": members})
    splits = [*SPLITS, (3, 0.5, MISSING_RIGHT, -0.4, 0.2)]
    text = trees("multiclass num_class:3", *splits, columns=Encoder(document.encoders[0]).width)
    for name in (b"num_class", b"num_tree_per_iteration"):
        text = text.replace(name + b"=1\n", name + b"=3\n")
    return Packed(document, {**model.files, "members/1.txt": text})


OF_TREES: dict[str, Packed] = {
    **{name: packed(**changes) for name, changes in MODELS.items()},
    "all transforms": packed(**of(ENCODERS["all at once"])),
    **{f"calibrated, {name}": packed(calibration=[curve]) for name, curve in CURVES.items()},
    **{f"a second level, {name}": packed(**changes) for name, changes in SECOND_LEVELS.items()},
    "three classes, and a linear member": of_three_classes(),
}


@pytest.mark.parametrize("model", OF_TREES.values(), ids=list(OF_TREES))
def test_compiled_trees_change_nothing(model: Packed, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    limits = [0.25, 0.5, 0.1, -1.7, 1e3, 1e307, np.nextafter(0.25, 0), np.nextafter(0.25, 1), 0.0]
    sizes = random.choice([None, *limits, *random.normal(size=20)], 2000).tolist()
    members = random.choice([True, False, None], 2000).tolist()
    colours = random.choice(["red", "blue", "green", None], 2000).tolist()
    rows = [*zip(colours, members, sizes, strict=True), *itertools.product(ODD, repeat=3)]
    single = SingleRow(model)
    before = [single.predict(row) for row in rows]

    for member in single.trees():
        path = tmp_path / str(member.position)
        compile_trees(member.text, member.columns, path)
        single.evaluate_by(member.position, CompiledTrees(path).predict_one)

    assert [single.predict(row) for row in rows] == before
    assert None in before
    assert single.asked == 2 * len(rows)
