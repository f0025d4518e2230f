"""YAML is read as Kubernetes reads it, and every fault names its line."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.cli.documents import field_path, parse_field_path, read_documents


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("a: 2024-01-01", {"a": "2024-01-01"}, id="a date stays text"),
        pytest.param("a: 1e5", {"a": 100000.0}, id="an exponent without a dot is a number"),
        pytest.param("a: 12:30:00", {"a": "12:30:00"}, id="a time of day stays text"),
        pytest.param("a: yes", {"a": True}, id="yes is a boolean"),
        pytest.param("a: 0x1F", {"a": 31}, id="hexadecimal"),
        pytest.param("a: ~", {"a": None}, id="null"),
        pytest.param("a: &x [1]\nb: *x", {"a": [1], "b": [1]}, id="an alias"),
        pytest.param("x: &x {p: 1}\ny: {<<: *x, q: 2}", {"x": {"p": 1}, "y": {"p": 1, "q": 2}},
                     id="a merge key"),
        pytest.param("\ufeffa: 1", {"a": 1}, id="a byte order mark"),
    ],
)  # fmt: skip
def test_scalars_mean_what_they_mean_to_kubernetes(text: str, value: Any) -> None:
    documents, faults = read_documents(text.encode(), "f.yaml")
    assert not faults
    assert documents[0].value == value


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        pytest.param(b"", 1, "the file is empty", id="empty"),
        pytest.param(b" \n\n", 1, "the file is empty", id="only white space"),
        pytest.param(b"a: 1\nb: \xe9\n", 2, "byte 0xe9 is not UTF-8", id="Latin-1"),
        pytest.param(b"a:\n\tb: 1\n", 2, "allows only spaces", id="a tab"),
        pytest.param(b"a: 1\nb: 2\na: 3\n", 3, "first in line 1", id="a key twice"),
        pytest.param(b"a: [1, 2\nb: 3\n", 2, "not YAML", id="an open bracket"),
        pytest.param(b"a: 'x\n", 2, "not YAML", id="an open quote"),
        pytest.param(b"a: b: c\n", 1, "not YAML", id="two colons"),
        pytest.param(b"a: !!binary aGk=\n", 1, "no JSON form", id="binary"),
        pytest.param(b"a: !python/object x\n", 1, "no JSON form", id="a Python object"),
        pytest.param(b"a: .nan\n", 1, "no JSON numbers", id="not a number"),
        pytest.param(b"? [1]\n: 2\n", 1, "a key must be plain text", id="a list as key"),
        pytest.param(b"a: &a [*a]\n", 1, "too deep", id="a list within itself"),
        pytest.param(b"a: \x01\n", 1, "not allowed in YAML", id="a control character"),
        pytest.param(b"#" * 4_000_000, 1, "larger than 3 MiB", id="too large"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(data: bytes, line: int, message: str) -> None:
    _, faults = read_documents(data, "f.yaml")
    assert [fault.line for fault in faults] == [line]
    assert message in faults[0].message


def test_documents_before_a_fault_are_kept_and_empty_ones_skipped() -> None:
    documents, faults = read_documents(b"a: 1\n---\n# nothing\n---\nb: [\n", "f.yaml")
    assert [document.value for document in documents] == [{"a": 1}]
    assert len(faults) == 1


def test_positions_name_the_nearest_field_that_is_there() -> None:
    documents, _ = read_documents(b"---\na:\n  - b: 1\n    c: 2\n", "f.yaml")
    document = documents[0]
    assert document.position(("a", 0, "c")).line == 4
    assert document.position(("a", 0, "missing")).line == 3
    assert document.position(("nowhere",)).line == 2


@pytest.mark.parametrize("text", ["spec", "spec.rules[0].value", "a[1][2].b"])
def test_field_paths_are_read_as_they_are_written(text: str) -> None:
    assert field_path(parse_field_path(text)) == text
