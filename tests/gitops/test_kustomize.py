"""Kustomize renames our objects with all that refers to them, and merges patches of keyed lists."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from modelyard.api.crd import model_of
from modelyard.api.kinds import KINDS
from modelyard.api.kustomize import references
from modelyard.api.meta import Model, NameReference

HERE = Path(__file__).parent
COMPONENT = Path(__file__).parents[2] / "charts" / "modelyard" / "gitops" / "kustomize"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The tree of tests/gitops/kustomize, its link to the component set."""
    for source in (HERE / "kustomize").rglob("*.yaml"):
        target = tmp_path / source.relative_to(HERE / "kustomize")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
    (tmp_path / "modelyard").symlink_to(COMPONENT)
    return tmp_path


def build(kubectl: str, folder: Path) -> str:
    done = subprocess.run(
        [kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_overlay_builds_what_it_always_did(kubectl: str, tree: Path) -> None:
    assert build(kubectl, tree / "overlay") == (tree / "golden.yaml").read_text()


def test_every_reference_follows_the_prefix(kubectl: str, tree: Path) -> None:
    built = list(yaml.safe_load_all(build(kubectl, tree / "overlay")))
    names = {(entry["kind"], entry["metadata"]["name"]) for entry in built}
    assert {entry["metadata"]["namespace"] for entry in built} == {"eu"}
    tried = set()
    for kind in KINDS:
        for named, path in references(kind.spec):
            for entry in built:
                if entry["kind"] == kind.kind and entry["apiVersion"].startswith("modelyard"):
                    for value in at(entry, path.split("/")):
                        assert (named, value) in names
                        tried.add((kind.kind, path))
    assert tried == {(kind.kind, path) for kind in KINDS for _, path in references(kind.spec)}


def at(value: Any, path: list[str]) -> Iterator[Any]:
    """Yield what stands at a path, through lists."""
    if isinstance(value, list):
        for child in value:
            yield from at(child, path)
    elif not path:
        yield value
    elif path[0] in value:
        yield from at(value[path[0]], path[1:])


def fields(model: type[Model], path: str = "spec") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        yield f"{path}/{name}", field
        child = model_of(field.annotation)
        if child is not None and issubclass(child, Model):
            yield from fields(child, f"{path}/{name}")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_field_that_names_an_object_says_of_which_kind(kind: Any) -> None:
    known = {"".join(["_" + c.lower() if c.isupper() else c for c in k.kind])[1:] for k in KINDS}
    for path, field in fields(kind.spec):
        name = path.rsplit("/", 1)[-1]
        refers = field.annotation is NameReference or NameReference in get_args(field.annotation)
        if (refers or name in known) and name != "connection_ref":
            assert "x-modelyard-refers-to" in (field.json_schema_extra or {}), path
