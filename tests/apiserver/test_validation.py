"""What is refused, with which words, and what is filled in or dropped."""

import copy
from typing import Any

import pytest

FAULTS = [
    pytest.param({"replicas": 300}, "spec.replicas: Invalid value: 300: spec.replicas in body should be less than or equal to 100", id="too large"),
    pytest.param({"replicas": -1}, "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0", id="too small"),
    pytest.param({"replicas": "3"}, 'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"', id="wrong type"),
    pytest.param({"replicas": None}, "spec.replicas: Required value", id="null where none is allowed"),
    pytest.param({"mode": "odd"}, 'spec.mode: Unsupported value: "odd": supported values: "gradual", "instant"', id="not in the list"),
    pytest.param({"image": "NO"}, "spec.image in body should match '^[a-z]+:[0-9]+$'", id="pattern"),
    pytest.param({"image": "a" * 30 + ":1"}, "spec.image: Too long: may not be more than 20 bytes", id="too long"),
    pytest.param({"ports": [{"name": str(n)} for n in range(4)]}, "spec.ports: Too many: 4: must have at most 3 items", id="too many"),
    pytest.param({"ports": [{"port": 1}]}, "spec.ports[0].name: Required value", id="missing in an item"),
    pytest.param({"ports": [{"name": "a"}, {"name": "a"}]}, 'spec.ports[1]: Duplicate value: {"name":"a"}', id="doubled key"),
    pytest.param({"features": ["a", "a"]}, 'spec.features[1]: Duplicate value: "a"', id="doubled item"),
    pytest.param({"weights": {"x": "y"}}, "must be of type number", id="map value"),
    pytest.param({"target": 1.5}, "spec.target in body must be of type integer,string", id="int or string"),
    pytest.param({"floor": 5}, 'spec.replicas: Invalid value: fewer replicas than the floor of a widget that is gradual', id="rule with an expression for its message"),
    pytest.param({"ratio": 1}, "spec.ratio: Invalid value: 1: must be below 1", id="rule on a number"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "message"), FAULTS)
def test_faults_are_told_as_kubernetes_tells_them(
    api: Any, widgets: str, widget: Any, spec: Any, message: str
) -> None:
    response = api.http.post(widgets, json=widget(**spec))

    status = response.json()
    assert response.status_code == 422, status
    assert message in status["message"]
    assert status["message"].startswith('Widget.lab.example.com "w1" is invalid: ')
    assert status["details"]["causes"][0]["field"].startswith("spec.")


def test_all_faults_are_told_at_once(api: Any, widgets: str, widget: Any) -> None:
    status = api.http.post(widgets, json=widget(replicas=300, mode="odd")).json()

    assert {cause["field"] for cause in status["details"]["causes"]} == {
        "<nil>",
        "spec.mode",
        "spec.replicas",
    }
    assert "some validation rules were not checked because the object was invalid" in str(status)


def test_rules_are_checked_beside_bounds(api: Any, widgets: str, widget: Any) -> None:
    status = api.http.post(widgets, json=widget(replicas=-1, floor=5)).json()

    assert "should be greater than or equal to 0" in status["message"]
    assert "fewer replicas than the floor" in status["message"]


GOOD = [
    pytest.param({"image": None}, id="null where it is allowed"),
    pytest.param({"target": "50%"}, id="string of int or string"),
    pytest.param({"target": 5}, id="int of int or string"),
    pytest.param({"ratio": 0.5}, id="fraction"),
    pytest.param({"free": {"any": ["thing", {"at": None}]}}, id="free form"),
]


@pytest.mark.parametrize("spec", GOOD)
def test_what_is_allowed_is_kept(api: Any, widgets: str, widget: Any, spec: Any) -> None:
    created = api.create(widgets, widget(**spec))

    assert {name: created["spec"][name] for name in spec} == spec


def test_defaults_are_filled_in_deeply(api: Any, widgets: str, widget: Any) -> None:
    spec = api.create(widgets, widget(ports=[{"name": "a"}], limits={"cpu": "1"}))["spec"]

    assert spec["mode"] == "gradual"
    assert spec["limits"] == {"cpu": "1", "memory": "64Mi"}
    assert spec["ports"] == [{"name": "a", "protocol": "TCP"}]


UNKNOWN = {"odd": 1, "limits": {"odd": 2}, "ports": [{"name": "a", "odd": 3}]}
PATHS = ("spec.odd", "spec.limits.odd", "spec.ports[0].odd")


def test_unknown_fields_are_refused_if_asked(api: Any, widgets: str, widget: Any) -> None:
    response = api.http.post(widgets, json=widget(**UNKNOWN), params={"fieldValidation": "Strict"})

    assert response.status_code == 400
    assert "strict decoding error" in response.json()["message"]
    for path in PATHS:
        assert f'unknown field "{path}"' in response.json()["message"]


def test_unknown_fields_are_warned_of_and_dropped(api: Any, widgets: str, widget: Any) -> None:
    response = api.http.post(widgets, json=widget(**UNKNOWN))

    warnings = response.headers.get_list("warning")
    assert "odd" not in str(response.json()["spec"])
    for path in PATHS:
        assert f'299 - "unknown field \\"{path}\\""' in str(warnings).replace("\\\\", "\\")


def test_unknown_fields_are_dropped_in_silence_if_asked(
    api: Any, widgets: str, widget: Any
) -> None:
    query = {"fieldValidation": "Ignore"}
    response = api.http.post(widgets, json=widget(**UNKNOWN), params=query)

    assert "warning" not in response.headers
    assert "odd" not in str(response.json()["spec"])


def test_doubled_fields_are_refused_if_asked(api: Any, widgets: str) -> None:
    body = '{"metadata": {"name": "w1"}, "spec": {"replicas": 1, "replicas": 2}}'
    kind = {"Content-Type": "application/json"}
    typed = body.replace("{", '{"apiVersion": "lab.example.com/v1", "kind": "Widget", ', 1)

    strict = api.http.post(
        widgets, content=typed, headers=kind, params={"fieldValidation": "Strict"}
    )
    warned = api.http.post(widgets, content=typed, headers=kind)

    assert 'duplicate field "spec.replicas"' in strict.json()["message"]
    assert "duplicate field" in warned.headers["warning"]
    assert warned.json()["spec"]["replicas"] == 2


def test_unknown_fields_of_core_kinds_are_found(api: Any, configmaps: str) -> None:
    body = {"metadata": {"name": "c", "odd": 1}, "dta": {"a": "b"}}

    response = api.http.post(configmaps, json=body, params={"fieldValidation": "Strict"})

    assert response.status_code == 400
    assert "dta" in response.json()["message"]


def test_a_rule_on_change_compares_with_before(api: Any, widgets: str, widget: Any) -> None:
    api.create(widgets, widget(region="north"))

    same = api.send_patch(f"{widgets}/w1", {"spec": {"replicas": 4, "region": "north"}})
    other = api.send_patch(f"{widgets}/w1", {"spec": {"region": "south"}})

    assert same.status_code == 200
    assert other.status_code == 422
    assert 'spec.region: Invalid value: "south": region is immutable' in other.json()["message"]


@pytest.fixture
def definition(declared: Any, namespace: str) -> Any:
    """A definition of the test's own, to change."""
    crd = copy.deepcopy(declared)
    group = f"{namespace}.example.com"
    crd["metadata"] = {"name": f"widgets.{group}"}
    crd["spec"]["group"] = group
    crd["spec"]["names"] = {"kind": "Widget", "plural": "widgets"}
    return crd


@pytest.fixture
def crds(api: Any, definition: Any) -> Any:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    yield path
    api.http.delete(f"{path}/{definition['metadata']['name']}")


def schema_of(crd: Any) -> Any:
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def test_a_definition_is_established(api: Any, definition: Any, crds: str, eventually: Any) -> None:
    created = api.create(crds, definition)

    def status() -> Any:
        return api.get(f"{crds}/{created['metadata']['name']}").get("status", {})

    def accepted() -> bool:
        found = {c["type"]: c["status"] for c in status().get("conditions") or []}
        return found == {"NamesAccepted": "True", "Established": "True"}

    eventually(accepted)
    assert status()["acceptedNames"]["listKind"] == "WidgetList"
    assert status()["storedVersions"] == ["v1"]


def test_a_changed_definition_counts_at_once(
    api: Any,
    definition: Any,
    crds: str,
    declare_crd: Any,
    namespace: str,
    widget: Any,
    eventually: Any,
) -> None:
    declare_crd(api, definition)
    path = f"/apis/{definition['spec']['group']}/v1/namespaces/{namespace}/widgets"
    body = {**widget(), "apiVersion": f"{definition['spec']['group']}/v1"}
    api.create(path, body)
    schema_of(definition)["properties"]["replicas"]["maximum"] = 1
    declare_crd(api, definition)

    def refused() -> bool:
        other = {**body, "metadata": {"name": "w2"}}
        return bool(api.http.post(path, json=other, params={"dryRun": "All"}).status_code == 422)

    eventually(refused)
    # What was valid before may stay, as long as it is not touched.
    api.patch(f"{path}/w1", {"spec": {"mode": "instant"}})
    assert api.send_patch(f"{path}/w1", {"spec": {"replicas": 2}}).status_code == 422


def test_all_versions_show_the_same_objects(
    api: Any, definition: Any, crds: str, declare_crd: Any, namespace: str, widget: Any
) -> None:
    second = copy.deepcopy(definition["spec"]["versions"][0])
    definition["spec"]["versions"].append({**second, "name": "v2", "storage": False})
    declare_crd(api, definition)
    group = definition["spec"]["group"]
    api.create(
        f"/apis/{group}/v1/namespaces/{namespace}/widgets",
        {**widget(), "apiVersion": f"{group}/v1"},
    )

    found = api.get(f"/apis/{group}/v2/namespaces/{namespace}/widgets/w1")

    assert found["apiVersion"] == f"{group}/v2"


def spoil_name(crd: Any) -> None:
    crd["metadata"]["name"] = "odd.example.com"


def spoil_type(crd: Any) -> None:
    del schema_of(crd)["properties"]["mode"]["type"]


def spoil_pattern(crd: Any) -> None:
    schema_of(crd)["properties"]["image"]["pattern"] = "("


def spoil_rule(crd: Any) -> None:
    schema_of(crd)["x-kubernetes-validations"] = [{"rule": "self.replicas >"}]


def spoil_function(crd: Any) -> None:
    schema_of(crd)["x-kubernetes-validations"] = [{"rule": "odd(self)"}]


def spoil_keys(crd: Any) -> None:
    schema_of(crd)["properties"]["ports"]["x-kubernetes-list-map-keys"] = ["odd"]


def spoil_storage(crd: Any) -> None:
    crd["spec"]["versions"][0]["storage"] = False


def spoil_scope(crd: Any) -> None:
    crd["spec"]["scope"] = "Everywhere"


def spoil_schema(crd: Any) -> None:
    del crd["spec"]["versions"][0]["schema"]


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        pytest.param(spoil_name, "metadata.name", id="name"),
        pytest.param(spoil_type, "properties[mode].type", id="no type"),
        pytest.param(spoil_pattern, "openAPIV3Schema", id="pattern"),
        pytest.param(spoil_rule, "x-kubernetes-validations[0]", id="rule"),
        pytest.param(spoil_function, "x-kubernetes-validations[0]", id="unknown function"),
        pytest.param(spoil_keys, "x-kubernetes-list-map-keys", id="key that is no property"),
        pytest.param(spoil_storage, "spec.versions", id="no storage version"),
        pytest.param(spoil_scope, "spec.scope", id="scope"),
        pytest.param(spoil_schema, "schema", id="no schema"),
    ],
)
def test_a_faulty_definition_is_refused(
    api: Any, definition: Any, crds: str, spoil: Any, field: str
) -> None:
    spoil(definition)

    response = api.http.post(crds, json=definition)

    assert response.status_code == 422, response.text
    assert field in response.json()["message"]


def test_a_bound_that_comes_later_does_not_lock_what_is_stored(
    api: Any, namespace: str, definition: Any, declare_crd: Any, eventually: Any
) -> None:
    group = definition["spec"]["group"]
    fields = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    fields["properties"]["mode"] = {"type": "string"}
    declare_crd(api, definition)
    path = f"/apis/{group}/v1/namespaces/{namespace}/widgets"
    body = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w1"}}
    api.create(path, {**body, "spec": {"replicas": 3, "mode": "fast"}})
    fields["properties"]["mode"]["enum"] = ["slow"]
    declare_crd(api, definition)

    def refused() -> bool:
        other = {**body, "metadata": {"name": "w2"}, "spec": {"replicas": 3, "mode": "fast"}}
        answer = api.http.post(path, json=other, params={"dryRun": "All"})
        return bool(answer.status_code == 422)

    eventually(refused)
    api.patch(f"{path}/w1", {"spec": {"replicas": 4}})
    changed = api.send_patch(f"{path}/w1", {"spec": {"mode": "faster"}})

    assert changed.status_code == 422
    assert api.get(f"{path}/w1")["spec"]["replicas"] == 4
    api.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}")
