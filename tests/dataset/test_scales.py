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
    "sizes": ["XS", "M", "XL"],
    "answers": ["Strongly disagree", "Disagree", "Neutral", "Agree"],
    "ordinal numbers": ["1st", "2nd", "3rd"],
    "ages": ["<18", "18-24", "25 - 34", "65+"],
    "years of work": ["< 1 year", "1 year", "2 years", "10+ years"],
    "amounts": ["under $1,000", "$1,000 to $5,000", "over $5,000"],
    "shares": ["0-10%", "10-50%", "50-100%"],
    "an en dash": ["18\N{EN DASH}24", "25\N{EN DASH}34", "35\N{EN DASH}44"],
    "at least": ["0", "1", "2 or more"],
}
NONE = {
    "two words": ["low", "high"],
    "other words": ["low", "medium", "blue"],
    "one word twice": ["low", "Low", "medium", "high"],
    "colours": ["red", "green", "blue"],
    "ranges that overlap": ["10-20", "15-30", "30-40"],
    "results of games": ["2-1", "1-0", "0-3"],
    "numbers alone": ["1", "2", "3"],
    "codes": ["00123", "01123", "02123"],
    "a range that goes down": ["5-3", "6-7", "8-9"],
    "two beginnings": ["<5", "<10", "10-20"],
    "numbers and words": ["18-24", "25-34", "old"],
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
    assert risk.reason == "steps of a scale: low < medium < high"
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
    with pytest.raises(RunFailure, match=r"columns\[name=wood\]\.order: .* all 3 of them") as end:
        snapshot(path, schema={"columns": [{"name": "wood", "type": "Ordinal"}]})
    assert end.value.reason == "UnknownOrder"


def test_hidden_steps_have_no_order(snapshot: Callable[..., Any], csv: Callable[..., Path]) -> None:
    path = csv("risk,y", "high,1", "low,2", "medium,3")
    privacy = {"columns": [{"name": "risk", "action": "Mask"}]}
    (risk, _) = snapshot(path, privacy=privacy).record.schema_
    assert (risk.type, risk.order) == ("Categorical", None)
