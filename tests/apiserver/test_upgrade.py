"""A definition changes while objects of it are stored: nothing is lost, and nothing is stuck."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

JSON_PATCH = "application/json-patch+json"
Json = dict[str, Any]


class Kind:
    """A kind of the test's own, whose definition it may change."""

    def __init__(
        self, api: Any, declare: Callable[..., None], wait: Callable[..., Any], namespace: str
    ) -> None:
        self.api, self._declare, self._wait = api, declare, wait
        self.group = f"{namespace}.example.com"
        self.path = f"/apis/{self.group}/v1/namespaces/{namespace}/widgets"
        self.old = self.version(region={"type": "string"}, floor={"type": "integer"})
        self.new = self.version(
            floor={"type": "object", "properties": {"least": {"type": "integer"}}},
            zone={"type": "string", "default": "north"},
        )

    def version(self, **fields: Json) -> Json:
        """Return a definition with these fields beside `replicas`."""
        spec = {"type": "object", "properties": {"replicas": {"type": "integer"}, **fields}}
        status = {"type": "object", "properties": {"phase": {"type": "string"}}}
        schema = {"type": "object", "properties": {"spec": spec, "status": status}}
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": schema},
        }
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"widgets.{self.group}"},
            "spec": {
                "group": self.group,
                "scope": "Namespaced",
                "names": {"kind": "Widget", "plural": "widgets"},
                "versions": [version],
            },
        }

    def define(self, crd: Json, **spec: Any) -> None:
        """Change the definition and wait until an object is served as it has it."""
        self._declare(self.api, crd)
        self._wait(lambda: self.spec() == spec)

    def spec(self) -> Json:
        found: Json = self.api.get(f"{self.path}/w1")["spec"]
        return found

    def body(self, **spec: Any) -> Json:
        return {
            "apiVersion": f"{self.group}/v1",
            "kind": "Widget",
            "metadata": {"name": "w1", "finalizers": ["lab.example.com/wait"]},
            "spec": {"replicas": 3, **spec},
        }


@pytest.fixture
def kind(api: Any, declare_crd: Any, namespace: str, eventually: Callable[..., Any]) -> Kind:
    """A kind with an object that is stored under its old definition."""
    found = Kind(api, declare_crd, eventually, namespace)
    declare_crd(api, found.old)
    api.create(found.path, found.body(region="eu", floor=2))
    return found


def test_reading_writes_nothing_and_going_back_finds_everything(api: Any, kind: Kind) -> None:
    before = api.get(f"{kind.path}/w1")
    kind.define(kind.new, replicas=3, floor=2, zone="north")
    [listed] = api.get(kind.path)["items"]
    assert listed["spec"] == kind.spec()
    after = api.get(f"{kind.path}/w1")
    for name in ("resourceVersion", "generation", "uid"):
        assert after["metadata"][name] == before["metadata"][name]
    kind.define(kind.old, replicas=3, floor=2, region="eu")


def test_an_object_that_is_invalid_by_now_takes_a_status_and_keeps_its_spec(
    api: Any, kind: Kind
) -> None:
    kind.define(kind.new, replicas=3, floor=2, zone="north")
    patch = [{"op": "add", "path": "/status", "value": {"phase": "Stuck"}}]
    found = api.patch(f"{kind.path}/w1/status", patch, JSON_PATCH)
    assert found["status"] == {"phase": "Stuck"}
    assert found["spec"] == {"replicas": 3, "floor": 2, "zone": "north"}
    assert found["metadata"]["generation"] == 1


def test_an_object_that_is_invalid_by_now_can_be_deleted(api: Any, kind: Kind) -> None:
    kind.define(kind.new, replicas=3, floor=2, zone="north")
    api.delete(f"{kind.path}/w1")
    api.patch(f"{kind.path}/w1", {"metadata": {"finalizers": None}})
    assert api.gone(f"{kind.path}/w1")


def test_a_patch_or_a_replacement_brings_the_new_shape(api: Any, kind: Kind) -> None:
    kind.define(kind.new, replicas=3, floor=2, zone="north")
    strictly = {"fieldValidation": "Strict"}
    patch = {"spec": {"floor": {"least": 1}}}
    assert api.patch(f"{kind.path}/w1", patch, **strictly)["spec"]["floor"] == {"least": 1}
    body = kind.body(floor={"least": 2})
    body["metadata"]["resourceVersion"] = api.get(f"{kind.path}/w1")["metadata"]["resourceVersion"]
    assert api.replace(f"{kind.path}/w1", body, **strictly)["spec"]["floor"] == {"least": 2}
    applied = api.apply(f"{kind.path}/w1", kind.body(floor={"least": 3}), "git", force="true")
    assert applied["spec"]["floor"] == {"least": 3}


def test_another_value_of_the_old_shape_is_refused(api: Any, kind: Kind) -> None:
    kind.define(kind.new, replicas=3, floor=2, zone="north")
    refused = api.send_patch(f"{kind.path}/w1", {"spec": {"floor": 1}})
    assert refused.status_code == 422
    assert "spec.floor" in refused.json()["message"]


def test_a_watch_shows_what_a_read_shows(api: Any, kind: Kind) -> None:
    kind.define(kind.new, replicas=3, floor=2, zone="north")
    with api.watch(kind.path, timeoutSeconds=5) as events:
        assert next(events)["object"]["spec"] == kind.spec()
