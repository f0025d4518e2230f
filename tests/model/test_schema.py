"""Inputs are typed, or refused with the field's name and without its value."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from modelyard_runtimes.model import FeatureSchema, InputSchema, ValidationError

KINDS = {
    "number": "Numeric",
    "flag": "Boolean",
    "category": "Categorical",
    "moment": "Datetime",
    "text": "Text",
}


@pytest.fixture
def schema() -> InputSchema:
    return InputSchema(
        [
            FeatureSchema(
                name=name,
                type=kind,
                required=name == "number",
                categories=["1", "a", "true"] if kind == "Categorical" else [],
            )
            for name, kind in KINDS.items()
        ]
    )


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        pytest.param("number", "12", "must be a number, not a text", id="text as number"),
        pytest.param("number", True, "must be a number, not a boolean", id="boolean as number"),
        pytest.param("number", [1], "must be a number, not a list", id="list as number"),
        pytest.param("number", float("inf"), "must be finite", id="infinity"),
        pytest.param("number", 10**400, "must be finite", id="huge integer"),
        pytest.param("flag", 2, "must be true or false", id="2 as boolean"),
        pytest.param("flag", "yes", "must be true or false", id="text as boolean"),
        pytest.param("category", {"a": 1}, "not an object", id="object as category"),
        pytest.param("moment", "soon", "ISO 8601", id="word as time"),
        pytest.param("moment", 3, "must be a date or time", id="number as time"),
        pytest.param("text", 3, "must be a text", id="number as text"),
    ],
)
def test_a_value_of_another_type_is_refused(
    schema: InputSchema, field: str, value: Any, expected: str
) -> None:
    columns = {"number": [0.5, 0.5], field: [None, value]}
    with pytest.raises(ValidationError, match=expected) as refused:
        schema.validate(columns)
    assert (refused.value.field, refused.value.row) == (field, 1)


def test_a_required_column_must_be_there(schema: InputSchema) -> None:
    with pytest.raises(ValidationError, match="'number': is missing"):
        schema.validate({"text": ["x"]})


def test_columns_must_have_equally_many_rows(schema: InputSchema) -> None:
    with pytest.raises(ValidationError, match="'flag': has 1 rows, others have 2"):
        schema.validate({"number": [1, 2], "flag": [True]})


@pytest.mark.parametrize(
    ("value", "code"),
    [
        pytest.param("a", 1, id="known"),
        pytest.param("b", 3, id="unknown is other"),
        pytest.param(None, 4, id="missing"),
        pytest.param(float("nan"), 4, id="NaN is missing"),
        pytest.param(1, 0, id="integer"),
        pytest.param(1.0, 0, id="float of an integer"),
        pytest.param(True, 2, id="boolean"),
    ],
)
def test_categories_become_codes(schema: InputSchema, value: Any, code: int) -> None:
    inputs = schema.validate({"number": [0], "category": [value]})
    assert inputs.codes.tolist() == [[code]]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("2024-02-29T18:30:00Z", id="RFC 3339"),
        pytest.param("2024-02-29T18:30:00", id="without zone is UTC"),
        pytest.param("2024-02-29T20:30:00+02:00", id="another zone"),
        pytest.param(dt.datetime(2024, 2, 29, 18, 30, tzinfo=dt.UTC), id="datetime"),
    ],
)
def test_times_become_parts(schema: InputSchema, value: Any) -> None:
    parts = schema.validate({"number": [0], "moment": [value]}).numbers[0, 2:]
    np.testing.assert_allclose(parts, [19782 + 18.5 / 24, 2024, 2, 29, 3, 18.5])


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()], ids=str)
@pytest.mark.parametrize("gap", [[], [None]], ids=["complete", "with a gap"])
def test_integers_that_are_one_float_are_different_categories(
    kind: pa.DataType, gap: list[None]
) -> None:
    integers = [2**53, 2**53 + 1, 2**60, 2**60 + 1]
    features = [
        FeatureSchema(
            name="id", type="Categorical", required=True, categories=list(map(str, integers))
        ),
        FeatureSchema(name="number", type="Numeric", required=True),
    ]
    column = pa.array([*integers, *gap], kind)
    inputs = InputSchema(features).validate(pa.table({"id": column, "number": column}))
    assert inputs.codes[:, 0].tolist() == [0, 1, 2, 3, *(5 for _ in gap)]
    expected = [2.0**53, 2.0**53, 2.0**60, 2.0**60, *(np.nan for _ in gap)]
    np.testing.assert_array_equal(inputs.numbers[:, 0], expected)


def test_arrow_and_lists_give_the_same(schema: InputSchema) -> None:
    moments = [dt.datetime(2024, 1, 2, 3, tzinfo=dt.UTC), None]
    columns = {
        "number": [1, 2],
        "flag": [True, None],
        "category": ["a", None],
        "moment": moments,
        "text": ["x y", None],
    }
    table = pa.table({**columns, "moment": pa.array(moments, pa.timestamp("us", tz="UTC"))})
    from_lists, from_arrow = schema.validate(columns), schema.validate(table)
    np.testing.assert_array_equal(from_lists.numbers, from_arrow.numbers)
    np.testing.assert_array_equal(from_lists.codes, from_arrow.codes)
    assert list(from_lists.texts) == list(from_arrow.texts)
