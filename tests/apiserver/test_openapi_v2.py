"""OpenAPI v2, as sync engines read it, and the defaults of a status."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parents[2] / "crds"
ASKED_FOR = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
ANSWERED = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def definition_of(document: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the one definition of a kind."""
    found = [
        schema
        for schema in document["definitions"].values()
        for named in schema.get("x-kubernetes-group-version-kind", [])
        if named["kind"] == kind
    ]
    assert len(found) == 1
    return dict(found[0])


def test_definitions_tell_how_objects_merge(api: Any, declare_crd: Any) -> None:
    declare_crd(api, yaml.safe_load((CRDS / "projects.yaml").read_text()))
    spec = definition_of(api.get("/openapi/v2"), "Project")["properties"]["spec"]
    connections = spec["properties"]["connections"]
    assert connections["x-kubernetes-list-map-keys"] == ["name"]
    assert connections["items"]["properties"]["name"]["type"] == "string"


def test_clients_in_go_read_it_as_protobuf(api: Any, declare_crd: Any) -> None:
    declare_crd(api, yaml.safe_load((CRDS / "projects.yaml").read_text()))
    told = api.http.get("/openapi/v2", headers={"Accept": ASKED_FOR})
    assert told.headers["Content-Type"] == ANSWERED
    document = dict(fields(told.content))
    assert document[1] == b"2.0"
    names = {dict(fields(entry))[1].decode() for _, entry in fields(document[9])}
    assert names == set(api.get("/openapi/v2")["definitions"])


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of the fields of a message that have a length."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        length, at = varint(message, at)
        assert key & 7 == 2
        yield key >> 3, message[at : at + length]
        at += length


def varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


def test_a_status_has_its_defaults_before_anybody_writes_it(
    api: Any, namespace: str, declare_crd: Any
) -> None:
    declare_crd(api, yaml.safe_load((CRDS / "projects.yaml").read_text()))
    path = f"/apis/modelyard.dev/v1alpha1/namespaces/{namespace}/projects"
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Project",
        "metadata": {"name": "p"},
        "spec": {},
        "status": {"observedGeneration": 7},
    }
    api.create(path, body)
    assert api.get(f"{path}/p")["status"]["observedGeneration"] == -1
    body["metadata"] = {"name": "q"}
    api.apply(f"{path}/q", body, "git")
    assert api.get(f"{path}/q")["status"]["observedGeneration"] == -1
