"""A busy server's trees are compiled beside it; whatever goes wrong there, LightGBM goes on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from modelyard.api.artifacts import MODEL_FILE, MODEL_MEDIA_TYPE
from modelyard.api.identity import canonical_json
from modelyard_runtimes.model import FeatureSchema, ModelDocument, Packed
from modelyard_runtimes.model.format import (
    CategoricalEncoding,
    EncoderDocument,
    MemberDocument,
    NumericEncoding,
)
from modelyard_runtimes.model.rows import RowPredictor
from modelyard_runtimes.serve import tree_compiler
from modelyard_runtimes.serve.tree_compiler import BUSY_ROWS, TreeCompiler

from tests.model.conftest import trees

V1 = "/v1/models/churn:predict"
SPLITS = [(0, 0.5, 8, -0.3, 0.4), (1, -0.25, 10, 0.1, -0.8), (2, 1.5, 8, 0.7, 1.1)]
ROWS = [[x / 4, -x / 8, None if x % 3 else x] for x in range(-10, 10)]


def packed(objective: str = "regression") -> Packed:
    numeric = NumericEncoding(fill=[None] * 3, mean=[0.0] * 3, scale=[1.0] * 3)
    encoder = EncoderDocument(
        numeric=numeric, categorical=CategoricalEncoding(style="Ordinal", levels=[])
    )
    member = MemberDocument(
        type="Trees", learner="LightGBM", trial=0, weight=1.0, encoder=0, file="members/0.txt"
    )
    document = ModelDocument(
        task="Regression",
        target="y",
        features=[FeatureSchema(name=name, type="Numeric", required=False) for name in "abc"],
        encoders=[encoder],
        members=[member],
    )
    return Packed(document, {"members/0.txt": trees(objective, *SPLITS)})


@pytest.fixture
def serve_trees(serve: Any, store: Any) -> Callable[[], Any]:
    """Start a server of trees."""

    def start() -> Any:
        document, files = packed()
        content = {MODEL_FILE: canonical_json(document.to_json()), **files}
        artifact = store.put_artifact(MODEL_MEDIA_TYPE, content)
        return serve(model_uri=artifact.uri, model_digest=artifact.digest)

    return start


class Client:
    """Asks for one row after the other over one connection."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.connection = socket.create_connection((host, int(port)), timeout=60)
        self.answers = self.connection.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.answers.close()
        self.connection.close()

    def ask(self, row: list[Any]) -> bytes:
        body = json.dumps({"instances": [row]}).encode()
        head = f"POST {V1} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        self.connection.sendall(head.encode() + body)
        lines = iter(self.answers.readline, b"\r\n")
        sizes = [line for line in lines if line.startswith(b"content-length:")]
        return self.answers.read(int(sizes[0].split()[1]))


def maps_compiled_trees(process: int) -> bool:
    return "/modelyard-trees-" in Path(f"/proc/{process}/maps").read_text()


def test_a_busy_server_compiles_its_trees_and_answers_as_before(serve_trees: Any) -> None:
    served = serve_trees()
    with Client(served.url) as client:
        before = [client.ask(row) for row in ROWS]
        assert not maps_compiled_trees(served.process.pid)

        for count in range(BUSY_ROWS):
            client.ask(ROWS[count % len(ROWS)])
        deadline = time.monotonic() + 120
        while not maps_compiled_trees(served.process.pid) and time.monotonic() < deadline:
            client.ask(ROWS[0])
            time.sleep(0.05)

        assert maps_compiled_trees(served.process.pid)
        assert [client.ask(row) for row in ROWS] == before
    assert len(set(before)) > 3
    assert served.stop() == 0


def busy(objective: str = "regression") -> tuple[TreeCompiler, RowPredictor]:
    """Return a compiler that watches a busy model, and the model."""
    predictor, compiler = RowPredictor(packed(objective)), TreeCompiler()
    assert predictor.single is not None
    predictor.single.asked = BUSY_ROWS
    compiler.watch(predictor, "churn-1")
    return compiler, predictor


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    return [(record.getMessage(), record.__dict__["fields"]) for record in caplog.records]


@pytest.fixture(autouse=True)
def log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "modelyard")


async def test_compiled_trees_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    compiler, predictor = busy()
    before = [predictor.values([row]) for row in ROWS]
    await compiler.compile_busy()
    await compiler.compile_busy()
    ((message, fields),) = told(caplog)
    assert message == "compiled"
    assert fields.pop("seconds") > 0
    assert fields == {"model": "churn-1", "member": "members/0.txt"}
    assert [predictor.values([row]) for row in ROWS] == before


async def test_a_model_that_is_not_busy_is_left_alone(
    monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    compiler, predictor = busy()
    assert predictor.single is not None
    predictor.single.asked = BUSY_ROWS - 1
    await compiler.compile_busy()
    assert told(caplog) == []
    predictor.values([ROWS[0]])
    await compiler.compile_busy()
    assert len(told(caplog)) == 1


def script(monkeypatch: Any, folder: Path, text: str) -> None:
    """Have a shell script run in place of Python."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(path))


def ends_with_nothing_said(monkeypatch: Any, folder: Path) -> None:
    script(monkeypatch, folder, "exit 3")


def is_killed(monkeypatch: Any, folder: Path) -> None:
    script(monkeypatch, folder, "kill -9 $$")


def never_ends(monkeypatch: Any, folder: Path) -> None:
    script(monkeypatch, folder, "exec sleep 600")
    monkeypatch.setattr(tree_compiler, "PATIENCE_SECONDS", 0.2)


def says_why(monkeypatch: Any, folder: Path) -> None:
    script(monkeypatch, folder, "echo a warning >&2; echo it has too many leaves >&2; exit 1")


def writes_nothing(monkeypatch: Any, folder: Path) -> None:
    script(monkeypatch, folder, "exit 0")


def is_not_there(monkeypatch: Any, folder: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(folder / "nowhere"))


def has_no_room(monkeypatch: Any, folder: Path) -> None:
    (folder / "memory.max").write_text(f"{2**28}\n")
    (folder / "memory.stat").write_text(f"anon {2**27}\nfile {2**27}\n")
    monkeypatch.setattr(tree_compiler, "CONTROL_GROUP", folder)


FAILURES: dict[str, tuple[Callable[[Any, Path], None], str]] = {
    "the compiler ends with nothing said": (ends_with_nothing_said, "the compiler ended with 3"),
    "the compiler is killed": (is_killed, "the compiler ended with -9"),
    "the compiler never ends": (never_ends, "took more than"),
    "the compiler says why": (says_why, "it has too many leaves"),
    "the compiler writes nothing": (writes_nothing, "No such file"),
    "the compiler cannot be started": (is_not_there, "No such file"),
    "there is no memory for the compiler": (has_no_room, "memory leaves no room"),
}


@pytest.mark.parametrize(("fail", "why"), FAILURES.values(), ids=list(FAILURES))
async def test_lightgbm_goes_on_where(
    monkeypatch: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fail: Callable[[Any, Path], None],
    why: str,
) -> None:
    compiler, predictor = busy()
    before = [predictor.values([row]) for row in ROWS]
    fail(monkeypatch, tmp_path)

    await compiler.compile_busy()
    await compiler.compile_busy()

    ((message, fields),) = told(caplog)
    assert message.startswith("not compiled, LightGBM goes on: ")
    assert re.search(why, message)
    assert fields == {"model": "churn-1", "member": "members/0.txt"}
    assert [predictor.values([row]) for row in ROWS] == before


async def test_the_compiler_ends_with_the_server(monkeypatch: Any, tmp_path: Path) -> None:
    script(monkeypatch, tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    monkeypatch.setattr(tree_compiler, "LOOK_SECONDS", 0.01)
    compiler, predictor = busy()
    running = asyncio.create_task(compiler.run())
    pid = tmp_path / "pid"
    while not pid.exists() or not pid.read_text().endswith("\n"):  # noqa: ASYNC110 - a file
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    del predictor  # which would not be compiled if nobody used it
