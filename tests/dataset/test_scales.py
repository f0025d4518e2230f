"""Texts that are steps of a scale have an order, and nothing else has."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from modelyard_runtimes.dataset.scales import order_of
from modelyard_runtimes.entry import RunFailure

SCALES = {
    "words": ["low", "medium", "high"],
    "capitals": ["Very low", "Low", "HIGH"],
    "joined words": ["very_low", "low", "very-high"],
    "sizes": ["XS", "M", "XL"],
    "answers": ["Strongly disagree", "Disagree", "Neutral", "Agree"],
    "ordinal numbers": ["1st", "2nd", "3rd"],
    "ages": ["<18", "18-24", "25 - 34", "65+"],
    "ages in words": ["under 18", "18 to 64", "65 or over"],
    "years of work": ["< 1 year", "1 year", "2 years", "10+ years"],
    "days": ["0-30 days", "31-60 days", "90+ days"],
    "amounts": ["under $1,000", "$1,000 to $5,000", "over $5,000"],
    "thousands": ["under $1k", "$1k-$20k", "$50k-$1m"],
    "shares": ["0-10%", "10-50%", "50-100%"],
    "an en dash": ["18\N{EN DASH}24", "25\N{EN DASH}34", "35\N{EN DASH}44"],
    "at least": ["0", "1", "2 or more"],
}
NONE = {
    "two words": ["low", "high"],
    "other words": ["low", "medium", "blue"],
    "one word twice": ["low", "Low", "medium", "high"],
    "colours": ["red", "green", "blue"],
    "finishes": ["Silver", "Gold", "Platinum"],
    "ranges that overlap": ["10-20", "15-30", "30-40"],
    "results of games": ["2-1", "1-0", "0-3"],
    "numbers alone": ["1", "2", "3"],
    "codes": ["00123", "01123", "02123"],
    "sectors of industry": ["11", "21", "31-33", "44-45", "52"],
    "codes with zeros": ["01-09", "10-14", "15-17"],
    "ranges with gaps": ["1-2", "20-30", "44-45"],
    "a range that goes down": ["5-3", "6-7", "8-9"],
    "two beginnings": ["<5", "<10", "10-20"],
    "numbers and words": ["18-24", "25-34", "old"],
    "decimal commas": ["0,5-1,0", "1,0-2,0", "2-5"],
    "two units": ["1 year", "2 years", "11 months"],
    "a long text": ["1-2", "2-3", "9" * 10_000 + "x"],
    "no values": [],
}


@pytest.mark.parametrize("expected", SCALES.values(), ids=list(SCALES))
def test_steps_of_a_scale_are_put_in_order(expected: list[str]) -> None:
    for texts in permutations(expected):
        assert order_of(texts) == tuple(expected)


@pytest.mark.parametrize("texts", NONE.values(), ids=list(NONE))
def test_what_is_no_scale_has_no_order(texts: list[str]) -> None:
    assert order_of(texts) == ()


def test_a_column_of_steps_is_ordinal_and_says_their_order(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    path = csv("risk,age", "high,25-34", "low,65+", "medium,<18", "low,18-24")
    risk, age = snapshot(path).record.schema_
    assert (risk.type, risk.order) == ("Ordinal", ["low", "medium", "high"])
    assert risk.reason == "3 values are steps of a scale"
    assert age.order == ["<18", "18-24", "25-34", "65+"]


def test_a_declared_order_holds_and_other_values_are_quarantined(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    path = csv("wood,y", "oak,1", "pine,2", ",3", "steel,4")
    column = {"name": "wood", "type": "Ordinal", "order": ["pine", "oak", "ebony"]}
    outcome = snapshot(path, schema={"columns": [column]})
    assert outcome.record.schema_[0].order == ["pine", "oak", "ebony"]
    assert outcome.record.quarantine.reasons == {"TypeMismatch": 1}
    assert [row["text"] for row in outcome.quarantined] == ["steel"]
    assert {row["wood"] for row in outcome.clean} == {"oak", "pine", None}


def test_another_order_is_another_snapshot(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    path = csv("wood,y", "oak,1", "pine,2")
    fingerprints = {
        snapshot(
            path, schema={"columns": [{"name": "wood", "type": "Ordinal", "order": order}]}
        ).record.fingerprint
        for order in (["oak", "pine"], ["pine", "oak"])
    }
    assert len(fingerprints) == 2


def test_an_order_that_nobody_can_know_must_be_declared(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    path = csv("wood,y", "oak,1", "pine,2", "ash,3")
    with pytest.raises(RunFailure, match=r"columns\[name=wood\]\.order: .*list all of them") as end:
        snapshot(path, schema={"columns": [{"name": "wood", "type": "Ordinal"}]})
    assert end.value.reason == "UnknownOrder"


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        pytest.param(["oak", "pine", "oak"], "'oak' stands there twice", id="twice"),
        pytest.param(["oak", " pine"], "has blanks around it", id="blanks"),
        pytest.param(["oak", "None"], "means a missing value", id="a null value"),
        pytest.param(["", "oak"], "means a missing value", id="nothing"),
    ],
)
def test_an_order_that_cells_cannot_follow_is_refused(
    snapshot: Callable[..., Any], csv: Callable[..., Path], order: list[str], problem: str
) -> None:
    column = {"name": "wood", "type": "Ordinal", "order": order}
    with pytest.raises(RunFailure, match=problem) as end:
        snapshot(csv("wood,y", "oak,1", "pine,2"), schema={"columns": [column]})
    assert end.value.reason == "InvalidOrder"
    assert "spec.schema.columns[name=wood].order" in str(end.value)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(["low,1", "high,2"], id="two steps of a known scale"),
        pytest.param(["b,1", "a,2"], id="two steps of none"),
        pytest.param([f"{n}-{n + 1},1" for n in range(150)], id="very many steps"),
    ],
)
def test_an_order_is_known_or_asked_for(
    snapshot: Callable[..., Any], csv: Callable[..., Path], values: list[str]
) -> None:
    schema = {"columns": [{"name": "x", "type": "Ordinal"}]}
    if values[0] == "low,1":
        assert snapshot(csv("x,y", *values), schema=schema).record.schema_[0].order
    else:
        with pytest.raises(RunFailure, match="list all of them"):
            snapshot(csv("x,y", *values), schema=schema)


def test_steps_of_a_scale_are_categories_to_an_expectation(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    path = csv("risk,y", "high,1", "low,2", "medium,3")
    asked = {"type": "Type", "column": "risk", "columnType": "Categorical"}
    assert snapshot(path, expectations=[{"name": "kind", **asked}]).record.expectations[0].passed


def test_hidden_steps_have_no_order(snapshot: Callable[..., Any], csv: Callable[..., Path]) -> None:
    path = csv("risk,y", "high,1", "low,2", "medium,3")
    privacy = {"columns": [{"name": "risk", "action": "Mask"}]}
    (risk, _) = snapshot(path, privacy=privacy).record.schema_
    assert (risk.type, risk.order) == ("Categorical", None)
    assert "low" not in risk.reason
