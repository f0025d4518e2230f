"""One model behind the servers that the rows `predict` and `start` compare.

LightGBM's 200 trees of 31 leaves over 30 numbers, two classes. As a program this is the process of
the peers: `python servers.py kserve|floor PORT MODEL`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS = "modelyard"
NAME = "trees"
PATH = f"/v1/models/{NAME}:predict"
FEATURES, TREES, LEAVES = 30, 200, 31
TRAINING_ROWS = 5_000
KSERVE = ["kserve==0.21.0", "lightgbm==4.7.0"]
PATIENCE = 120
QUIET_SECONDS = 3.0


def write_model(path: Path) -> None:
    """Train the model, the same at each call, and write its text."""
    import lightgbm as lgb
    import numpy as np

    random = np.random.default_rng(7)
    rows = random.normal(size=(TRAINING_ROWS, FEATURES))
    target = (rows[:, :5].sum(axis=1) + rows[:, 5] * rows[:, 6] + random.normal(size=len(rows))) > 0
    settings = {
        "objective": "binary",
        "num_leaves": LEAVES,
        "seed": 7,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lgb.Dataset(rows, target.astype(float))
    lgb.train(settings, data, num_boost_round=TREES).save_model(str(path))


def bodies(count: int = 64) -> list[bytes]:
    """Return V1 bodies of one instance each, all different: a list in feature order."""
    import numpy as np

    rows = np.random.default_rng(11).normal(size=(count, FEATURES)).round(6)
    return [json.dumps({"instances": [row.tolist()]}).encode() for row in rows]


def probability(answer: Mapping[str, Any]) -> float:
    """Return the probability of the second class in an answer to one instance."""
    (prediction,) = answer["predictions"]
    if isinstance(prediction, dict):
        return float(prediction["probabilities"]["yes"])
    return float(prediction)


@dataclass
class Server:
    """A running server.

    Attributes:
        process: Its process.
        port: Where it listens on loopback.
        since: When it was started, by the clock `time.perf_counter`.
    """

    process: subprocess.Popen[bytes]
    port: int
    since: float

    def answer(self, body: bytes) -> dict[str, Any]:
        """Return the answer to a prediction."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{PATH}", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            found: dict[str, Any] = json.load(response)
            return found

    def first_answer(self, body: bytes) -> dict[str, Any]:
        """Return the first answer, asked for every few milliseconds from the start on."""
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, f"ended with {self.process.returncode}"
            try:
                return self.answer(body)
            except urllib.error.URLError:  # it does not listen yet, or its model is not ready
                assert time.monotonic() < deadline, "did not start"
                time.sleep(0.005)

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self) -> None:
        """Wait until no child process has run for a while: a busy server may start one."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        quiet = time.monotonic()
        deadline = quiet + PATIENCE
        while time.monotonic() < quiet + QUIET_SECONDS:
            if children.read_text():
                quiet = time.monotonic()
            assert quiet < deadline, "its child process does not end"
            time.sleep(0.05)

    def maps(self, name: str) -> bool:
        """Return whether the process has a file mapped whose path holds a name."""
        return name in Path(f"/proc/{self.process.pid}/maps").read_text()

    def text(self, path: str) -> str:
        """Return the answer to a GET."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return str(response.read().decode())


@contextmanager
def started(side: str, model: Path) -> Iterator[Server]:
    """Start a side's server, and end it with the context."""
    if side == OURS:
        with serving(packed(model)) as server:
            yield server
        return
    port = _free_port()
    with _running([sys.executable, __file__, side, str(port), str(model)], port, {}) as server:
        yield server


@contextmanager
def serving(config: str) -> Iterator[Server]:
    """Start our server of a configuration, and end it with the context."""
    port = _free_port()
    command = [sys.executable, "-m", "modelyard_runtimes.serve", "--port", str(port)]
    with _running(command, port, {"MODELYARD_CONFIG": config}) as server:
        yield server


@contextmanager
def _running(command: Sequence[str], port: int, settings: Mapping[str, str]) -> Iterator[Server]:
    # A row is no work for two threads.
    environ = {**os.environ, "OMP_NUM_THREADS": "1", **settings}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as in an image, where all is compiled
    since = time.perf_counter()
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield Server(process, port, since)
    finally:
        process.terminate()
        process.wait(60)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def packed(model: Path) -> str:
    """Pack the model beside its text; return the configuration that serves it and logs all."""
    from modelyard.api.artifacts import MODEL_FILE, MODEL_MEDIA_TYPE
    from modelyard.api.identity import canonical_json
    from modelyard.api.runtime import ServeConfig, StoreConfig
    from modelyard_runtimes.model import FeatureSchema, ModelDocument
    from modelyard_runtimes.model.format import (
        CategoricalEncoding,
        EncoderDocument,
        MemberDocument,
        NumericEncoding,
    )
    from modelyard_runtimes.store import open_store

    numeric = NumericEncoding(fill=[None] * FEATURES, mean=[0.0] * FEATURES, scale=[1.0] * FEATURES)
    categorical = CategoricalEncoding(style="Ordinal", levels=[])
    file = "members/0.txt"
    document = ModelDocument(
        task="Classification",
        target="y",
        classes=["no", "yes"],
        positive_label="yes",
        features=[
            FeatureSchema(name=f"x{position}", type="Numeric", required=True)
            for position in range(FEATURES)
        ],
        encoders=[EncoderDocument(numeric=numeric, categorical=categorical)],
        members=[
            MemberDocument(
                type="Trees", learner="LightGBM", trial=0, weight=1.0, encoder=0, file=file
            )
        ],
    )
    store = StoreConfig(uri=model.parent.as_uri())
    files = {MODEL_FILE: canonical_json(document.to_json()), file: model.read_bytes()}
    artifact = open_store(store).put_artifact(MODEL_MEDIA_TYPE, files)
    config = ServeConfig(
        name=NAME,
        namespace="bench",
        model_uri=artifact.uri,
        model_digest=artifact.digest,
        model_version=f"{NAME}-0123456789",
        payload_uri=f"{store.uri}/payloads",
        store=store,
    )
    return json.dumps(config.to_json())


def serve_kserve(port: int, model: str) -> None:
    """Serve as KServe's own LightGBM server does, which is not on the package index."""
    import kserve
    import lightgbm as lgb
    import uvicorn
    from kserve.utils.utils import get_predict_input, get_predict_response

    class Trees(kserve.Model):  # type: ignore[misc]
        def load(self) -> bool:
            self.booster = lgb.Booster(params={"num_threads": 1}, model_file=model)
            self.ready = True
            return True

        def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
            result = self.booster.predict(get_predict_input(payload))
            return get_predict_response(payload, result, self.name)

    class Loopback(uvicorn.Config):
        """The SDK listens on all addresses and has no option for it."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "host": "127.0.0.1"})

    uvicorn.Config = Loopback  # type: ignore[misc]
    trees = Trees(NAME)
    trees.load()
    kserve.ModelServer(http_port=port, workers=1, enable_grpc=False).start([trees])


def serve_floor(port: int, _model: str) -> None:
    """Serve a constant as long as an answer of the model, on the HTTP server that serves ours."""
    import uvicorn

    answer = json.dumps({"predictions": [ANSWER]}, separators=(",", ":")).encode()
    length = str(len(answer)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]

    async def constant(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    uvicorn.run(
        constant,
        host="127.0.0.1",
        port=port,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )


ANSWER = {
    "label": "yes",
    "score": 0.9868654321012345,
    "probabilities": {"no": 0.013134567898765432, "yes": 0.9868654321012345},
}


if __name__ == "__main__":
    side, port, model = sys.argv[1:]
    {"kserve": serve_kserve, "floor": serve_floor}[side](int(port), model)
