"""The fingerprint depends on the rows alone, and on every one of their cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modelyard_runtimes.dataset.canonical import canonical_order, fingerprint, row_hashes

TYPES: Any = {"number": "Numeric", "text": "Text", "flag": "Boolean"}
SCHEMA = pa.schema([("number", pa.float64()), ("text", pa.large_string()), ("flag", pa.bool_())])
ROW = st.tuples(
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.text(max_size=5),
    st.none() | st.booleans(),
)
ROWS = st.lists(ROW, min_size=1, max_size=30)


def canonical(rows: list[Any]) -> pa.Table:
    table = pa.Table.from_pylist(
        [dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA
    )
    return table.take(canonical_order(row_hashes(table)))


def print_of(rows: list[Any]) -> str:
    return fingerprint(canonical(rows), TYPES)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[Any], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))

    assert print_of(shuffled) == print_of(rows)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.data())
def test_any_changed_cell_changes_it(rows: list[Any], data: Any) -> None:
    row = data.draw(st.integers(0, len(rows) - 1))
    changed = data.draw(ROW.filter(lambda other: other != rows[row]))

    assert print_of([*rows[:row], changed, *rows[row + 1 :]]) != print_of(rows)


@given(ROWS)
@settings(max_examples=30, deadline=None)
def test_a_repeated_row_counts(rows: list[Any]) -> None:
    assert print_of([*rows, rows[0]]) != print_of(rows)


def test_chunks_and_slices_do_not_matter() -> None:
    table = canonical([(float(n), f"t{n}", n % 2 == 0) for n in range(50)])
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7)])

    assert fingerprint(chunked, TYPES) == fingerprint(table, TYPES)


def test_names_and_types_belong_to_it() -> None:
    table = canonical([(1.0, "a", True)])

    assert fingerprint(table, {**TYPES, "text": "Categorical"}) != fingerprint(table, TYPES)


@pytest.fixture
def frame() -> pa.Table:
    random = np.random.default_rng(3)
    return pa.table(
        {
            "amount": random.normal(size=500).round(4),
            "count": random.integers(0, 9, 500),
            "label": random.choice(["a", "b", "c"], 500),
        }
    )


def test_files_row_groups_and_formats_do_not_matter(
    frame: pa.Table, snapshot: Callable[..., Any], tmp_path: Path
) -> None:
    whole, groups, split = (tmp_path / name for name in ("whole", "groups", "split"))
    for folder in (whole, groups, split):
        folder.mkdir()
    frame.to_pandas().to_csv(whole / "a.csv", index=False)
    pq.write_table(frame.take(np.arange(500)[::-1]), groups / "a.parquet", row_group_size=33)
    frame.slice(300).to_pandas().to_json(split / "1.jsonl", orient="records", lines=True)
    frame.slice(0, 300).to_pandas().to_excel(split / "2.xlsx", index=False)

    records = [snapshot(folder).record for folder in (whole, groups, split)]

    assert len({record.fingerprint for record in records}) == 1
    assert len({record.snapshot.digest for record in records}) == 1


def test_the_order_of_files_with_different_columns_does_not_matter(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    first = csv("b,a", "1,2", name="one/1.csv").parent
    csv("a,b,c", "3,4,5", name="one/2.csv")
    second = csv("a,b,c", "3,4,5", name="two/1.csv").parent
    csv("b,a", "1,2", name="two/2.csv")

    assert snapshot(first).record.fingerprint == snapshot(second).record.fingerprint


def test_one_changed_cell_of_a_file_changes_it(
    frame: pa.Table, snapshot: Callable[..., Any], tmp_path: Path
) -> None:
    data = frame.to_pandas()
    data.to_csv(tmp_path / "a.csv", index=False)
    before = snapshot(tmp_path / "a.csv").record
    data.loc[250, "count"] += 1
    data.to_csv(tmp_path / "a.csv", index=False)

    assert snapshot(tmp_path / "a.csv").record.fingerprint != before.fingerprint


def test_two_runs_write_the_same_bytes(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    path = csv("x,y", "1,a", "2", "3,c", "3,c")

    first, second = snapshot(path).record, snapshot(path).record

    assert first.snapshot == second.snapshot
    assert first.quarantine == second.quarantine
    assert first.quarantine.uri
    assert first.snapshot.rows == 2 + 1
