"""Whether a live object is as desired, given that servers add fields of their own."""

from __future__ import annotations

from typing import Any

from modelyard.api.quantity import amount


def holds(live: Any, desired: Any) -> bool:
    """Return whether all that is desired stands in what lives: mappings may have more, lists not.

    Quantities are compared by what they mean: an API server writes `1000m` as `1`.
    """
    if isinstance(desired, dict):
        return isinstance(live, dict) and all(
            name in live and holds(live[name], value) for name, value in desired.items()
        )
    if isinstance(desired, list):
        return (
            isinstance(live, list) and len(live) == len(desired) and all(map(holds, live, desired))
        )
    return bool(live == desired) or _same_amount(live, desired)


def _same_amount(live: Any, desired: Any) -> bool:
    try:
        return amount(str(live)) == amount(str(desired))
    except ValueError:
        return False
