"""From the start of a server to its first prediction: ours against KServe's SDK."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servers import KSERVE, bodies, probability, started, write_model


def measured(side: str) -> dict[str, float]:
    """Start a side's server once on a model that lies there, and ask until it answers."""
    body = bodies(1)[0]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.txt"
        write_model(model)
        with started(side, model) as server:
            answer = server.first_answer(body)
            seconds = time.perf_counter() - server.since
            return {
                "seconds": seconds,
                "cpuSeconds": server.cpu_seconds(),
                "answer": probability(answer),
            }


def equal(ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Check that both gave the same first answer."""
    distance = abs(ours["answer"] - peers["kserve"]["answer"])
    assert distance <= 1e-9, distance
    return f"The first answers are equal to {distance:.0e}."


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
else:
    from frame import Goal, Row

    ROW = Row(
        title="Start to first prediction",
        work="From the start of a fresh process to its first answer, asked for every few "
        "milliseconds. The model, 200 LightGBM trees over 30 numbers, lies on the disk. Ours "
        "checks its digest and that of each file first.",
        peers={"kserve": KSERVE},
        goals=[Goal("kserve", 4)],
        check=equal,
        figures={"seconds": "seconds", "cpuSeconds": "CPU seconds"},
    )
