"""Reads YAML as Kubernetes does, and remembers where each field stands.

Differences from plain PyYAML: duplicate keys are refused, dates stay text, `1e5` is a number,
`12:30` is text, and what has no JSON form (NaN, binary, sets) is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from modelyard.cli.faults import Fault

Path = tuple[str | int, ...]

MAX_BYTES = 3 * 1024 * 1024
MAX_NODES = 200_000
"""More than any manifest needs; stops alias bombs."""


@dataclass(frozen=True)
class Position:
    """A place in a file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """One YAML document and the position of each of its fields."""

    value: Any
    positions: dict[Path, Position]

    def position(self, path: Path) -> Position:
        """Return where a field stands, or the nearest field around it when it is missing."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions[path]


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalar rules of Kubernetes' YAML reader."""


def _scalar_rules() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    replaced = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float", "tag:yaml.org,2002:int"}
    return {
        first: [(tag, pattern) for tag, pattern in rules if tag not in replaced]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.yaml_implicit_resolvers = _scalar_rules()
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^([-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?"
        r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


class _RefusedError(Exception):
    """A document that cannot be taken, with its place."""

    def __init__(self, mark: yaml.Mark | None, path: Path, message: str) -> None:
        super().__init__(message)
        self.mark = mark
        self.path = path


def field_path(path: Path) -> str:
    """Return a path as text, for example `spec.rules[0].value`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


_PATH_PART = re.compile(r"\[(\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]|([^.\[\]]+)")


def parse_field_path(text: str) -> Path:
    """Return the path that a text such as `spec.rules[0].value` means."""
    parts: list[str | int] = []
    for index, single, double, name in _PATH_PART.findall(text):
        parts.append(int(index) if index else single or double or name)
    return tuple(parts)


class _Builder:
    """Turns the nodes of one document into JSON values, noting positions."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._nodes = 0
        self.positions: dict[Path, Position] = {}

    def build(self, node: yaml.Node, path: Path, key: yaml.Node | None = None) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or len(path) > 100:
            raise _RefusedError(node.start_mark, path, "too large or too deep; split the file")
        mark = (key or node).start_mark
        self.positions[path] = Position(mark.line + 1, mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, n)) for n, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._refuse_duplicates(node, path)
        self._loader.flatten_mapping(node)
        return {key.value: self.build(value, (*path, key.value), key) for key, value in node.value}

    def _refuse_duplicates(self, node: yaml.MappingNode, path: Path) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _RefusedError(key.start_mark, path, "a key must be plain text")
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise _RefusedError(
                    key.start_mark,
                    (*path, key.value),
                    f"the key stands twice, first in line {seen[key.value]}; remove one",
                )
            seen[key.value] = key.start_mark.line + 1

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        kind = node.tag.rpartition(":")[2]
        if kind not in {"str", "int", "float", "bool", "null"}:
            raise _RefusedError(
                node.start_mark, path, f"the tag {node.tag} has no JSON form; remove it"
            )
        try:
            value = self._loader.construct_object(node)
        except (ValueError, yaml.YAMLError) as error:
            raise _RefusedError(node.start_mark, path, f"cannot be read: {error}") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise _RefusedError(node.start_mark, path, "NaN and infinity are no JSON numbers")
        return value


def read_documents(data: bytes, file: str) -> tuple[list[Document], list[Fault]]:
    """Read all documents of a file that hold something.

    Args:
        data: The bytes of the file.
        file: The name that faults carry.

    Returns:
        The documents in order, and the faults; after a syntax fault nothing more is read.
    """
    if len(data) > MAX_BYTES:
        return [], [Fault(file, 1, 1, "", "larger than 3 MiB; split the file")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        return [], [Fault(file, line, 1, "", message)]
    if not text.strip():
        return [], [Fault(file, 1, 1, "", "the file is empty; write a manifest or delete the file")]
    documents: list[Document] = []
    try:
        documents.extend(_documents(text))
    except _RefusedError as refused:
        mark = refused.mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return documents, [Fault(file, line, column, field_path(refused.path), str(refused))]
    except yaml.YAMLError as error:
        return documents, [_syntax_fault(error, text, file)]
    return documents, []


def _documents(text: str) -> Iterator[Document]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None or node.tag.endswith(":null"):
                continue
            builder = _Builder(loader)
            value = builder.build(node, ())
            yield Document(value, builder.positions)
    finally:
        loader.dispose()


def _syntax_fault(error: yaml.YAMLError, text: str, file: str) -> Fault:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        message = f"the character {error.character!r} is not allowed in YAML; remove it"
        return Fault(file, line, 1, "", message)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    source = lines[line - 1] if line <= len(lines) else ""
    if "\t" in source[: len(source) - len(source.lstrip())] or "'\\t'" in problem:
        return Fault(file, line, column, "", "a tab indents this line; YAML allows only spaces")
    remedy = "check indentation, quotes and colons here and in the line above"
    return Fault(file, line, column, "", f"not YAML: {problem}; {remedy}")
