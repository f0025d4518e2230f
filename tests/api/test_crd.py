"""The CRDs: complete, structural, and the same as the committed files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelyard.api.crd import bundle_schema, crd, crds, json_schema, object_schema
from modelyard.api.kinds import KINDS, Kind
from modelyard.cli.generate import generated_files, write

ROOT = Path(__file__).parents[2]
EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


METADATA = tuple(f"{kind.kind}.metadata" for kind in KINDS)
"""An API server knows what these are, and refuses a description of them."""


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


@EACH_KIND
def test_every_field_has_a_description_of_some_length(kind: Kind) -> None:
    short = [
        path
        for path, node in nodes(object_schema(kind), kind.kind)
        if not path.endswith("[]")
        and path not in METADATA
        and len(node.get("description", "")) < 15
    ]
    assert short == []


@EACH_KIND
def test_every_node_has_a_type_or_says_that_it_is_free(kind: Kind) -> None:
    untyped = [
        path
        for path, node in nodes(object_schema(kind), kind.kind)
        if "type" not in node
        and not node.get("x-kubernetes-preserve-unknown-fields")
        and not node.get("x-kubernetes-int-or-string")
    ]
    assert untyped == []


@EACH_KIND
def test_schemas_use_no_keyword_that_structural_schemas_forbid(kind: Kind) -> None:
    text = str(crd(kind))
    forbidden = ("$ref", "anyOf", "oneOf", "'title'", "'const'", "additionalProperties': False")
    assert [word for word in forbidden if word in text] == []


@EACH_KIND
def test_every_list_and_text_of_the_status_is_bounded(kind: Kind) -> None:
    status = object_schema(kind)["properties"]["status"]
    unbounded = [
        path
        for path, node in nodes(status, "status")
        if (node.get("type") == "array" and "maxItems" not in node)
        or (isinstance(node.get("additionalProperties"), dict) and "maxProperties" not in node)
    ]
    assert unbounded == []


@EACH_KIND
def test_no_default_holds_a_null_that_an_api_server_would_refuse(kind: Kind) -> None:
    holding = [
        path
        for path, node in nodes(object_schema(kind), kind.kind)
        if "None" in repr(node.get("default", "")).replace("'None'", "")
    ]
    assert holding == []


@EACH_KIND
def test_list_map_keys_are_required_in_their_items(kind: Kind) -> None:
    optional = [
        path
        for path, node in nodes(object_schema(kind), kind.kind)
        for key in node.get("x-kubernetes-list-map-keys", [])
        if key not in node["items"]["required"]
    ]
    assert optional == []


def test_names_are_those_the_design_fixes() -> None:
    names = {entry["spec"]["names"]["kind"]: entry["spec"]["names"] for entry in crds()}
    assert {kind: name["shortNames"] for kind, name in names.items()} == {
        "Project": ["mproj"],
        "Dataset": ["mds"],
        "Experiment": ["mexp"],
        "ModelVersion": ["mmv"],
        "Deployment": ["mdep"],
        "Monitor": ["mmon"],
        "Policy": ["mpol"],
    }
    assert all(name["categories"] == ["modelyard"] for name in names.values())


@EACH_KIND
def test_every_kind_has_a_status_subresource_and_a_ready_column(kind: Kind) -> None:
    version = crd(kind)["spec"]["versions"][0]
    assert version["subresources"]["status"] == {}
    assert ("scale" in version["subresources"]) == (kind.kind == "Deployment")
    assert version["additionalPrinterColumns"][0]["name"] == "Ready"


def test_rules_stand_beside_the_model_that_declares_them() -> None:
    dataset = next(kind for kind in KINDS if kind.kind == "Dataset")
    spec = object_schema(dataset)["properties"]["spec"]
    source_rules = spec["properties"]["source"]["x-kubernetes-validations"]
    assert source_rules[0]["message"] == "set exactly one of path, uri and builtin"
    items = spec["properties"]["expectations"]["items"]
    assert any("Regex" in rule["rule"] for rule in items["x-kubernetes-validations"])


def test_exclusive_bounds_have_the_form_that_openapi_v3_gives_them() -> None:
    monitor = next(kind for kind in KINDS if kind.kind == "Monitor")
    drift = object_schema(monitor)["properties"]["spec"]["properties"]["drift"]["properties"]
    assert drift["significance"]["minimum"] == 0
    assert drift["significance"]["exclusiveMinimum"] is True
    editor = json_schema(monitor)["properties"]["spec"]["properties"]["drift"]["properties"]
    assert editor["significance"]["exclusiveMinimum"] == 0
    assert "minimum" not in editor["significance"]


def test_quantities_may_be_whole_numbers_or_texts_for_api_servers_and_editors() -> None:
    project = next(kind for kind in KINDS if kind.kind == "Project")
    quota = object_schema(project)["properties"]["spec"]["properties"]["quota"]["properties"]
    assert quota["cpu"]["x-kubernetes-int-or-string"] is True
    assert "type" not in quota["cpu"]
    editor = json_schema(project)["properties"]["spec"]["properties"]["quota"]["properties"]
    assert editor["cpu"]["type"] == ["integer", "string"]


def plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a schema demands, in words that OpenAPI v3 and draft 7 share."""
    found = {
        key: value
        for key, value in schema.items()
        if not key.startswith("x-kubernetes-")
        and key not in ("properties", "items", "additionalProperties", "const", "$schema", "title")
    }
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if found.get(exclusive) is True:
            found[exclusive] = found.pop(bound)
    return found


@EACH_KIND
def test_editors_demand_of_every_field_what_the_api_server_demands(kind: Kind) -> None:
    """As committed: the same fields, each with the same type, bounds, words and default."""
    definition = yaml.safe_load((ROOT / "crds" / f"{kind.plural}.yaml").read_text())
    served = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    path = ROOT / "crds" / "schemas" / f"{kind.kind.lower()}.json"
    editor = json.loads(path.read_text())
    for part in ("spec", "status"):
        one, other = dict(nodes(served[part], part)), dict(nodes(editor["properties"][part], part))
        assert list(one) == list(other)
        assert {name: plain(node) for name, node in one.items()} == {
            name: plain(node) for name, node in other.items()
        }
        closed = [n for n, node in other.items() if node.get("additionalProperties") is not False]
        assert not [name for name in closed if "properties" in other[name]], "all know their fields"
    bundle = json.loads((path.parent / "modelyard.json").read_text())["oneOf"]
    assert editor in bundle


def test_the_bundle_schema_tells_the_kinds_apart() -> None:
    kinds = [option["properties"]["kind"]["const"] for option in bundle_schema()["oneOf"]]
    assert kinds == [kind.kind for kind in KINDS]


def test_committed_files_are_what_the_models_generate() -> None:
    stale = [
        name
        for name, text in generated_files().items()
        if not (ROOT / name).exists() or (ROOT / name).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run `make generate` and commit what it writes"


def test_generating_writes_the_files_where_asked(tmp_path: Path) -> None:
    write(tmp_path)
    assert (tmp_path / "crds" / "policies.yaml").read_text().startswith("apiVersion:")


@EACH_KIND
def test_a_definition_has_no_empty_list_that_the_api_server_would_drop(kind: Kind) -> None:
    """A sync engine would find git and the cluster different for ever."""
    assert [
        path for path, node in nodes(object_schema(kind), "") if node.get("required") == []
    ] == []
