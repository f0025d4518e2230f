"""What rows that load a server tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from load import load, request
from servers import PATH, Server, probability

WARM_UP_SECONDS, SECONDS = 1.0, 4.0


def figures(server: Server, asked: Sequence[bytes], connections: int) -> dict[str, Any]:
    """Warm up a server that is started, load it, and return what a row tells of it.

    Between both it has time for what a busy server does beside its requests.

    Args:
        server: The server.
        asked: Bodies of predictions.
        connections: How many send them, each one after another.
    """
    requests = [request(PATH, body) for body in asked]
    server.first_answer(asked[0])
    load(server.port, requests, connections, WARM_UP_SECONDS)
    server.settle()
    answers = [probability(server.answer(body)) for body in asked]
    load(server.port, requests, connections, WARM_UP_SECONDS)
    before = server.cpu_seconds()
    made = load(server.port, requests, connections, SECONDS)
    used = server.cpu_seconds() - before
    assert not made.others, made.others
    thousands = len(made.latencies) / 1000
    return {
        "seconds": made.seconds / thousands,
        "p99": made.percentile(0.99),
        "cpuSeconds": used / thousands,
        "client": made.busy,
        "answers": answers,
    }
