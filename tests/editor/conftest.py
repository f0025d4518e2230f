"""yaml-language-server without an editor: it speaks over its standard input and output."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "crds" / "schemas"
Json = dict[str, Any]


class Editor:
    """What an editor asks the language server about files that are not there."""

    def __init__(self, server: Path, schemas: dict[str, Any], folder: Path = ROOT) -> None:
        """Start a server.

        Args:
            server: The language server.
            schemas: What stands under `yaml.schemas` of the editor's settings.
            folder: The folder that the editor has opened.
        """
        self._folder = folder
        self._settings = {
            "schemas": schemas,
            "schemaStore": {"enable": False},
            "kubernetesCRDStore": {"enable": False},
        }
        self._numbers = itertools.count(1)
        self._process = subprocess.Popen(
            ["node", server, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        capabilities = {
            "workspace": {"configuration": True},
            "textDocument": {"hover": {"contentFormat": ["plaintext"]}},
        }
        opened = {
            "rootUri": folder.as_uri(),
            "workspaceFolders": [{"name": "opened", "uri": folder.as_uri()}],
        }
        self._ask("initialize", {"processId": None, "capabilities": capabilities, **opened})
        self._send(method="initialized", params={})

    def open(self, text: str) -> str:
        """Show a text to the server; return the URI by which it knows it."""
        uri = f"{self._folder.as_uri()}/{next(self._numbers)}.yaml"
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._send(method="textDocument/didOpen", params={"textDocument": document})
        return uri

    def underlined(self, text: str) -> dict[str, str]:
        """Return what is underlined in a text, and what the editor says of it."""
        uri = self.open(text)
        answer = self._until(
            lambda one: (
                one.get("method") == "textDocument/publishDiagnostics"
                and one["params"]["uri"] == uri
            )
        )
        return {
            between(text, one["range"]): one["message"] for one in answer["params"]["diagnostics"]
        }

    def hover(self, uri: str, line: int, character: int) -> str:
        """Return what the editor shows when the mouse rests somewhere."""
        found = self._ask("textDocument/hover", at(uri, line, character))
        return str(found["contents"]["value"]) if found else ""

    def completions(self, uri: str, line: int, character: int) -> list[str]:
        """Return what the editor offers to write somewhere."""
        found = self._ask("textDocument/completion", at(uri, line, character))
        return [one["label"] for one in found["items"]]

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, method: str, params: Json) -> Any:
        number = next(self._numbers)
        self._send(id=number, method=method, params=params)
        answer = self._until(lambda one: one.get("id") == number and "method" not in one)
        assert "error" not in answer, answer
        return answer["result"]

    def _until(self, wanted: Callable[[Json], bool]) -> Json:
        while not wanted(message := self._receive()):
            if "id" in message and "method" in message:
                self._answer(message)
        return message

    def _answer(self, request: Json) -> None:
        """Answer what the server asks: it wants to know settings, and to register itself."""
        result = None
        if request["method"] == "workspace/configuration":
            sections = [one["section"] for one in request["params"]["items"]]
            result = [self._settings if name == "yaml" else {} for name in sections]
        self._send(id=request["id"], result=result)

    def _send(self, **message: Any) -> None:
        assert self._process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _receive(self) -> Json:
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the language server ended"
        message: Json = json.loads(self._process.stdout.read(length))
        return message


def at(uri: str, line: int, character: int) -> Json:
    position = {"line": line, "character": character}
    return {"textDocument": {"uri": uri}, "position": position}


def between(text: str, found: Json) -> str:
    """Return the text of a range, which is within one line or begins where it is told."""
    start, end = found["start"], found["end"]
    line = text.splitlines()[start["line"]]
    last = end["character"] if end["line"] == start["line"] else len(line)
    return line[start["character"] : last]


@pytest.fixture(scope="session")
def language_server() -> Path:
    command = [sys.executable, ROOT / "tests" / "tools" / "language_server.py"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return Path(found.stdout.strip())


@pytest.fixture(scope="module")
def editor(language_server: Path) -> Iterator[Editor]:
    """An editor whose settings name the schema of all kinds, as the documentation says."""
    running = Editor(language_server, {(SCHEMAS / "modelyard.json").as_uri(): "*.yaml"})
    yield running
    running.close()
