"""One row at a time to a model of words: predicted together against each by itself."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from load import load, request
from servers import Server

CONNECTIONS = 32
WARM_UP_SECONDS, SECONDS = 1.0, 4.0
WORDS, LENGTH, NUMBERS = 2_000, 40, 10
PATH = "/v1/models/trees:predict"


def measured(side: str) -> dict[str, Any]:
    """Start a server with or without batching, warm it up, and load it."""
    asked = _bodies()
    requests = [request(PATH, body) for body in asked]
    with tempfile.TemporaryDirectory() as folder, _started(side, Path(folder)) as server:
        server.first_answer(asked[0])
        answers = [_probability(server.answer(body)) for body in asked]
        load(server.port, requests, CONNECTIONS, WARM_UP_SECONDS)
        before = server.cpu_seconds()
        made = load(server.port, requests, CONNECTIONS, SECONDS)
        used = server.cpu_seconds() - before
    assert not made.others, made.others
    thousands = len(made.latencies) / 1000
    return {
        "seconds": made.seconds / thousands,
        "cpuSeconds": used / thousands,
        "p99": made.percentile(0.99),
        "answers": answers,
    }


def equal(ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Check that the answers are the same."""
    pairs = zip(ours["answers"], peers["alone"]["answers"], strict=True)
    furthest = max(abs(one - other) for one, other in pairs)
    assert furthest <= 1e-9, furthest
    return f"Probabilities are equal to {furthest:.0e}."


def _probability(answer: Mapping[str, Any]) -> float:
    return float(answer["predictions"][0]["probabilities"]["yes"])


def _bodies(count: int = 64) -> list[bytes]:
    import numpy as np

    random = np.random.default_rng(11)
    return [
        json.dumps(
            {
                "instances": [
                    [
                        *random.normal(size=NUMBERS).round(6).tolist(),
                        " ".join(f"word{word}" for word in random.integers(0, WORDS, LENGTH)),
                    ]
                ]
            }
        ).encode()
        for _ in range(count)
    ]


@contextmanager
def _started(side: str, folder: Path) -> Iterator[Server]:
    """Start a server of the model, and end it with the context."""
    import time

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "modelyard_runtimes.serve", "--port", str(port)]
    environ = os.environ | {"OMP_NUM_THREADS": "1", "MODELYARD_CONFIG": _config(side, folder)}
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield Server(process, port, time.perf_counter())
    finally:
        process.terminate()
        process.wait(60)


def _config(side: str, folder: Path) -> str:
    """Pack the model; return the configuration that serves it and logs nothing."""
    import numpy as np
    from modelyard.api.artifacts import MODEL_FILE, MODEL_MEDIA_TYPE
    from modelyard.api.identity import canonical_json
    from modelyard.api.runtime import ServeConfig, StoreConfig
    from modelyard.api.traffic import Batching
    from modelyard_runtimes.model import FeatureSchema, ModelDocument
    from modelyard_runtimes.model.format import (
        CategoricalEncoding,
        EncoderDocument,
        MemberDocument,
        NumericEncoding,
        TextEncoding,
    )
    from modelyard_runtimes.store import open_store

    encoder = EncoderDocument(
        numeric=NumericEncoding(fill=[0.0] * NUMBERS, mean=[0.0] * NUMBERS, scale=[1.0] * NUMBERS),
        categorical=CategoricalEncoding(style="OneHot", levels=[]),
        texts=[TextEncoding(words=sorted(f"word{n}" for n in range(WORDS)), idf=[1.0] * WORDS)],
    )
    file = "members/0.npy"
    document = ModelDocument(
        task="Classification",
        target="y",
        classes=["no", "yes"],
        positive_label="yes",
        features=[
            *(
                FeatureSchema(name=f"x{position}", type="Numeric", required=True)
                for position in range(NUMBERS)
            ),
            FeatureSchema(name="text", type="Text", required=True),
        ],
        encoders=[encoder],
        members=[
            MemberDocument(
                type="Linear", learner="linear", trial=0, weight=1.0, encoder=0, file=file
            )
        ],
    )
    stream = io.BytesIO()
    np.save(stream, np.random.default_rng(7).normal(size=(NUMBERS + WORDS + 1, 1)))
    store = open_store(StoreConfig(uri=folder.as_uri()))
    files = {MODEL_FILE: canonical_json(document.to_json()), file: stream.getvalue()}
    artifact = store.put_artifact(MODEL_MEDIA_TYPE, files)
    config = ServeConfig(
        name="trees",
        namespace="bench",
        model_uri=artifact.uri,
        model_digest=artifact.digest,
        model_version="words-0123456789",
        batching=Batching() if side == "modelyard" else None,
        store=StoreConfig(uri=folder.as_uri()),
    )
    return json.dumps(config.to_json())


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
else:
    from frame import Goal, Row

    ROW = Row(
        title="Predictions together",
        work=f"A linear model over {NUMBERS} numbers and a text of {LENGTH} words, out of {WORDS:,}. "
        f"{CONNECTIONS} connections send one row after another over KServe's V1 protocol to one "
        "process. Ours has spec.batching with its defaults; alone is the same server without.",
        peers={"alone": []},
        goals=[Goal("alone", 1.5, "cpuSeconds")],
        check=equal,
        figures={
            "seconds": "seconds for 1,000 requests",
            "cpuSeconds": "CPU seconds of the server for 1,000 requests",
            "p99": "99th percentile of the latency, s",
        },
    )
