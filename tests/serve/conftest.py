"""A small packed model with every kind of feature, and real server processes that serve it."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from modelyard.api.artifacts import MODEL_FILE, MODEL_MEDIA_TYPE
from modelyard.api.identity import canonical_json, digest
from modelyard.api.runtime import ServeConfig, SharedServeConfig, StoreConfig
from modelyard_runtimes.model import FeatureSchema, Model, ModelDocument, Packed, load, read
from modelyard_runtimes.model.format import (
    CategoricalEncoding,
    EncoderDocument,
    MemberDocument,
    NumericEncoding,
)
from modelyard_runtimes.store import Store, open_store

from tests.tools.object_store import make_bucket, object_store

NAME = "churn"
VERSION = "churn-0123456789"
REVISION = "abc123"

FEATURES = [
    FeatureSchema(name="age", type="Numeric", required=True),
    FeatureSchema(name="income", type="Numeric", required=False),
    FeatureSchema(name="member", type="Boolean", required=True),
    FeatureSchema(name="plan", type="Categorical", required=True, categories=["basic", "gold"]),
    FeatureSchema(name="email", type="Categorical", required=False, categories=["a@b.example"]),
    FeatureSchema(name="phone", type="Categorical", required=False, categories=["1"]),
    FeatureSchema(name="since", type="Datetime", required=False),
]
NUMBERS = 3 + 6
LEVELS = 4 + 3 + 3


def document(**changes: Any) -> ModelDocument:
    numeric = NumericEncoding(
        fill=[40.0, 1000.0, 0.0, *[0.0] * 6], mean=[0.0] * NUMBERS, scale=[1.0] * NUMBERS
    )
    categorical = CategoricalEncoding(style="OneHot", levels=[[0, 1, 2, 3], [0, 1, 2], [0, 1, 2]])
    fields: dict[str, Any] = {
        "task": "Classification",
        "target": "churned",
        "classes": ["no", "yes"],
        "positive_label": "yes",
        "features": FEATURES,
        "encoders": [EncoderDocument(numeric=numeric, categorical=categorical)],
        "members": [
            MemberDocument(
                type="Linear",
                learner="linear",
                trial=0,
                weight=1.0,
                encoder=0,
                file="members/0.npy",
            )
        ],
        "privacy": {"email": "Mask", "phone": "Hash"},
        **changes,
    }
    return ModelDocument(**fields)


def weights(outputs: int = 1) -> bytes:
    """Coefficients by which every feature but the time matters, to each output in its own way."""
    values = np.zeros((NUMBERS + LEVELS + 1, 1))
    values[:3, 0] = [0.05, -0.0005, -0.7]
    values[NUMBERS : NUMBERS + LEVELS, 0] = np.linspace(-0.5, 0.5, LEVELS)
    values[-1, 0] = -1.0
    values = values * np.linspace(1.0, -1.0, outputs)
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


LAUNCH = """
import os, runpy, sys
os.dup2(int(sys.argv.pop()), 3)
runpy.run_module("modelyard_runtimes.serve", run_name="__main__", alter_sys=True)
"""


@dataclass
class Served:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str
    config: ServeConfig | SharedServeConfig

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, **options)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def instance(**changes: Any) -> dict[str, Any]:
    return {"age": 30, "income": 2000.5, "member": True, "plan": "gold", **changes}


def configuration(
    store: Store, model: ModelDocument | None = None, padding: int = 0, **changes: Any
) -> ServeConfig:
    """Pack a model into the store and return the configuration that serves it.

    Padding makes it larger by so many bytes, which stay in memory while it is loaded.
    """
    model = model or document()
    files = {
        MODEL_FILE: canonical_json(model.to_json()),
        "members/0.npy": weights(len(model.classes) if len(model.classes) > 2 else 1),
    }
    if padding:
        files["padding"] = os.urandom(padding)
    artifact = store.put_artifact(MODEL_MEDIA_TYPE, files)
    fields = {
        "name": NAME,
        "namespace": "default",
        "model_uri": artifact.uri,
        "model_digest": artifact.digest,
        "model_version": VERSION,
        "payload_uri": f"{store.uri}/payloads/default/{NAME}",
        "store": StoreConfig(uri=store.uri),
        "source_revision": REVISION,
    }
    return ServeConfig.model_validate({**fields, **changes})


def start(
    config: ServeConfig | SharedServeConfig,
    listener: socket.socket,
    environ: dict[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> Served:
    """Start a server on a listening socket, as descriptor 3, and wait until it says READY=1."""
    reader, writer = os.pipe()

    inherited = listener.fileno()
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *arguments, str(inherited)],
        env={
            **os.environ,
            "MODELYARD_CONFIG": json.dumps(config.to_json()),
            "LISTEN_FDS": "1",
            "NOTIFY_FD": str(writer),
            **(environ or {}),
        },
        pass_fds=(inherited, writer),
    )
    os.close(writer)
    told = os.read(reader, 64)
    os.close(reader)
    assert told == b"READY=1\n", f"the server ended with {process.wait(30)}"
    host, port = listener.getsockname()
    return Served(process, f"http://{host}:{port}", config)


@contextmanager
def serving(folder: Path) -> Iterator[Callable[..., Served]]:
    """Yield what starts servers, all on one socket; they end with the context."""
    store = open_store(StoreConfig(uri=f"file://{folder}/store"))
    started: list[Served] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)

        def run(
            model: ModelDocument | None = None,
            environ: dict[str, str] | None = None,
            **changes: Any,
        ) -> Served:
            started.append(start(configuration(store, model, **changes), listener, environ))
            return started[-1]

        yield run
        for served in started:
            served.stop()


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers, all on one socket, and ends them."""
    with serving(tmp_path) as run:
        yield run


@pytest.fixture(scope="module")
def module_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """The same for all tests of a module."""
    with serving(tmp_path_factory.mktemp("serve")) as run:
        yield run


class Shared:
    """A server of many models and the folder that says which."""

    def __init__(self, root: Path) -> None:
        self.store = open_store(StoreConfig(uri=f"file://{root}/store"))
        self.root, self.folder = root, root / "models"
        self.folder.mkdir()
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.served: Served | None = None

    def put(self, name: str, model: ModelDocument | None = None, **changes: Any) -> ServeConfig:
        """Have the folder name a model, as a renewed ConfigMap does: all at once."""
        fields = {
            "name": name,
            "model_version": f"{name}-1",
            "payload_uri": f"{self.store.uri}/payloads/default/{name}",
            **changes,
        }
        config = configuration(self.store, model, **fields)
        config = config.model_copy(update={"revision": digest(canonical_json(config.to_json()))})
        self.write(name, json.dumps(config.to_json()))
        return config

    def write(self, name: str, text: str) -> None:
        """Write the file of a model."""
        temporary = self.folder / ".new"
        temporary.write_text(text)
        temporary.rename(self.folder / f"{name}.json")

    def remove(self, name: str) -> None:
        """Have the folder name a model no more."""
        (self.folder / f"{name}.json").unlink()

    def start(self, memory: int = 2**30) -> Served:
        """Start the server."""
        config = SharedServeConfig(
            namespace="default",
            memory=memory,
            revision="shared",
            store=StoreConfig(uri=self.store.uri),
        )
        arguments = ["--models-folder", str(self.folder)]
        self.served = start(config, self.listener, arguments=arguments)
        return self.served

    def close(self) -> None:
        if self.served is not None:
            self.served.stop()
        self.listener.close()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    """A folder of models and the server of these, once it is started; it ends with the test."""
    found = Shared(tmp_path)
    yield found
    found.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(StoreConfig(uri=f"file://{tmp_path}/store"))


@pytest.fixture
def configure(store: Store) -> Callable[..., ServeConfig]:
    return partial(configuration, store)


@pytest.fixture
def regression() -> ModelDocument:
    return document(task="Regression", classes=[], positive_label=None)


@pytest.fixture
def model_document() -> Callable[..., ModelDocument]:
    return document


@pytest.fixture
def s3_folder() -> Iterator[tuple[str, StoreConfig, dict[str, str]]]:
    """URI, configuration and credentials of a folder in an S3 bucket on loopback."""
    with object_store() as endpoint:
        config = StoreConfig(uri="s3://models/root", endpoint=endpoint)
        make_bucket(endpoint, "models")
        environ = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        yield "s3://models/root/payloads/default/churn", config, environ


@pytest.fixture
def read_model() -> Callable[[ServeConfig], Packed]:
    return lambda config: read(Path(config.model_uri.removeprefix("file://")))


@pytest.fixture
def load_model() -> Callable[[ServeConfig], Model]:
    return lambda config: load(Path(config.model_uri.removeprefix("file://")))
