"""Predictions of one row over 16 connections: ours against KServe's SDK, and without a model."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figures import figures
from servers import KSERVE, OURS, bodies, started, write_model

CONNECTIONS = 16


def measured(side: str) -> dict[str, Any]:
    """Start a side's server, warm it up, and load it."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.txt"
        write_model(model)
        with started(side, model) as server:
            found = figures(server, bodies(), CONNECTIONS)
            metrics = server.text("/metrics") if side == OURS else ""
            compiled = server.maps("modelyard-trees-")
        logged = sum(chunk.read_bytes().count(b"\n") for chunk in Path(folder).rglob("*.jsonl"))
    return {**found, "logged": logged, "counted": _counted(metrics), "compiled": compiled}


def _counted(metrics: str) -> int:
    """Return how many rows the metrics say were predicted."""
    rows = [line for line in metrics.splitlines() if line.startswith("modelyard_predictions_total")]
    return int(sum(float(line.split()[-1]) for line in rows))


def equal(ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Check that the answers are the same, and that ours counted and logged every row."""
    furthest = max(
        abs(one - other)
        for one, other in zip(ours["answers"], peers["kserve"]["answers"], strict=True)
    )
    assert furthest <= 1e-9, furthest
    assert ours["compiled"], "the server goes on with LightGBM; its log says why"
    assert ours["logged"] == ours["counted"] > 0, ours
    busy = max(result["client"] for result in (ours, *peers.values()))
    return (
        f"Probabilities equal KServe's to {furthest:.0e}. Ours validated, counted and logged each "
        f"of its {ours['logged']:,} rows, and had compiled its trees, as busy servers do, when the time "
        f"that is measured began. The client kept at most {busy:.0%} of a processor busy."
    )


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
else:
    from frame import Goal, Row

    ROW = Row(
        title="Predictions of one row",
        work="200 LightGBM trees over 30 numbers, KServe's V1 protocol, 16 connections that each "
        "send one row after another to one process. Ours with its whole path: validation, "
        "metrics, and a payload log of every row. KServe's is its SDK's model server, with a "
        "model that does what its LightGBM server does. The floor is uvicorn, the HTTP server under "
        "KServe's, on its fastest loop and parser, with a bare ASGI application that answers a "
        "constant of the same size and never looks at the request.",
        peers={"floor": [], "kserve": KSERVE},
        goals=[Goal("kserve", 8), Goal("floor", 0.7), Goal("kserve", 3, "p99")],
        check=equal,
        figures={
            "seconds": "seconds for 1,000 requests",
            "p99": "99th percentile of the latency, s",
            "cpuSeconds": "CPU seconds of the server for 1,000 requests",
        },
    )
