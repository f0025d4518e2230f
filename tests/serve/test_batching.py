"""`spec.batching`: what comes at the same time is predicted together, and answered as if alone."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from modelyard.api.runtime import FALLBACK_HEADER
from modelyard.api.traffic import Batching
from modelyard_runtimes.model.rows import Rows
from modelyard_runtimes.serve.batcher import Batcher
from modelyard_runtimes.serve.metrics import Metrics
from modelyard_runtimes.serve.predictor import Predictions

from tests.serve.test_fallback import BAD, GOOD, HUGE, SLOW, WRONG, failing, fallback, tensors
from tests.serve.test_overload import answer, chunked, until

NAME = "churn"
V1, V2 = f"/v1/models/{NAME}:predict", f"/v2/models/{NAME}/infer"
ALIAS = f"/v1/inference/{NAME}:predict"
GATHERING = Batching(max_size=8, max_delay_ms=200)
AT_ONCE = Batching(max_size=8, max_delay_ms=0)


class Model:
    """Predicts the first value of each row, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[Any]] = []

    def predict_rows(self, rows: Rows) -> Predictions:
        values = [row[0] for row in rows]
        self.asked.append(values)
        if "poison" in values:
            raise ValueError("poison")
        return Predictions(values, (), (), (), None)


def batcher(model: Model, declared: Batching = AT_ONCE) -> Batcher:
    return Batcher(declared, model.predict_rows, model.predict_rows, Metrics(NAME, "v", "d"))


async def predicted(one: Batcher, *requests: Sequence[Any]) -> list[Any]:
    """Return what each of several requests is answered that come at the same time."""
    asked = [one.predict([[value] for value in request]) for request in requests]
    found = await asyncio.gather(*asked, return_exceptions=True)
    return [each if isinstance(each, Exception) else each.values for each in found]


async def test_what_comes_at_the_same_time_is_predicted_together() -> None:
    model = Model()
    assert await predicted(batcher(model), [1], [2, 3], [4]) == [[1], [2, 3], [4]]
    assert model.asked == [[1, 2, 3, 4]]


async def test_a_full_batch_waits_for_nobody() -> None:
    model = Model()
    forever = batcher(model, Batching(max_size=3, max_delay_ms=1000))
    async with asyncio.timeout(0.9):
        await predicted(forever, [1], [2], [3], [4], [5], [6])
    assert model.asked == [[1, 2, 3], [4, 5, 6]]


async def test_no_batch_is_larger_than_declared_but_a_request_that_is() -> None:
    model = Model()
    few = batcher(model, Batching(max_size=3, max_delay_ms=0))
    await predicted(few, [1, 2], [3, 4], [5, 6, 7, 8], [9])
    assert model.asked == [[1, 2], [3, 4], [5, 6, 7, 8], [9]]


async def test_who_comes_alone_is_answered_after_the_delay() -> None:
    model = Model()
    one = batcher(model, Batching(max_size=100, max_delay_ms=1))
    assert await predicted(one, [1]) == [[1]]
    assert await predicted(one, [2]) == [[2]]


async def test_what_fails_fails_alone() -> None:
    model = Model()
    good, bad, other = await predicted(batcher(model), [1], ["poison"], [3])
    assert (good, other) == ([1], [3])
    assert isinstance(bad, ValueError)
    assert model.asked == [[1, "poison", 3], [1], ["poison"], [3]]


async def test_who_waits_no_more_harms_nobody() -> None:
    model = Model()
    one = batcher(model, Batching(max_size=2, max_delay_ms=1000))
    gone = asyncio.create_task(one.predict([[1]]))
    await asyncio.sleep(0)
    gone.cancel()
    assert await predicted(one, [2]) == [[2]]


def v1(*instances: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return V1, {"instances": list(instances)}


REQUESTS: list[tuple[str, dict[str, Any]]] = [
    v1(GOOD),
    v1(GOOD | {"age": 61}, {"age": 18, "member": False, "plan": "basic"}),
    (ALIAS, {"instances": [GOOD | {"plan": "unknown"}]}),
    (V2, tensors(1.0)),
    (V2, {"inputs": tensors(5.0)["inputs"], "outputs": [{"name": "score"}], "id": "mine"}),
    v1(WRONG),
    v1(GOOD, WRONG),
    (V2, {"inputs": tensors(1.0)["inputs"][:1]}),
    (V1, {"instances": []}),
]


def whole(path: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-request-id: r\r\ncontent-length: {len(content)}"
    return head.encode() + b"\r\n\r\n" + content


async def asked(
    url: str, requests: Sequence[bytes]
) -> list[tuple[int, dict[str, str], dict[str, Any]]]:
    """Send each request on a connection of its own, all at the same moment."""
    host, port = url.removeprefix("http://").split(":")
    connections = [await asyncio.open_connection(host, int(port)) for _ in requests]
    for (_, writer), content in zip(connections, requests, strict=True):
        writer.write(content)
    found = []
    for reader, writer in connections:
        status, headers, content = await answer(reader)
        found.append((status, headers, json.loads(content)))
        writer.close()
    return found


async def go_away(url: str, requests: Sequence[bytes]) -> None:
    """Send each request on a connection of its own, and wait for no answer."""
    host, port = url.removeprefix("http://").split(":")
    for content in requests:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(content)
        writer.close()


def close(left: Any, right: Any) -> bool:
    """Return whether two JSON values are equal, numbers to 1e-9."""
    if isinstance(left, dict):
        keys = left.keys() - {"latency_ms"}
        return left.keys() == right.keys() and all(close(left[key], right[key]) for key in keys)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(close, left, right))
    return bool(left == (pytest.approx(right, abs=1e-9) if isinstance(left, float) else right))


async def test_answers_and_errors_are_those_of_single_requests(serve: Any) -> None:
    requests = [whole(*request) for request in REQUESTS]
    alone = serve()
    expected = [(await asked(alone.url, [request]))[0] for request in requests]
    alone.stop()
    batching = serve(batching=GATHERING)
    found = await asked(batching.url, requests * 3)

    for position, (status, _, body) in enumerate(found):
        expected_status, _, expected_body = expected[position % len(requests)]
        assert status == expected_status
        assert close(body, expected_body), (body, expected_body)


async def test_the_metrics_tell_how_much_was_predicted_together(serve: Any) -> None:
    served = serve(batching=GATHERING)
    requests = 24
    found = await asked(served.url, [whole(*v1(GOOD))] * requests)
    with served.client() as client:
        metrics = client.get("/metrics").text

    assert {status for status, _, _ in found} == {200}
    counts = dict(re.findall(r"modelyard_batch_rows_(sum|count)\{[^}]*\} (\S+)", metrics))
    assert float(counts["sum"]) == requests
    assert float(counts["count"]) < requests


async def test_those_that_wait_hold_their_places_and_give_them_back(serve: Any) -> None:
    declared = Batching(max_size=1000, max_delay_ms=500)
    served = serve(batching=declared, max_in_flight=4)
    first = await asked(served.url, [whole(*v1(GOOD))] * 8)
    await go_away(served.url, [whole(*v1(GOOD))] * 4)
    with served.client() as client:
        await until(lambda: client.post(V1, json=v1(GOOD)[1]).status_code == 200)
    later = await asked(served.url, [whole(*v1(GOOD))] * 4)

    assert sorted(status for status, _, _ in first) == [200] * 4 + [429] * 4
    assert [status for status, _, _ in later] == [200] * 4


async def test_small_bodies_of_unknown_length_are_small(serve: Any) -> None:
    served = serve(batching=GATHERING)
    content = json.dumps({"instances": [GOOD]}).encode()
    found = await asked(served.url, [chunked(content)] * 16)
    assert {status for status, _, _ in found} == {200}


async def test_the_fallback_answers_only_what_the_model_fails(
    serve: Any, configure: Any, model_document: Any
) -> None:
    served = serve(
        failing(model_document), fallback=fallback(configure()), batching=GATHERING, breaker=SLOW
    )
    requests = [whole(*v1(GOOD)), whole(*v1(BAD)), whole(*v1(GOOD)), whole(V2, tensors(1.0))]
    together = await asked(served.url, requests)
    await asked(served.url, [whole(V2, tensors(HUGE))] * 2)
    open_since = await asked(served.url, requests)

    said = [headers.get(FALLBACK_HEADER) for _, headers, _ in together]
    assert said == [None, "ModelFailed", None, None]
    assert {headers[FALLBACK_HEADER] for _, headers, _ in open_since} == {"BreakerOpen"}
    assert {status for status, _, _ in together + open_since} == {200}
