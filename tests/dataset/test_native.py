"""What a Parquet file says with types, it says as its texts would."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modelyard_runtimes.dataset.merge import merge
from modelyard_runtimes.dataset.schema import apply_types
from modelyard_runtimes.dataset.types import Inferred
from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.tables.cells import cell_text, column_texts, text_table
from modelyard_runtimes.tables.rows import MOMENT, ReadFile

NULL_TEXTS = ["", "NA", "nan"]
WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9)
CELLS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "integers": (pa.int64(), WHOLE),
    "floats": (pa.float64(), st.floats() | st.floats(-9, 9)),
    "whole floats": (pa.float64(), WHOLE.map(float)),
    "moments": (MOMENT, st.datetimes()),
    "late moments": (MOMENT, st.datetimes(datetime(2200, 1, 1), datetime(2300, 1, 1))),
    "truth values": (pa.bool_(), st.booleans()),
}
DECLARED = [None, "Numeric", "Boolean", "Datetime", "Text", "Image", "Identifier"]


@pytest.mark.parametrize(("kind", "values"), CELLS.values(), ids=list(CELLS))
@pytest.mark.parametrize("name", ["amount", "order_id"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_typed_cells_become_what_their_texts_would(
    name: str, kind: Any, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    cells = data.draw(st.lists(st.none() | values, max_size=30))
    wanted = data.draw(st.sampled_from(DECLARED))
    declared = {name: Inferred(wanted, "declared")} if wanted else {}
    typed = pa.table({name: pa.array(cells, kind)})

    found = [
        apply_types(merge([ReadFile("rows", table)], NULL_TEXTS).table, declared)
        for table in (typed, text_table(typed))
    ]

    assert found[0].table.equals(found[1].table)
    assert found[0].types == found[1].types
    assert {name: rows.tolist() for name, rows in found[0].misfits.items()} == {
        name: rows.tolist() for name, rows in found[1].misfits.items()
    }


SAME = [
    pytest.param(
        pa.float64(), st.floats() | st.floats(-1e12, 1e12) | st.floats(-1e-3, 1e-3), id="8"
    ),
    pytest.param(pa.float32(), st.floats(-(2**24), 2**24, width=32), id="4"),
]


@pytest.mark.parametrize(("kind", "values"), SAME)
@given(data=st.data())
def test_a_float_is_the_same_category_in_every_container(
    kind: Any, values: st.SearchStrategy[float], data: st.DataObject
) -> None:
    odd = st.sampled_from([1e-5, 1e-7, -0.0, 0.1, 4044548.75])
    cells = data.draw(st.lists(st.none() | values | odd))
    columns = pa.chunked_array([pa.array(cells, kind)])
    numbers = [float(str(number)) for number in columns.to_numpy()]  # as JSON has them

    found = column_texts(columns).to_pylist()
    assert found == [None if math.isnan(number) else category_text(number) for number in numbers]
    assert found == [cell_text(number) for number in numbers]


STORED: dict[str, tuple[Any, list[Any], list[str | None]]] = {
    "bytes": (pa.binary(), [b"ab", None], ["ab", None]),
    "bytes of a fixed length": (pa.binary(2), [b"ab", b"\xff\x00"], ["ab", "\\xff\x00"]),
    "large bytes": (pa.large_binary(), [b"\xff"], ["\\xff"]),
    "floats of two bytes": (pa.float16(), [0.5, 3.0, None], ["0.5", "3", None]),
}


@pytest.mark.parametrize(("kind", "values", "texts"), STORED.values(), ids=list(STORED))
def test_whatever_is_stored_has_a_text(kind: Any, values: list[Any], texts: list[str]) -> None:
    assert column_texts(pa.chunked_array([pa.array(values, kind)])).to_pylist() == texts


FLOATS = {
    1e-5: "1e-05",
    1e20: "1e+20",
    2.0**53: "9007199254740992.0",
    1.5e11 + 0.25: "150000000000.25",
}


def test_floats_are_written_as_python_does_but_for_whole_ones() -> None:
    found = column_texts(pa.chunked_array([pa.array([*FLOATS, -0.0, 3.0, math.nan, None])]))

    assert found.to_pylist() == [*FLOATS.values(), "0", "3", None, None]


@pytest.mark.parametrize("null_text", ["-999", "true", "1970-01-01 00:00:00.000000"])
def test_a_text_that_means_missing_counts_for_typed_cells_too(null_text: str) -> None:
    table = pa.table(
        {
            "number": pa.array([-999, 4], pa.int64()),
            "flag": [True, False],
            "when": pa.array([datetime(1970, 1, 1), datetime(1980, 1, 1)], MOMENT),
        }
    )

    merged = merge([ReadFile("rows", table)], [null_text])

    assert sum(column.null_count for column in merged.table.columns) == 1


def test_files_that_type_a_column_otherwise_meet_as_texts() -> None:
    first = ReadFile("first", pa.table({"x": pa.array([1, 2], pa.int64())}))
    second = ReadFile("second", pa.table({"x": pa.array([0.5, None], pa.float64())}))

    typed = apply_types(merge([first, second], NULL_TEXTS).table, {})

    assert typed.table.column("x").to_pylist() == [1.0, 2.0, 0.5, None]
