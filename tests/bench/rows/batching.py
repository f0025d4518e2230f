"""One row at a time to a model of words: predicted together against each by itself."""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figures import figures
from servers import NAME, serving

CONNECTIONS = 32
WORDS, LENGTH, NUMBERS = 2_000, 40, 10


def measured(side: str) -> dict[str, Any]:
    """Start a server with or without batching, warm it up, and load it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(_config(side, Path(folder))) as server,
    ):
        return figures(server, _bodies(), CONNECTIONS)


def equal(ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Check that the answers are the same."""
    pairs = zip(ours["answers"], peers["alone"]["answers"], strict=True)
    furthest = max(abs(one - other) for one, other in pairs)
    assert furthest <= 1e-9, furthest
    return f"Probabilities are equal to {furthest:.0e}."


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
        name=NAME,
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
