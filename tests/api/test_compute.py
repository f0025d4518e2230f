"""Quantities and what pods ask for."""

from decimal import Decimal
from typing import Any

import pytest
from modelyard.api.compute import Amounts, Resources
from modelyard.api.quantity import amount
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("2", "2"),
        ("500m", "0.5"),
        ("0.25", "0.25"),
        ("1k", "1000"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("2T", "2000000000000"),
    ],
)
def test_a_quantity_means_a_number(quantity: str, number: str) -> None:
    assert amount(quantity) == Decimal(number)


@pytest.mark.parametrize("text", ["", "-1", "1 Gi", "GiB", "1e3", "1.Gi", "1GB", "0x1", "."])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Amounts.model_validate({"cpu": text})


@pytest.mark.parametrize("value", [True, 0.5, -1, None.__class__, 10**12])
def test_a_number_that_is_no_whole_amount_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        Amounts.model_validate({"cpu": value})


def test_a_whole_number_may_stand_without_quotes() -> None:
    assert Amounts.model_validate({"cpu": 4}).cpu == "4"


def test_what_is_only_limited_is_requested_as_limited() -> None:
    resources = Resources.model_validate(
        {"requests": {"cpu": 1}, "limits": {"cpu": 2, "memory": "1Gi", "gpu": 1}}
    )
    assert resources.requested() == Amounts(cpu="1", memory="1Gi", gpu=1)
