"""Server-side apply: who owns what, and what happens to it."""

from typing import Any

import pytest


@pytest.fixture
def apply(api: Any, widgets: str) -> Any:
    """Applies fields to widget `w1` for a manager."""

    def send(manager: str, spec: Any = None, *, metadata: Any = None, **query: Any) -> Any:
        body = {
            "apiVersion": "lab.example.com/v1",
            "kind": "Widget",
            "metadata": {"name": "w1", **(metadata or {})},
        }
        if spec is not None:
            body["spec"] = spec
        return api.send_patch(
            f"{widgets}/w1", body, "application/apply-patch+yaml", fieldManager=manager, **query
        )

    return send


@pytest.fixture
def applied(apply: Any) -> Any:
    """Like `apply`, but must succeed; returns the object."""

    def send(*arguments: Any, **more: Any) -> Any:
        response = apply(*arguments, **more)
        assert response.is_success, response.text
        return response.json()

    return send


def owned(body: Any, manager: str, operation: str = "Apply") -> Any:
    """What a manager owns, as fieldsV1, or None."""
    for entry in body["metadata"].get("managedFields", ()):
        if (entry["manager"], entry["operation"]) == (manager, operation):
            return entry["fieldsV1"]
    return None


def test_apply_creates_and_owns_what_it_says(apply: Any) -> None:
    response = apply("git", {"replicas": 3, "features": ["x"]}, metadata={"labels": {"a": "b"}})

    body = response.json()
    assert response.status_code == 201
    assert owned(body, "git") == {
        "f:metadata": {"f:labels": {"f:a": {}}},
        "f:spec": {"f:features": {'v:"x"': {}}, "f:replicas": {}},
    }
    assert body["spec"]["mode"] == "gradual", "defaults are filled in, but owned by nobody"


def test_applying_again_writes_nothing(applied: Any) -> None:
    first = applied("git", {"replicas": 3})

    assert applied("git", {"replicas": 3}) == first


def test_create_owns_as_an_update(api: Any, widgets: str, widget: Any) -> None:
    body = api.create(widgets, widget(), fieldManager="maker")

    fields = owned(body, "maker", "Update")
    assert fields["f:spec"]["f:replicas"] == {}
    assert fields["f:spec"]["f:mode"] == {}
    assert "." in fields["f:spec"]


def test_a_conflict_names_manager_and_field(apply: Any, applied: Any) -> None:
    applied("git", {"replicas": 3, "mode": "instant"})

    one = apply("other", {"replicas": 4})
    two = apply("other", {"replicas": 4, "mode": "gradual"})

    assert one.status_code == 409
    assert one.json()["message"] == (
        'Apply failed with 1 conflict: conflict with "git": .spec.replicas'
    )
    assert one.json()["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "git"',
            "field": ".spec.replicas",
        }
    ]
    assert two.json()["message"] == (
        'Apply failed with 2 conflicts: conflicts with "git":\n- .spec.mode\n- .spec.replicas'
    )


def test_a_conflict_with_an_update_says_in_which_version(
    api: Any, widgets: str, widget: Any, apply: Any
) -> None:
    api.create(widgets, widget(), fieldManager="maker")

    message = apply("git", {"replicas": 4}).json()["message"]

    assert 'conflict with "maker" using lab.example.com/v1: .spec.replicas' in message


def test_the_same_value_is_shared_without_conflict(applied: Any) -> None:
    applied("git", {"replicas": 3})

    body = applied("other", {"replicas": 3})

    assert owned(body, "git") == owned(body, "other") == {"f:spec": {"f:replicas": {}}}


def test_force_takes_the_field_away(applied: Any) -> None:
    applied("git", {"replicas": 3, "mode": "instant"})

    body = applied("other", {"replicas": 4}, force="true")

    assert body["spec"]["replicas"] == 4
    assert owned(body, "git") == {"f:spec": {"f:mode": {}}}
    assert owned(body, "other") == {"f:spec": {"f:replicas": {}}}


def test_a_field_left_out_is_removed(applied: Any) -> None:
    applied("git", {"replicas": 3, "weights": {"a": 1, "b": 2}, "image": "x:1"})

    body = applied("git", {"replicas": 3, "weights": {"a": 1}})

    assert body["spec"]["weights"] == {"a": 1}
    assert "image" not in body["spec"]


def test_a_default_comes_back_when_its_field_is_given_up(applied: Any) -> None:
    applied("git", {"replicas": 3, "mode": "instant", "limits": {"cpu": "2"}})

    body = applied("git", {"replicas": 3})

    assert body["spec"]["mode"] == "gradual"
    assert body["spec"]["limits"] == {"cpu": "250m", "memory": "64Mi"}


def test_a_field_that_others_own_stays(applied: Any) -> None:
    applied("git", {"replicas": 3, "image": "x:1"})
    applied("other", {"image": "x:1"})

    body = applied("git", {"replicas": 3})

    assert body["spec"]["image"] == "x:1"
    assert owned(body, "git") == {"f:spec": {"f:replicas": {}}}


def test_an_update_takes_what_it_changes(api: Any, widgets: str, applied: Any) -> None:
    applied("git", {"replicas": 3, "mode": "instant"})

    body = api.patch(f"{widgets}/w1", {"spec": {"replicas": 9}}, fieldManager="hand")

    assert owned(body, "hand", "Update") == {"f:spec": {"f:replicas": {}}}
    assert owned(body, "git") == {"f:spec": {"f:mode": {}}}


def test_what_an_update_removes_nobody_owns(api: Any, widgets: str, applied: Any) -> None:
    applied("git", {"replicas": 3, "image": "x:1"})

    body = api.patch(f"{widgets}/w1", {"spec": {"image": None}}, fieldManager="hand")

    assert owned(body, "git") == {"f:spec": {"f:replicas": {}}}


def test_items_of_a_map_list_have_owners_of_their_own(applied: Any) -> None:
    applied("git", {"replicas": 3, "ports": [{"name": "a", "port": 1}]})

    body = applied("other", {"ports": [{"name": "b", "port": 2}]})

    ports = {item["name"]: item["port"] for item in body["spec"]["ports"]}
    assert ports == {"a": 1, "b": 2}
    assert owned(body, "other") == {
        "f:spec": {"f:ports": {'k:{"name":"b"}': {".": {}, "f:name": {}, "f:port": {}}}}
    }


def test_an_item_of_a_map_list_goes_with_its_owner(applied: Any) -> None:
    both = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    applied("git", {"replicas": 3, "ports": both})

    body = applied("git", {"replicas": 3, "ports": both[:1]})

    assert [item["name"] for item in body["spec"]["ports"]] == ["a"]


def test_an_item_stays_while_another_owns_a_part(applied: Any) -> None:
    applied("git", {"replicas": 3, "ports": [{"name": "a", "port": 1}]})
    applied("other", {"ports": [{"name": "a", "protocol": "UDP"}]}, force="true")

    body = applied("git", {"replicas": 3, "ports": []})

    assert body["spec"]["ports"] == [{"name": "a", "protocol": "UDP"}]


def test_an_item_of_a_map_list_conflicts_by_its_key(apply: Any, applied: Any) -> None:
    applied("git", {"replicas": 3, "ports": [{"name": "a", "port": 1}]})

    response = apply("other", {"ports": [{"name": "a", "port": 2}]})

    assert '.spec.ports[name="a"].port' in response.json()["message"]


def test_items_of_a_set_add_up(applied: Any) -> None:
    applied("git", {"replicas": 3, "features": ["x", "y"]})
    both = applied("other", {"features": ["y", "z"]})

    less = applied("git", {"replicas": 3, "features": ["x"]})

    assert both["spec"]["features"] == ["x", "y", "z"]
    assert less["spec"]["features"] == ["x", "y", "z"]
    assert applied("other", {"features": ["z"]})["spec"]["features"] == ["x", "z"]


def test_an_atomic_list_has_one_owner(apply: Any, applied: Any) -> None:
    applied("git", {"replicas": 3, "steps": ["a", "b"]})

    refused = apply("other", {"steps": ["a"]})
    forced = applied("other", {"steps": ["a"]}, force="true")

    assert refused.json()["details"]["causes"][0]["field"] == ".spec.steps"
    assert forced["spec"]["steps"] == ["a"]
    assert owned(forced, "git") == {"f:spec": {"f:replicas": {}}}


def test_finalizers_are_a_set(applied: Any) -> None:
    applied("git", {"replicas": 3}, metadata={"finalizers": ["a.io/x"]})
    applied("other", metadata={"finalizers": ["b.io/y"]})

    body = applied("git", {"replicas": 3})

    assert body["metadata"]["finalizers"] == ["b.io/y"]
    applied("other")


def test_unstructured_parts_are_granular_maps(applied: Any) -> None:
    applied("git", {"replicas": 3, "free": {"a": {"b": 1}, "list": [1]}})

    body = applied("other", {"free": {"a": {"c": 2}}})

    assert body["spec"]["free"] == {"a": {"b": 1, "c": 2}, "list": [1]}


def test_the_status_is_applied_by_itself(api: Any, widgets: str, applied: Any) -> None:
    applied("git", {"replicas": 3})
    condition = {"type": "Ready", "status": "True"}
    body = {
        "apiVersion": "lab.example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w1"},
        "status": {"conditions": [condition]},
    }

    first = api.apply(f"{widgets}/w1/status", body, "operator")
    other = {**body, "status": {"conditions": [{"type": "Fine", "status": "True"}]}}
    second = api.apply(f"{widgets}/w1/status", other, "watcher")

    entry = next(e for e in first["metadata"]["managedFields"] if e["manager"] == "operator")
    assert entry["subresource"] == "status"
    assert set(entry["fieldsV1"]) == {"f:status"}
    assert [c["type"] for c in second["status"]["conditions"]] == ["Ready", "Fine"]
    assert second["spec"]["replicas"] == 3


def test_the_main_resource_owns_no_status(api: Any, widgets: str) -> None:
    body = {
        "apiVersion": "lab.example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w1"},
        "spec": {"replicas": 3},
        "status": {"phase": "X"},
    }

    created = api.apply(f"{widgets}/w1", body, "git")

    assert "status" not in created
    assert set(owned(created, "git")) == {"f:spec"}


def test_managers_can_be_forgotten(api: Any, widgets: str, applied: Any) -> None:
    applied("git", {"replicas": 3})

    api.patch(f"{widgets}/w1", {"metadata": {"managedFields": [{}]}}, fieldManager="hand")
    body = applied("new", {"replicas": 3})

    assert owned(body, "git") is None
    assert owned(body, "before-first-apply", "Update")["f:spec"]["f:replicas"] == {}


def test_what_is_not_valid_is_not_applied(apply: Any) -> None:
    response = apply("git", {"replicas": 300})

    assert response.status_code == 422
    assert "less than or equal to 100" in response.json()["message"]


def test_apply_needs_a_manager(apply: Any) -> None:
    response = apply("", {"replicas": 3})

    assert response.status_code == 422
    assert "fieldManager: Required value" in response.json()["message"]


def test_apply_takes_no_managed_fields(apply: Any) -> None:
    response = apply("git", {"replicas": 3}, metadata={"managedFields": [{"manager": "x"}]})

    assert "managedFields must be nil" in response.json()["message"]


def test_config_maps_are_applied_key_by_key(api: Any, configmaps: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c1"}}

    api.apply(f"{configmaps}/c1", {**body, "data": {"a": "1"}}, "one")
    merged = api.apply(f"{configmaps}/c1", {**body, "data": {"b": "2"}}, "two")

    assert merged["data"] == {"a": "1", "b": "2"}
