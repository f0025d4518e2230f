"""`spec.traffic.rateLimit`: so many a second, a burst after a quiet while, and 429 for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import httpx
import pytest
from modelyard.api.traffic import RateLimit
from modelyard_runtimes.serve.rate import TokenBucket

from tests.serve.test_grpc import call, connected, infer

NAME = "churn"
PREDICT, EXPLAIN = f"/v1/models/{NAME}:predict", f"/v1/models/{NAME}:explain"
BODY = {"instances": [{"age": 30, "member": True, "plan": "gold"}]}
ASKED = 10_000
SELDOM = RateLimit(requests_per_second=1, burst=3)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(bucket: TokenBucket) -> int:
    """Return how many are taken at once until one has to wait."""
    return next(count for count in range(ASKED) if bucket.take())


SIZES = {
    "a burst": (RateLimit(requests_per_second=2, burst=5), 5),
    "a second's worth when no burst is declared": (RateLimit(requests_per_second=7), 7),
    "a burst below the rate": (RateLimit(requests_per_second=100, burst=1), 1),
}


@pytest.mark.parametrize(("limit", "size"), SIZES.values(), ids=list(SIZES))
def test_after_a_quiet_while_as_many_as_the_burst_come_at_once(limit: RateLimit, size: int) -> None:
    clock = Clock()
    bucket = TokenBucket(limit, clock)
    assert taken(bucket) == size
    clock.now += 3600
    assert taken(bucket) == size


def test_in_the_long_run_it_is_the_rate() -> None:
    clock = Clock()
    bucket = TokenBucket(RateLimit(requests_per_second=10, burst=20), clock)
    admitted = 0
    for _ in range(60 * 1000):
        clock.now += 0.001
        admitted += not bucket.take()
    assert admitted == pytest.approx(20 + 600, abs=2)


def test_who_is_refused_is_told_when_to_come_again() -> None:
    clock = Clock()
    bucket = TokenBucket(RateLimit(requests_per_second=2, burst=1), clock)
    assert bucket.take() == 0
    clock.now += 0.1
    missing = bucket.take()
    assert missing == pytest.approx(0.4)
    clock.now += missing
    assert bucket.take() == 0


def test_what_comes_faster_is_refused_by_the_limit_s_name(serve: Any) -> None:
    with serve(rate_limit=SELDOM).client() as client:
        answers = [client.post(PREDICT, json=BODY) for _ in range(3)]
        refused = until_refused(lambda: client.post(EXPLAIN, json=BODY))
        assert client.get("/v2/health/ready").status_code == 200
        metrics = client.get("/metrics").text

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert refused.headers["retry-after"] == "1"
    assert "spec.traffic.rateLimit.requestsPerSecond" in refused.json()["error"]
    assert 'status="429"' in metrics


def until_refused(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Ask until it is too often: once is enough where the machine is quick."""
    return next(answer for answer in (ask() for _ in range(200)) if answer.status_code == 429)


def call_often(channel: grpc.Channel) -> None:
    for _ in range(200):
        call(channel, "ModelInfer", infer())


def test_calls_of_grpc_and_requests_of_rest_share_the_rate(serve: Any) -> None:
    served = serve(rate_limit=SELDOM)
    with connected(served) as channel, served.client() as client:
        for _ in range(3):
            client.post(PREDICT, json=BODY).raise_for_status()
        with pytest.raises(grpc.RpcError) as caught:
            call_often(channel)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "spec.traffic.rateLimit.requestsPerSecond" in caught.value.details()
    assert dict(caught.value.trailing_metadata())["retry-after"] == "1"
