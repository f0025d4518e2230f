"""What a record and a profile tell about the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from modelyard.api.dataset import ColumnProfile


def test_the_profile_holds_columns_and_statistics(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    outcome = snapshot(csv("n,c,when", "1,a,2020-01-01", "3,a,2020-01-02", ",b,"))

    profile = outcome.profile
    assert [ColumnProfile.model_validate(column) for column in profile["columns"]] == [
        *outcome.record.schema_
    ]
    assert profile["statistics"]["n"]["mean"] == 2
    assert profile["statistics"]["c"]["top"][0] == {"value": "a", "rows": 2}
    assert profile["statistics"]["when"]["max"] == "2020-01-02T00:00:00"
    assert [(column["nulls"], column["distinct"]) for column in profile["columns"]] == [
        (1, 2), (0, 2), (1, 2),
    ]  # fmt: skip


def test_quality_is_1_minus_the_mean_of_three_shares(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    record = snapshot(csv("x,y", "1,a", "1,a", "3,", "4,b", "5")).record

    nulls, duplicates, quarantined = 1 / 8, 1 / 4, 1 / 5
    assert record.quality.score == pytest.approx(1 - (nulls + duplicates + quarantined) / 3)


def test_clean_lines_equal_the_snapshot(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    outcome = snapshot(
        csv(
            'x,"a ""b""",t,f',
            '1,"say ""é""\\",2020-01-01 10:00:00.25,true',
            ",,,",
            "2.5,z,2020-01-02,false",
        )
    )

    rows = sorted(outcome.clean, key=lambda row: str(row["x"]))
    assert rows == [
        {"x": 1, 'a "b"': 'say "é"\\', "t": "2020-01-01T10:00:00.250000Z", "f": True},
        {"x": 2.5, 'a "b"': "z", "t": "2020-01-02T00:00:00Z", "f": False},
        {"x": None, 'a "b"': None, "t": None, "f": None},
    ]
    assert [row["x"] for row in outcome.clean] == outcome.table.column("x").to_pylist()


def test_the_preview_is_bounded_and_valid_json(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    header = ",".join(f"column{n}" for n in range(300))
    rows = [",".join([f'"{"é" * 500}"', *map(str, range(299))]) for _ in range(9)]

    preview = snapshot(csv(header, *rows), privacy={"detection": "Disabled"}).record.preview

    assert len(preview) == 5
    assert all(len(text) <= 1024 and json.loads(text)["column1"] == 0 for text in preview)


def test_very_large_numbers_do_not_break_the_profile(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    statistics = snapshot(csv("x,y", "1e308,1", "1e308,2", "-1e308,3")).profile["statistics"]

    assert statistics["x"]["max"] == 1e308
    assert "standardDeviation" not in statistics["x"]


def test_many_reasons_are_counted_together(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    rules = [
        {"name": f"not-{n}", "type": "Sql", "expression": f"x <> {n}", "onFail": "Quarantine"}
        for n in range(60)
    ]

    quarantine = snapshot(csv("x,y", *(f"{n},1" for n in range(80))), expectations=rules).record

    assert len(quarantine.quarantine.reasons) == 50
    assert sum(quarantine.quarantine.reasons.values()) == quarantine.quarantine.rows == 60
