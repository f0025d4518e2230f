"""An editor underlines what is wrong in a manifest, says what a field is for, and offers fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelyard.api.crd import json_schema, object_schema
from modelyard.api.kinds import BY_NAME, KINDS
from modelyard.api.meta import API_VERSION

from .conftest import ROOT, SCHEMAS, Editor

EXAMPLES = sorted((ROOT / "examples" / "specs").glob("*/*.yaml"))
SPECS: dict[str, dict[str, Any]] = {
    yaml.safe_load(path.read_text())["kind"]: yaml.safe_load(path.read_text())["spec"]
    for path in (ROOT / "examples" / "specs" / "breast-cancer").glob("*.yaml")
} | {"ModelVersion": {"stage": "Staging", "documentation": {"intendedUse": "Screening."}}}
"""A spec of each kind."""
EACH_KIND = pytest.mark.parametrize("kind", [kind.kind for kind in KINDS])


def manifest(kind: str, spec: dict[str, Any] | None = None) -> str:
    document = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": "tumor", "namespace": "cells"},
        "spec": SPECS[kind] if spec is None else spec,
    }
    return yaml.safe_dump(document, sort_keys=False)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_nothing_is_underlined_in_an_example(editor: Editor, path: Path) -> None:
    assert editor.underlined(path.read_text()) == {}


@EACH_KIND
def test_a_field_that_is_none_is_underlined(editor: Editor, kind: str) -> None:
    text = manifest(kind, {**SPECS[kind], "descriptoin": "A field with a slip."})
    assert editor.underlined(text) == {"descriptoin": "Property descriptoin is not allowed."}


WRONG = [
    pytest.param("Experiment", ("search", "trails"), 8, "trails", "not allowed", id="a deep field"),
    pytest.param("Experiment", ("search", "trials"), "many", "many", "integer", id="a type"),
    pytest.param("Experiment", ("search", "trials"), 0, "0", "minimum", id="too small a number"),
    pytest.param("Project", ("environment",), "prod", "prod", "production", id="a word of a list"),
    pytest.param("Deployment", ("model",), None, "null", "object", id="nothing"),
    pytest.param("Monitor", ("interval",), "soon", "soon", "pattern", id="a duration"),
    pytest.param("Policy", ("gates",), ["launch"], "launch", "promote", id="an item of a list"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "path", "value", "underlined", "said"), WRONG)
def test_a_value_that_cannot_be_is_underlined(
    editor: Editor, kind: str, path: tuple[str, ...], value: Any, underlined: str, said: str
) -> None:
    spec = yaml.safe_load(yaml.safe_dump(SPECS[kind]))
    within = spec
    for name in path[:-1]:
        within = within.setdefault(name, {})
    within[path[-1]] = value
    (found,) = editor.underlined(manifest(kind, spec)).items()
    assert found[0] == underlined
    assert said in found[1]


def test_a_field_that_is_required_is_missed(editor: Editor) -> None:
    spec = {name: value for name, value in SPECS["Experiment"].items() if name != "datasetRef"}
    (said,) = editor.underlined(manifest("Experiment", spec)).values()
    assert said == 'Missing property "datasetRef".'


def test_several_kinds_in_one_file_are_told_apart(editor: Editor) -> None:
    wrong = manifest("Dataset", {**SPECS["Dataset"], "gates": ["deploy"]})
    text = "---\n".join([manifest("Project"), wrong, manifest("Policy")])
    assert editor.underlined(text) == {"gates": "Property gates is not allowed."}


def test_a_kind_that_is_none_is_underlined(editor: Editor) -> None:
    said = editor.underlined(manifest("Policy").replace("kind: Policy", "kind: Polic"))
    assert "Polic" in said


def keys(node: yaml.Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path of every field that a text writes, and where its name stands."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark
            yield from keys(value, (*path, key.value))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from keys(item, (*path, "[]"))


def described(kind: str, path: tuple[str, ...]) -> str:
    """Return what the definition of a kind says of a field; empty for labels and such."""
    schema = json_schema(BY_NAME[kind])
    for name in path:
        children = schema.get("properties", {})
        schema = schema.get("items", {}) if name == "[]" else children.get(name, {})
    return str(schema.get("description", ""))


def letters(text: str) -> str:
    return re.sub(r"\W+|_", "", text)


@EACH_KIND
def test_every_field_says_what_it_is_for(editor: Editor, kind: str) -> None:
    text = manifest(kind)
    uri = editor.open(text)
    checked = 0
    for path, mark in keys(yaml.compose(text)):
        wanted = described(kind, path)
        shown = editor.hover(uri, mark.line, mark.column + 1)
        assert letters(wanted) in letters(shown), path
        checked += bool(wanted)
    assert checked >= 4


def test_the_fields_of_a_part_are_offered(editor: Editor) -> None:
    text = manifest("Experiment") + "  explain:\n    \n"
    line = text.splitlines().index("    ")
    fields = object_schema(BY_NAME["Experiment"])["properties"]["spec"]["properties"]["explain"]
    assert set(editor.completions(editor.open(text), line, 4)) >= set(fields["properties"])


PAGE = (ROOT / "docs" / "how-to" / "let-the-editor-help.md").read_text()
SLIP = {"descriptoin": "Property descriptoin is not allowed."}


def block(language: str) -> str:
    """Return the one block in a language that the page of the documentation has."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the schema where the page says to write it."""
    (tmp_path / ".vscode").mkdir()
    schema = (SCHEMAS / "modelyard.json").read_text()
    (tmp_path / ".vscode" / "modelyard.json").write_text(schema)
    return tmp_path


def test_the_documented_settings_work(language_server: Path, folder: Path) -> None:
    schemas = json.loads(block("json"))["yaml.schemas"]
    with closing(Editor(language_server, schemas, folder)) as editor:
        text = manifest("Policy", {**SPECS["Policy"], "descriptoin": ""})
        assert editor.underlined(text) == SLIP


def test_the_documented_comment_does_without_settings(language_server: Path, folder: Path) -> None:
    with closing(Editor(language_server, {}, folder)) as bare:
        text = block("yaml") + manifest("Policy", {**SPECS["Policy"], "descriptoin": ""})
        assert bare.underlined(text) == SLIP
