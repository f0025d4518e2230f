"""Reading and writing objects over HTTP."""

import json
from typing import Any

import pytest

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def configmap(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def test_a_new_object_gets_what_the_server_gives(api: Any, widgets: str, widget: Any) -> None:
    created = api.create(widgets, widget(name="w1"))

    metadata = created["metadata"]
    assert metadata["generation"] == 1
    assert len(metadata["uid"]) == 36
    assert int(metadata["resourceVersion"]) > 0
    assert metadata["creationTimestamp"].endswith("Z")
    assert "status" not in created


def test_get_returns_what_create_returned(api: Any, configmaps: str) -> None:
    created = api.create(configmaps, configmap("c1", a="b"))

    assert api.get(f"{configmaps}/c1") == created


def test_generate_name_makes_distinct_names(api: Any, configmaps: str) -> None:
    body = {"metadata": {"generateName": "made-"}}

    names = {api.create(configmaps, body)["metadata"]["name"] for _ in range(3)}

    assert len(names) == 3
    assert all(name.startswith("made-") for name in names)


def test_the_generation_follows_the_spec_alone(api: Any, widgets: str, widget: Any) -> None:
    api.create(widgets, widget())
    path = f"{widgets}/w1"

    def generation(body: dict[str, Any], where: str = path) -> int:
        return int(api.patch(where, body)["metadata"]["generation"])

    assert generation({"metadata": {"labels": {"a": "b"}}}) == 1
    assert generation({"status": {"phase": "X"}}, f"{path}/status") == 1
    assert generation({"spec": {"replicas": 4}}) == 2
    assert generation({"spec": {"replicas": 4}}) == 2


def test_a_write_that_changes_nothing_is_none(api: Any, widgets: str, widget: Any) -> None:
    created = api.create(widgets, widget())

    patched = api.patch(f"{widgets}/w1", {"spec": {"replicas": 3}})
    replaced = api.replace(f"{widgets}/w1", created)

    assert patched == created
    assert replaced == created


def test_spec_and_status_keep_apart(api: Any, widgets: str, widget: Any) -> None:
    api.create(widgets, {**widget(), "status": {"phase": "no"}})
    both = {"spec": {"replicas": 9}, "status": {"phase": "yes"}}

    through_status = api.patch(f"{widgets}/w1/status", both)
    through_main = api.patch(f"{widgets}/w1", {**both, "status": {"phase": "no"}})

    assert (through_status["spec"]["replicas"], through_status["status"]["phase"]) == (3, "yes")
    assert (through_main["spec"]["replicas"], through_main["status"]["phase"]) == (9, "yes")


def test_a_status_write_leaves_metadata_alone(api: Any, widgets: str, widget: Any) -> None:
    api.create(widgets, widget())

    patched = api.patch(
        f"{widgets}/w1/status",
        {"metadata": {"labels": {"a": "b"}, "finalizers": ["x.io/y"]}, "status": {"phase": "X"}},
    )

    assert "labels" not in patched["metadata"]
    assert "finalizers" not in patched["metadata"]


def test_scale_reads_and_writes_replicas(api: Any, widgets: str, widget: Any) -> None:
    api.create(widgets, widget())
    read = api.get(f"{widgets}/w1/scale")

    api.patch(f"{widgets}/w1/scale", {"spec": {"replicas": 8}})

    assert (read["kind"], read["spec"]["replicas"]) == ("Scale", 3)
    assert api.get(f"{widgets}/w1")["spec"]["replicas"] == 8


REFUSALS = [
    pytest.param("POST", "", {"metadata": {"name": "taken"}}, 409, "AlreadyExists", id="name taken"),
    pytest.param("GET", "/absent", None, 404, "NotFound", id="not there"),
    pytest.param("DELETE", "/absent", None, 404, "NotFound", id="nothing to delete"),
    pytest.param("POST", "", {"metadata": {}}, 422, "Invalid", id="no name"),
    pytest.param("POST", "", {"metadata": {"name": "Upper"}}, 422, "Invalid", id="bad name"),
    pytest.param("POST", "", {"metadata": {"name": "x", "namespace": "other"}}, 400, "BadRequest", id="other namespace"),
    pytest.param("POST", "", {"metadata": {"name": "x", "labels": {"a": "b c"}}}, 422, "Invalid", id="bad label"),
    pytest.param("POST", "", {"kind": "Secret", "metadata": {"name": "x"}}, 400, "BadRequest", id="other kind"),
    pytest.param("PUT", "/taken", {"metadata": {"name": "other"}}, 400, "BadRequest", id="other name"),
    pytest.param("PUT", "/taken", {"metadata": {"name": "taken", "resourceVersion": "1"}}, 409, "Conflict", id="stale"),
    pytest.param("PUT", "/taken", {"metadata": {"name": "taken", "uid": "odd"}}, 409, "Conflict", id="other uid"),
    pytest.param("DELETE", "/taken", {"preconditions": {"uid": "odd"}}, 409, "Conflict", id="delete other uid"),
    pytest.param("DELETE", "/taken", {"preconditions": {"resourceVersion": "1"}}, 409, "Conflict", id="delete stale"),
    pytest.param("PUT", "", {}, 405, "MethodNotAllowed", id="no such verb"),
    pytest.param("GET", "/taken/odd", None, 404, "NotFound", id="no such subresource"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "code", "reason"), REFUSALS)
def test_refusals_say_why(
    api: Any, configmaps: str, method: str, path: str, body: Any, code: int, reason: str
) -> None:
    api.create(configmaps, configmap("taken"))

    response = api.http.request(method, configmaps + path, json=body)

    status = response.json()
    assert (response.status_code, status["reason"]) == (code, reason), status
    assert (status["kind"], status["code"]) == ("Status", code)
    assert status["message"]


def test_a_stale_write_names_the_object(api: Any, widgets: str, widget: Any) -> None:
    created = api.create(widgets, widget())
    api.patch(f"{widgets}/w1", {"spec": {"replicas": 5}})

    response = api.http.put(f"{widgets}/w1", json=created)

    assert response.json()["message"] == (
        'Operation cannot be fulfilled on widgets.lab.example.com "w1": the object has been'
        " modified; please apply your changes to the latest version and try again"
    )


def test_a_custom_resource_is_replaced_with_its_version_only(
    api: Any, widgets: str, widget: Any
) -> None:
    api.create(widgets, widget())

    response = api.http.put(f"{widgets}/w1", json=widget())

    assert response.status_code == 422
    assert "metadata.resourceVersion: Invalid value" in response.json()["message"]


def test_malformed_json_is_a_bad_request(api: Any, configmaps: str) -> None:
    response = api.http.post(configmaps, content="{", headers={"Content-Type": "application/json"})

    assert response.status_code == 400


def test_an_unknown_media_type_is_refused(api: Any, configmaps: str) -> None:
    response = api.http.post(configmaps, content="x", headers={"Content-Type": "text/plain"})

    assert response.status_code == 415


def test_yaml_bodies_are_understood(api: Any, configmaps: str) -> None:
    body = "metadata: {name: y1}\ndata: {day: '2020-01-01'}\n"

    response = api.http.post(configmaps, content=body, headers={"Content-Type": "application/yaml"})

    assert response.json()["data"] == {"day": "2020-01-01"}


def test_a_body_too_large_is_refused(api: Any, configmaps: str) -> None:
    response = api.http.post(configmaps, json=configmap("big", a="x" * 4_000_000))

    assert response.status_code in {413, 422}


def test_a_client_that_takes_no_json_is_told(api: Any, configmaps: str) -> None:
    response = api.http.get(configmaps, headers={"Accept": "text/html"})

    assert response.status_code == 406


def test_a_strategic_patch_merges_lists_by_key(api: Any, namespace: str) -> None:
    pods = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    containers = [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]
    template = {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": containers}}
    spec = {"selector": {"matchLabels": {"x": "y"}}, "template": template}
    api.create(pods, {"metadata": {"name": "d"}, "spec": spec})
    changes = [{"name": "a", "image": "a:2"}, {"name": "b", "$patch": "delete"}]

    patched = api.patch(
        f"{pods}/d",
        {"spec": {"template": {"spec": {"containers": changes}}}},
        "application/strategic-merge-patch+json",
    )

    found = patched["spec"]["template"]["spec"]["containers"]
    assert [(item["name"], item["image"]) for item in found] == [("a", "a:2")]


def test_a_json_patch_that_does_not_fit_is_refused(api: Any, configmaps: str) -> None:
    api.create(configmaps, configmap("c1", a="b"))
    operations = [{"op": "remove", "path": "/data/absent"}]

    response = api.send_patch(f"{configmaps}/c1", operations, "application/json-patch+json")

    assert response.status_code == 422


DRY_RUNS = [
    pytest.param(lambda api, path: api.create(path, configmap("new"), dryRun="All"), id="create"),
    pytest.param(lambda api, path: api.replace(f"{path}/c1", configmap("c1", a="c"), dryRun="All"), id="replace"),
    pytest.param(lambda api, path: api.patch(f"{path}/c1", {"data": {"a": "c"}}, dryRun="All"), id="patch"),
    pytest.param(
        lambda api, path: api.apply(f"{path}/new", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}}, "m", dryRun="All"),
        id="apply",
    ),
    pytest.param(lambda api, path: api.delete(f"{path}/c1", dryRun="All"), id="delete"),
]  # fmt: skip


@pytest.mark.parametrize("write", DRY_RUNS)
def test_a_dry_run_writes_nothing(api: Any, configmaps: str, write: Any) -> None:
    api.create(configmaps, configmap("c1", a="b"))
    before = api.get(configmaps)["items"]

    write(api, configmaps)

    assert api.get(configmaps)["items"] == before


def test_a_dry_run_is_validated(api: Any, widgets: str, widget: Any) -> None:
    response = api.http.post(widgets, json=widget(replicas=300), params={"dryRun": "All"})

    assert response.status_code == 422


def test_a_table_has_a_row_for_each_object(api: Any, widgets: str, widget: Any) -> None:
    api.create(widgets, widget())

    table = api.http.get(widgets, headers={"Accept": TABLE}).json()

    names = [column["name"] for column in table["columnDefinitions"]]
    assert names == ["Name", "Replicas", "Phase", "Ready", "Mode", "Age"]
    assert table["rows"][0]["cells"][:5] == ["w1", 3, None, None, "gradual"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_metadata_can_be_read_alone(api: Any, widgets: str, widget: Any) -> None:
    created = api.create(widgets, widget())

    one = api.http.get(f"{widgets}/w1", headers={"Accept": PARTIAL}).json()
    many = api.http.get(widgets, headers={"Accept": PARTIAL_LIST}).json()

    assert one["kind"] == "PartialObjectMetadata"
    assert one["metadata"] == created["metadata"]
    assert "spec" not in one
    assert [item["metadata"]["name"] for item in many["items"]] == ["w1"]


SELECTIONS = [
    pytest.param({"labelSelector": "tier=a"}, ["a1", "a2"], id="equal"),
    pytest.param({"labelSelector": "tier==a,size=big"}, ["a2"], id="and"),
    pytest.param({"labelSelector": "tier!=a"}, ["b1", "none"], id="not equal, absent too"),
    pytest.param({"labelSelector": "tier in (a, b)"}, ["a1", "a2", "b1"], id="in"),
    pytest.param({"labelSelector": "tier notin (a),tier"}, ["b1"], id="not in but there"),
    pytest.param({"labelSelector": "!tier"}, ["none"], id="absent"),
    pytest.param({"fieldSelector": "metadata.name=b1"}, ["b1"], id="name"),
    pytest.param({"fieldSelector": "metadata.name!=b1", "labelSelector": "tier"}, ["a1", "a2"], id="both"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "names"), SELECTIONS)
def test_selectors_select(api: Any, configmaps: str, query: Any, names: list[str]) -> None:
    everyone: dict[str, dict[str, str]] = {
        "a1": {"tier": "a"},
        "a2": {"tier": "a", "size": "big"},
        "b1": {"tier": "b"},
        "none": {},
    }
    for name, labels in everyone.items():
        api.create(configmaps, {"metadata": {"name": name, "labels": labels}})

    items = api.get(configmaps, **query)["items"]

    found = [item["metadata"]["name"] for item in items]
    assert [name for name in found if name != "kube-root-ca.crt"] == names


@pytest.mark.parametrize(
    "query", [{"labelSelector": "a=b=c"}, {"fieldSelector": "spec.odd=1"}, {"limit": "x"}]
)
def test_malformed_queries_are_refused(api: Any, configmaps: str, query: Any) -> None:
    assert api.http.get(configmaps, params=query).status_code == 400


def test_pages_show_the_state_of_the_first(api: Any, widgets: str, widget: Any) -> None:
    for number in range(5):
        api.create(widgets, widget(name=f"w{number}"))
    first = api.get(widgets, limit=2)
    api.delete(f"{widgets}/w3")
    api.patch(f"{widgets}/w4", {"spec": {"replicas": 50}})
    api.create(widgets, widget(name="w9"))

    second = api.get(widgets, limit=2, **{"continue": first["metadata"]["continue"]})
    third = api.get(widgets, limit=2, **{"continue": second["metadata"]["continue"]})

    pages = [
        [item["metadata"]["name"] for item in page["items"]] for page in (first, second, third)
    ]
    assert pages == [["w0", "w1"], ["w2", "w3"], ["w4"]]
    assert third["items"][0]["spec"]["replicas"] == 3
    assert first["metadata"]["remainingItemCount"] == 3
    assert not third["metadata"].get("continue")
    versions = {page["metadata"]["resourceVersion"] for page in (first, second, third)}
    assert len(versions) == 1


def test_a_malformed_page_token_is_refused(api: Any, widgets: str) -> None:
    assert api.http.get(widgets, params={"limit": 1, "continue": "odd"}).status_code == 400


def test_a_collection_can_be_deleted_in_part(api: Any, configmaps: str) -> None:
    for name, tier in (("a", "x"), ("b", "y"), ("c", "x")):
        api.create(configmaps, {"metadata": {"name": name, "labels": {"tier": tier}}})

    api.delete(configmaps, labelSelector="tier=x")

    found = [item["metadata"]["name"] for item in api.get(configmaps)["items"]]
    assert [name for name in found if name != "kube-root-ca.crt"] == ["b"]


def test_secrets_keep_plain_text_encoded(api: Any, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"

    created = api.create(path, {"metadata": {"name": "s"}, "stringData": {"a": "b"}})

    assert created["data"] == {"a": "Yg=="}
    assert created["type"] == "Opaque"
    assert "stringData" not in created


def test_immutable_data_stays(api: Any, configmaps: str) -> None:
    api.create(configmaps, {**configmap("c1", a="b"), "immutable": True})

    response = api.send_patch(f"{configmaps}/c1", {"data": {"a": "c"}})

    assert response.status_code == 422
    assert "mmutable" in response.json()["message"]


def test_events_are_the_same_in_both_groups(api: Any, namespace: str) -> None:
    core = f"/api/v1/namespaces/{namespace}/events"
    reported = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    api.create(
        core,
        {
            "metadata": {"name": "e1"},
            "involvedObject": {"kind": "Widget", "name": "w1", "namespace": namespace},
            "message": "hello",
            "reason": "Tried",
            "type": "Normal",
        },
    )

    event = api.get(f"{reported}/e1")

    assert event["apiVersion"] == "events.k8s.io/v1"
    assert event["note"] == "hello"
    assert event["regarding"]["name"] == "w1"
    assert len(api.get(core, fieldSelector="involvedObject.name=w1")["items"]) == 1
    assert len(api.get(core, fieldSelector="involvedObject.name=w2")["items"]) == 0


def test_leases_can_be_renewed(api: Any, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    spec = {"holderIdentity": "me", "renewTime": "2030-01-01T00:00:00.000000Z"}
    lease = api.create(path, {"metadata": {"name": "l"}, "spec": spec})
    lease["spec"]["holderIdentity"] = "you"

    assert api.replace(f"{path}/l", lease)["spec"]["holderIdentity"] == "you"
    assert api.http.put(f"{path}/l", json=lease).status_code == 409


def test_discovery_in_the_old_and_the_new_form_agree(api: Any, declared: Any) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    response = api.http.get("/apis", headers={"Accept": accept})
    old = api.get("/apis/lab.example.com/v1")["resources"]

    assert response.headers["Content-Type"] == accept
    groups = {group["metadata"]["name"]: group for group in response.json()["items"]}
    new = groups["lab.example.com"]["versions"][0]["resources"][0]
    assert [resource["name"] for resource in old] == ["widgets", "widgets/status", "widgets/scale"]
    assert new["resource"] == "widgets"
    assert [sub["subresource"] for sub in new["subresources"]] == ["status", "scale"]
    assert "lab.example.com" in json.dumps(api.get("/apis"))
    assert api.get("/apis/lab.example.com")["preferredVersion"]["version"] == "v1"


def test_openapi_advertises_what_kubectl_needs(api: Any, declared: Any) -> None:
    index = api.get("/openapi/v3")["paths"]
    document = api.get(index["apis/lab.example.com/v1"]["serverRelativeURL"])
    core = api.get(index["api/v1"]["serverRelativeURL"])

    item = "/{namespace}/widgets/{name}"
    patch = next(v for k, v in document["paths"].items() if k.endswith(item))["patch"]
    core_item = "/api/v1/namespaces/{namespace}/configmaps/{name}"
    strategic = "application/strategic-merge-patch+json"
    assert {"dryRun", "fieldValidation"} <= {p["name"] for p in patch["parameters"]}
    assert patch["x-kubernetes-group-version-kind"]["kind"] == "Widget"
    assert strategic not in patch["requestBody"]["content"]
    assert strategic in core["paths"][core_item]["patch"]["requestBody"]["content"]


def test_unknown_paths_are_not_found(api: Any) -> None:
    for path in ("/odd", "/apis/odd.example.com", "/apis/apps/v9/things", "/api/v1/odd"):
        assert api.http.get(path).status_code == 404, path
