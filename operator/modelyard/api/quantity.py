"""The numbers that quantities mean; without pydantic, which the stand-ins have no memory for."""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIXES = {
    "": Decimal(1), "m": Decimal("1e-3"),
    "k": Decimal("1e3"), "M": Decimal("1e6"), "G": Decimal("1e9"), "T": Decimal("1e12"),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9.]+)(m|k|M|G|T|Ki|Mi|Gi|Ti|)")


def amount(quantity: str) -> Decimal:
    """Return the number that a quantity means."""
    matched = _QUANTITY.fullmatch(quantity)
    if matched is None:
        raise ValueError(f"not a quantity: {quantity}")
    return Decimal(matched[1]) * _SUFFIXES[matched[2]]
