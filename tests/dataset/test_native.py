"""What a Parquet file says with types, it says as its texts would."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modelyard_runtimes.dataset.merge import merge
from modelyard_runtimes.dataset.schema import apply_types
from modelyard_runtimes.dataset.types import Inferred
from modelyard_runtimes.tables.cells import text_table
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
