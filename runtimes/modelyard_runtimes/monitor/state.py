"""What a Monitor remembers between looks, and how a verdict follows from one look to the next.

Drift is found by one look, and resolved only by as many new rows as showed it: a value at the
border does not toggle the verdict at every look. Pure: no I/O.
"""

from __future__ import annotations

from modelyard.api.meta import Model
from pydantic import Field

STATE = "state.json"


class State(Model):
    """state.json of a Monitor."""

    inputs: str = Field(default="", description="What the last look looked at; equal: same result.")
    subject: str = Field(
        default="",
        description="Digest of model, reference, window and drift that the rest is about.",
    )
    detected: bool = Field(default=False, description="The verdict in force.")
    drifting_until: str = Field(
        default="", description="Time of the newest row of the last look that found drift."
    )
    drifting_rows: int = Field(default=0, ge=0, description="Rows that this look saw.")


def next_state(state: State, drifts: bool, newest: str, rows: int, fresh_rows: int) -> State:  # noqa: FBT001
    """Return the state after a look at enough rows.

    Args:
        state: State before the look.
        drifts: Whether the rows of this look drift.
        newest: Time of the newest row.
        rows: Number of rows looked at.
        fresh_rows: How many of them are newer than `state.drifting_until`.
    """
    if drifts:
        return state.model_copy(
            update={"detected": True, "drifting_until": newest, "drifting_rows": rows}
        )
    if fresh_rows >= min(state.drifting_rows, rows):
        return state.model_copy(update={"detected": False})
    return state
