"""Deleting: finalizers, owners, propagation and cascades."""

from typing import Any

import pytest


def owner_reference(owner: Any, *, blocks: bool = True) -> dict[str, Any]:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": blocks,
    }


@pytest.fixture
def family(api: Any, configmaps: str) -> Any:
    """Creates config maps with owners and finalizers."""

    def create(name: str, *owners: Any, finalizers: Any = ()) -> Any:
        metadata = {
            "name": name,
            "ownerReferences": [owner_reference(owner) for owner in owners],
            "finalizers": list(finalizers),
        }
        body = api.create(configmaps, {"metadata": metadata})
        return {"apiVersion": "v1", "kind": "ConfigMap", **body}

    return create


@pytest.fixture
def path(configmaps: str) -> Any:
    return lambda name: f"{configmaps}/{name}"


def release(api: Any, where: str) -> None:
    api.patch(where, {"metadata": {"finalizers": None}})


def test_a_finalizer_holds_the_object(api: Any, family: Any, path: Any) -> None:
    family("held", finalizers=["lab.example.com/wait"])

    held = api.delete(path("held"))

    assert held["metadata"]["deletionTimestamp"]
    assert api.delete(path("held"))["metadata"] == held["metadata"], (
        "deleting again changes nothing"
    )
    release(api, path("held"))
    assert api.gone(path("held"))


def test_deletion_advances_the_generation(api: Any, widgets: str, widget: Any) -> None:
    body = widget()
    body["metadata"]["finalizers"] = ["lab.example.com/wait"]
    api.create(widgets, body)

    assert api.delete(f"{widgets}/w1")["metadata"]["generation"] == 2
    release(api, f"{widgets}/w1")


def test_no_finalizer_can_be_added_while_deleting(api: Any, family: Any, path: Any) -> None:
    family("held", finalizers=["lab.example.com/wait"])
    api.delete(path("held"))
    more = {"metadata": {"finalizers": ["lab.example.com/wait", "lab.example.com/more"]}}

    response = api.send_patch(path("held"), more)

    assert response.status_code == 422
    assert "metadata.finalizers: Forbidden" in response.json()["message"]
    release(api, path("held"))


def test_success_says_what_went(api: Any, widgets: str, widget: Any) -> None:
    created = api.create(widgets, widget())

    status = api.delete(f"{widgets}/w1")

    assert (status["kind"], status["status"]) == ("Status", "Success")
    assert status["details"]["uid"] == created["metadata"]["uid"]


def test_dependents_go_with_their_owner(api: Any, family: Any, path: Any, eventually: Any) -> None:
    owner = family("owner")
    kid = family("kid", owner)
    family("grandkid", kid)

    api.delete(path("owner"))

    eventually(lambda: api.gone(path("kid")) and api.gone(path("grandkid")))


def test_a_dependent_of_two_stays_with_one(
    api: Any, family: Any, path: Any, eventually: Any
) -> None:
    first, second = family("first"), family("second")
    family("kid", first, second)

    api.delete(path("first"))

    def owners() -> list[str]:
        references = api.get(path("kid"))["metadata"]["ownerReferences"]
        return [reference["name"] for reference in references]

    eventually(lambda: owners() == ["second"])
    api.delete(path("second"))
    eventually(lambda: api.gone(path("kid")))


def test_an_object_of_a_vanished_owner_goes(
    api: Any, family: Any, path: Any, eventually: Any
) -> None:
    owner = family("owner")
    api.delete(path("owner"))

    family("late", owner)

    eventually(lambda: api.gone(path("late")))


def test_an_owner_in_another_namespace_does_not_count(
    api: Any, family: Any, configmaps: str, eventually: Any
) -> None:
    owner = family("owner")
    other = api.create("/api/v1/namespaces", {"metadata": {"generateName": "other-"}})
    name = other["metadata"]["name"]
    elsewhere = f"/api/v1/namespaces/{name}/configmaps"

    api.create(
        elsewhere, {"metadata": {"name": "kid", "ownerReferences": [owner_reference(owner)]}}
    )

    eventually(lambda: api.gone(f"{elsewhere}/kid"))
    api.delete(f"/api/v1/namespaces/{name}")


def test_foreground_waits_for_dependents(api: Any, family: Any, path: Any, eventually: Any) -> None:
    owner = family("owner")
    kid = family("kid", owner, finalizers=["lab.example.com/wait"])
    family("grandkid", kid)

    deleted = api.delete(path("owner"), propagationPolicy="Foreground")
    eventually(lambda: "deletionTimestamp" in api.get(path("kid"))["metadata"])
    eventually(lambda: api.gone(path("grandkid")))

    assert deleted["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert not api.gone(path("owner"))
    api.patch(path("kid"), {"metadata": {"finalizers": None}})
    eventually(lambda: api.gone(path("kid")) and api.gone(path("owner")))


def test_foreground_does_not_wait_for_those_that_do_not_block(
    api: Any, family: Any, path: Any, configmaps: str, eventually: Any
) -> None:
    owner = family("owner")
    metadata = {
        "name": "kid",
        "ownerReferences": [owner_reference(owner, blocks=False)],
        "finalizers": ["lab.example.com/wait"],
    }
    api.create(configmaps, {"metadata": metadata})

    api.delete(path("owner"), propagationPolicy="Foreground")

    eventually(lambda: api.gone(path("owner")))
    assert "deletionTimestamp" in api.get(path("kid"))["metadata"]
    release(api, path("kid"))


def test_orphans_stay_without_their_owner(
    api: Any, family: Any, path: Any, eventually: Any
) -> None:
    owner = family("owner")
    family("kid", owner)

    api.delete(path("owner"), propagationPolicy="Orphan")

    eventually(lambda: api.gone(path("owner")))
    assert "ownerReferences" not in api.get(path("kid"))["metadata"]


def test_an_unknown_policy_is_refused(api: Any, family: Any, path: Any) -> None:
    family("c")

    response = api.http.delete(path("c"), params={"propagationPolicy": "Odd"})

    assert response.is_client_error
    assert not api.gone(path("c"))


def test_a_namespace_takes_its_contents_along(
    api: Any, declared: Any, widget: Any, eventually: Any
) -> None:
    name = api.create("/api/v1/namespaces", {"metadata": {"generateName": "full-"}})["metadata"][
        "name"
    ]
    space = f"/api/v1/namespaces/{name}"
    widgets = f"/apis/lab.example.com/v1/namespaces/{name}/widgets"
    held = widget()
    held["metadata"]["finalizers"] = ["lab.example.com/wait"]
    api.create(widgets, held)
    api.create(f"{space}/configmaps", {"metadata": {"name": "c"}})

    marked = api.delete(space)
    eventually(lambda: api.gone(f"{space}/configmaps/c"))
    refused = api.http.post(f"{space}/configmaps", json={"metadata": {"name": "late"}})

    assert marked["status"]["phase"] == "Terminating"
    assert api.get(space)["status"]["phase"] == "Terminating", "a finalizer holds it"
    assert refused.status_code == 403
    assert "because it is being terminated" in refused.json()["message"]
    eventually(lambda: "deletionTimestamp" in api.get(f"{widgets}/w1")["metadata"])
    release(api, f"{widgets}/w1")
    eventually(lambda: api.gone(space))


def test_the_default_namespace_stays(api: Any) -> None:
    response = api.http.delete("/api/v1/namespaces/default")

    assert response.status_code == 403
    assert "this namespace may not be deleted" in response.json()["message"]


def test_a_definition_takes_its_objects_along(
    start: Any, connect: Any, declare_crd: Any, declared: Any, widget: Any, eventually: Any
) -> None:
    api = connect(start())
    declare_crd(api, declared)
    widgets = "/apis/lab.example.com/v1/namespaces/default/widgets"
    held = widget()
    held["metadata"]["finalizers"] = ["lab.example.com/wait"]
    api.create(widgets, held)
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.lab.example.com"

    api.delete(crd)
    eventually(lambda: "deletionTimestamp" in api.get(f"{widgets}/w1")["metadata"])
    release(api, f"{widgets}/w1")

    eventually(lambda: api.gone(crd))
    assert api.gone(widgets)
    declare_crd(api, declared)
    assert api.get(widgets)["items"] == []
