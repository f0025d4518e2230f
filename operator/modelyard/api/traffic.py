"""What a model server does with the traffic: how much it takes, and when its model fails.

A model server starts by reading this, so only what it needs is here; `deployment` has the rest.
"""

from __future__ import annotations

from pydantic import Field

from modelyard.api.meta import Duration, Model

MOST_IN_FLIGHT = 128
"""Requests that a server process has in flight where nothing is declared."""


class RateLimit(Model):
    """How many requests a second are answered, and how many at once after a quiet while."""

    requests_per_second: int = Field(
        ge=1,
        le=1_000_000,
        description="Requests that each server process answers a second in the long run.",
    )
    burst: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Requests that it answers at once after a quiet while; as many as in a second "
        "when unset.",
    )


class Breaker(Model):
    """When a model that fails is left alone, and for how long.

    It fails by an error that is not the caller's, or by a prediction that is no finite number.
    """

    consecutive_failures: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Failures of the model, one after the other, that open the breaker of a server "
        "process; its model is then not asked.",
    )
    open_for: Duration = Field(
        default="30s",
        description="How long it stays open. Then one request is let through: an answer closes it, "
        "another failure opens it for as long again.",
    )


class Batching(Model):
    """How requests that come at the same time are predicted together."""

    max_size: int = Field(
        default=64,
        ge=2,
        le=10_000,
        description="Most rows of all requests that are predicted together; a request with more "
        "is predicted by itself.",
    )
    max_delay_ms: int = Field(
        default=2,
        ge=0,
        le=1000,
        description="Longest time that a request waits for others, in milliseconds; 0 takes those "
        "that are there already.",
    )
