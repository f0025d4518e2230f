"""How much of the traffic that comes a model server takes; the rest gets 429 at once."""

from __future__ import annotations

from pydantic import Field

from modelyard.api.meta import Model

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


class Traffic(Model):
    """What each server process of a Deployment takes; what comes beyond gets 429."""

    max_in_flight: int = Field(
        default=MOST_IN_FLIGHT,
        ge=1,
        le=10_000,
        description="Requests that each server process has in flight, those that wait for others "
        "among them; over gRPC as many again.",
    )
    rate_limit: RateLimit | None = Field(
        default=None, description="Bounds requests a second, over REST and gRPC together."
    )
