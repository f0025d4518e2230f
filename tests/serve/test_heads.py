"""Which heads are known, and that they take bounded memory."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard_runtimes.serve.heads import LONGEST, MOST_HEADS, KnownHeads
from modelyard_runtimes.serve.http import Headers, Request, Route


class OneRoute:
    """A front that answers all by one route."""

    route = Route("POST", "v1", lambda _body, _identifier: None, None)  # type: ignore[arg-type,return-value]

    def find(self, method: bytes, target: bytes) -> Route:
        assert (method, target) == (b"POST", b"/")
        return self.route


def head(**headers: str) -> tuple[bytes, Headers]:
    found = {b"host": b"x", b"content-length": b"2"}
    found |= {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    lines = b"".join(b"%b: %b\r\n" % one for one in found.items())
    return b"POST / HTTP/1.1\r\n%b\r\n" % lines, found


def learned(heads: KnownHeads, data: bytes, headers: Headers, **fields: Any) -> Request | None:
    """Learn of a read, and return what is known when it comes again with another body."""
    last = Request(OneRoute.route, headers, 0.0, **{"method": b"POST", "target": b"/", **fields})
    heads.learn(data, last)
    return heads.request(OneRoute(), data[:-2] + b"[]")  # type: ignore[arg-type]


def test_a_request_with_a_known_head_has_its_own_body_and_time() -> None:
    data, headers = head(content_type="application/json")
    found = learned(KnownHeads(), data + b"{}", headers)
    assert found is not None
    assert (found.method, found.target, found.body) == (b"POST", b"/", b"[]")
    assert (found.headers, found.route) == (headers, OneRoute.route)
    assert found.since > 0


ONCE: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "it ends the connection": ({}, {"close": True}),
    "it waits for leave": ({"expect": "100-continue"}, {}),
    "it names its request": ({"x_request_id": "1"}, {}),
    "it names its trace": ({"traceparent": "00-1-1-00"}, {}),
    "its length is written otherwise": ({"content_length": "02"}, {}),
    "more came with it": ({"content_length": "1"}, {}),
    "it has a secret": ({"authorization": "Bearer x"}, {}),
    "it is coded": ({"transfer_encoding": "chunked"}, {}),
    "it asks for no body": ({}, {"method": b"HEAD"}),
    "it is long": ({"accept": "x" * LONGEST}, {}),
}


@pytest.mark.parametrize(("more", "fields"), ONCE.values(), ids=list(ONCE))
def test_a_head_is_not_kept_where(more: dict[str, str], fields: dict[str, Any]) -> None:
    data, headers = head(**more)
    assert learned(KnownHeads(), data + b"{}", headers, **fields) is None


@pytest.mark.parametrize("rest", [b"", b"{", b"{}\r\n", b"{}POST / HTTP/1.1\r\n"])
def test_a_read_that_is_not_one_whole_request_is_parsed(rest: bytes) -> None:
    heads = KnownHeads()
    data, headers = head()
    assert learned(heads, data + b"{}", headers) is not None
    assert heads.request(OneRoute(), data + rest) is None  # type: ignore[arg-type]


def test_no_more_heads_are_kept_than_a_bound() -> None:
    heads = KnownHeads()
    for number in range(3 * MOST_HEADS):
        data, headers = head(accept=str(number))
        assert learned(heads, data + b"{}", headers) is not None
    first, _ = head(accept="0")
    assert heads.request(OneRoute(), first + b"{}") is None  # type: ignore[arg-type]
