"""Measures packed models in a fresh process: how long one row takes, and how large they are."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelyard_runtimes.model import InputSchema, read
from modelyard_runtimes.model.rows import RowPredictor
from modelyard_runtimes.model.schema import Inputs
from modelyard_runtimes.train.evidence.exchange import value_of
from modelyard_runtimes.train.numerics import fixed_numerics

WARM_UP, ROWS, TURNS = 20, 200, 3
"""Rows that are not counted, rows that are, and how often; the quietest turn counts."""

MEGABYTE = 1_000_000
TIMEOUT = 600


@dataclass(frozen=True)
class Measurement:
    """What was measured of one packed model.

    Attributes:
        latency_ms_p95: Milliseconds within which 95 of 100 single rows are predicted.
        model_mb: Size of its files in megabytes.
    """

    latency_ms_p95: float
    model_mb: float


def size_mb(files: Mapping[str, bytes]) -> float:
    """Return the size of a packed model in megabytes."""
    return sum(map(len, files.values())) / MEGABYTE


def latency(files: Mapping[str, bytes], schema: InputSchema, inputs: Inputs) -> float:
    """Return the latency of a packed model in a process that does nothing else.

    Args:
        files: The packed model.
        schema: Its features.
        inputs: Rows to predict, one at a time.
    """
    rows = [
        [value_of(schema, inputs, row, feature) for feature in range(len(schema.names))]
        for row in range(min(ROWS, len(inputs)))
    ]
    with tempfile.TemporaryDirectory(prefix="modelyard-measure-") as name:
        folder = Path(name)
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        with fixed_numerics():
            finished = subprocess.run(
                [sys.executable, "-m", "modelyard_runtimes.train.measure", name],
                input=json.dumps(rows),
                stdout=subprocess.PIPE,
                check=True,
                text=True,
                timeout=TIMEOUT,
            )
    return float(json.loads(finished.stdout))


def main(folder: Path) -> None:
    """Print the latency of the model in a folder, as a server, for the rows on standard input."""
    rows = json.load(sys.stdin)
    predictor = RowPredictor(read(folder))
    for row in rows[:WARM_UP]:
        predictor.values([row])
    turns = []
    for _ in range(TURNS):
        taken = []
        for row in rows:
            start = time.perf_counter()
            predictor.values([row])
            taken.append(time.perf_counter() - start)
        turns.append(float(np.quantile(taken, 0.95)) * 1000)
    json.dump(min(turns), sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
