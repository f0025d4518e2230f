"""Watching: history, bookmarks, selections and lost revisions."""

from itertools import takewhile
from typing import Any

import pytest


def summary(event: dict[str, Any]) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"].get("name", "")


def test_a_watch_starts_with_what_is_there(api: Any, widgets: str, widget: Any) -> None:
    api.create(widgets, widget(name="a"))
    api.create(widgets, widget(name="b"))

    with api.watch(widgets, timeoutSeconds=1) as events:
        assert [summary(event) for event in events] == [("ADDED", "a"), ("ADDED", "b")]


def test_a_watch_from_a_revision_misses_nothing(api: Any, widgets: str, widget: Any) -> None:
    start = api.get(widgets)["metadata"]["resourceVersion"]
    api.create(widgets, widget())
    api.patch(f"{widgets}/w1", {"spec": {"replicas": 5}})
    api.delete(f"{widgets}/w1")

    with api.watch(widgets, resourceVersion=start, timeoutSeconds=1) as events:
        found = list(events)

    assert [event["type"] for event in found] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in found]
    assert versions == sorted(set(versions))
    assert found[1]["object"]["spec"]["replicas"] == 5


def test_a_watch_sees_changes_as_they_happen(api: Any, widgets: str, widget: Any) -> None:
    start = api.get(widgets)["metadata"]["resourceVersion"]

    with api.watch(widgets, resourceVersion=start) as events:
        api.create(widgets, widget())
        assert summary(next(events)) == ("ADDED", "w1")
        api.delete(f"{widgets}/w1")
        assert summary(next(events)) == ("DELETED", "w1")


def test_a_watch_keeps_to_its_namespace(api: Any, widgets: str, widget: Any) -> None:
    start = api.get(widgets)["metadata"]["resourceVersion"]
    other = api.create("/api/v1/namespaces", {"metadata": {"generateName": "other-"}})
    elsewhere = widgets.replace(widgets.split("/")[-2], other["metadata"]["name"])
    api.create(elsewhere, widget(name="far"))
    api.create(widgets, widget(name="near"))

    with api.watch(widgets, resourceVersion=start, timeoutSeconds=1) as events:
        assert [summary(event) for event in events] == [("ADDED", "near")]
    api.delete(f"/api/v1/namespaces/{other['metadata']['name']}")


SELECTORS = [
    pytest.param({"labelSelector": "seen=yes"}, id="by label"),
    pytest.param({"fieldSelector": "spec.mode=instant"}, id="by field"),
]


@pytest.mark.parametrize("query", SELECTORS)
def test_entering_and_leaving_a_selection_adds_and_deletes(
    api: Any, widgets: str, widget: Any, query: dict[str, str]
) -> None:
    start = api.get(widgets)["metadata"]["resourceVersion"]
    api.create(widgets, widget())
    for seen, mode in (("yes", "instant"), ("no", "gradual")):
        body = {"metadata": {"labels": {"seen": seen}}, "spec": {"mode": mode}}
        api.patch(f"{widgets}/w1", body)

    with api.watch(widgets, resourceVersion=start, timeoutSeconds=1, **query) as events:
        assert [event["type"] for event in events] == ["ADDED", "DELETED"]


def test_a_watch_can_follow_one_object(api: Any, widgets: str, widget: Any) -> None:
    for name in ("a", "b"):
        api.create(widgets, widget(name=name))

    with api.watch(widgets, fieldSelector="metadata.name=b", timeoutSeconds=1) as events:
        assert [summary(event) for event in events] == [("ADDED", "b")]


def test_initial_events_end_with_a_bookmark(api: Any, widgets: str, widget: Any) -> None:
    api.create(widgets, widget())

    with api.watch(
        widgets,
        sendInitialEvents="true",
        allowWatchBookmarks="true",
        resourceVersionMatch="NotOlderThan",
    ) as events:
        added, bookmark = next(events), next(events)

    assert summary(added) == ("ADDED", "w1")
    assert bookmark["type"] == "BOOKMARK"
    annotations = bookmark["object"]["metadata"]["annotations"]
    assert annotations == {"k8s.io/initial-events-end": "true"}


def test_a_watch_can_show_tables(api: Any, widgets: str, widget: Any) -> None:
    api.create(widgets, widget())
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    query = {"watch": "1", "timeoutSeconds": 1}

    lines = api.http.get(widgets, params=query, headers=accept).text.splitlines()

    assert '"kind":"Table"' in lines[0]


def test_bookmarks_come_at_intervals(start: Any, connect: Any, declare_crd: Any) -> None:
    api = connect(start("--bookmark-interval", "0.2"))
    path = "/api/v1/namespaces/default/configmaps"
    secret = api.create("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})

    with api.watch(path, resourceVersion="1", allowWatchBookmarks="true") as events:
        first, second = next(events), next(events)

    assert [first["type"], second["type"]] == ["BOOKMARK", "BOOKMARK"]
    reached = int(first["object"]["metadata"]["resourceVersion"])
    assert reached >= int(secret["metadata"]["resourceVersion"])


def test_without_asking_there_are_no_bookmarks(start: Any, connect: Any) -> None:
    api = connect(start("--bookmark-interval", "0.1"))

    with api.watch("/api/v1/namespaces/default/configmaps", timeoutSeconds=1) as events:
        assert list(events) == []


def test_a_lost_revision_is_an_error_within_the_stream(start: Any, connect: Any) -> None:
    api = connect(start("--history-limit", "10"))
    path = "/api/v1/namespaces/default/configmaps"
    first = api.get(path)["metadata"]["resourceVersion"]
    for number in range(120):
        api.create(path, {"metadata": {"name": f"c{number}"}})

    with api.watch(path, resourceVersion=first) as events:
        found = list(events)

    assert [event["type"] for event in found] == ["ERROR"]
    assert (found[0]["object"]["code"], found[0]["object"]["reason"]) == (410, "Expired")


def test_a_revision_of_another_life_is_lost_too(start: Any, connect: Any) -> None:
    api = connect(start())

    with api.watch("/api/v1/namespaces/default/configmaps", resourceVersion="999999") as events:
        assert [event["object"]["code"] for event in events] == [410]


def test_a_page_that_is_too_old_is_gone(start: Any, connect: Any) -> None:
    api = connect(start("--history-limit", "10"))
    path = "/api/v1/namespaces/default/configmaps"
    for number in range(3):
        api.create(path, {"metadata": {"name": f"a{number}"}})
    token = api.get(path, limit=1)["metadata"]["continue"]
    for number in range(120):
        api.create(path, {"metadata": {"name": f"c{number}"}})

    response = api.http.get(path, params={"limit": 1, "continue": token})

    assert (response.status_code, response.json()["reason"]) == (410, "Expired")


def test_a_watch_of_a_vanished_kind_ends(
    start: Any, connect: Any, declare_crd: Any, declared: Any
) -> None:
    api = connect(start())
    declare_crd(api, declared)
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

    with api.watch("/apis/lab.example.com/v1/widgets") as events:
        api.delete(f"{crds}/widgets.lab.example.com")
        assert list(takewhile(lambda event: event["type"] != "ERROR", events)) == []
