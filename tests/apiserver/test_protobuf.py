"""Protobuf bodies, which kubectl sends for core kinds and never repeats as JSON."""

import base64
from typing import Any

import pytest
from modelyard.embedded.apiserver import protobuf
from modelyard.embedded.apiserver.errors import ApiError

PROTOBUF = "application/vnd.kubernetes.protobuf"


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def wrapped(kind: str, raw: bytes, version: str = "v1") -> bytes:
    type_meta = field(1, version) + field(2, kind)
    return protobuf.MAGIC + field(1, type_meta) + field(2, raw) + field(3, "") + field(4, "")


META = field(1, "n1") + field(11, field(1, "a") + field(2, "b")) + field(8, b"")
LONG = "x" * 300
CASES = [
    pytest.param("Namespace", field(1, META) + field(2, field(1, "kubernetes")), {"spec": {"finalizers": ["kubernetes"]}}, id="namespace"),
    pytest.param("ConfigMap", field(1, META) + field(2, field(1, "k") + field(2, LONG)) + field(4, 1), {"data": {"k": LONG}, "immutable": True}, id="config map"),
    pytest.param("ConfigMap", field(1, META) + field(3, field(1, "k") + field(2, b"\xff")), {"binaryData": {"k": base64.b64encode(b"\xff").decode()}}, id="binary data"),
    pytest.param("Secret", field(1, META) + field(2, field(1, "k") + field(2, b"v")) + field(3, "Opaque"), {"data": {"k": "dg=="}, "type": "Opaque"}, id="secret"),
    pytest.param("ServiceAccount", field(1, META), {}, id="service account"),
    pytest.param("ResourceQuota", field(1, META) + field(2, field(1, field(1, "pods") + field(2, field(1, "2"))) + field(2, "Terminating")), {"spec": {"hard": {"pods": "2"}, "scopes": ["Terminating"]}}, id="resource quota"),
    pytest.param("Role", field(1, META) + field(2, field(1, "get") + field(1, "list") + field(2, "") + field(3, "pods")), {"rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]}, id="role"),
    pytest.param("RoleBinding", field(1, META) + field(2, field(1, "User") + field(2, "g") + field(3, "ann")) + field(3, field(1, "g") + field(2, "Role") + field(3, "r")), {"subjects": [{"kind": "User", "apiGroup": "g", "name": "ann"}], "roleRef": {"apiGroup": "g", "kind": "Role", "name": "r"}}, id="role binding"),
    pytest.param("Lease", field(1, META) + field(2, field(1, "me") + field(2, 15) + field(4, field(1, 0) + field(2, 5000))), {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "1970-01-01T00:00:00.000005Z"}}, id="lease"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "raw", "wanted"), CASES)
def test_known_kinds_are_decoded(kind: str, raw: bytes, wanted: Any) -> None:
    decoded = protobuf.decode(wrapped(kind, raw))

    assert decoded == {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": "n1", "labels": {"a": "b"}},
        **wanted,
    }


def test_unknown_wire_fields_are_passed_over() -> None:
    odd = varint(90 << 3 | 1) + b"8 bytes!" + varint(91 << 3 | 5) + b"four" + field(92, "text")

    assert protobuf.decode(wrapped("ConfigMap", odd + field(1, META)))["metadata"]["name"] == "n1"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"{}", 400, id="no protobuf"),
        pytest.param(protobuf.MAGIC + b"\x0a\xff", 400, id="cut short"),
        pytest.param(protobuf.MAGIC + b"\x0a\x7fabc", 400, id="field beyond the end"),
        pytest.param(wrapped("ConfigMap", b"\x0f"), 400, id="odd wire type"),
        pytest.param(wrapped("CronJob", b""), 415, id="unknown kind"),
    ],
)
def test_the_rest_is_refused(body: bytes, code: int) -> None:
    with pytest.raises(ApiError) as refusal:
        protobuf.decode(body)

    assert refusal.value.code == code


def test_an_object_can_be_created(api: Any, configmaps: str) -> None:
    body = wrapped("ConfigMap", field(1, META) + field(2, field(1, "k") + field(2, "v")))

    response = api.http.post(configmaps, content=body, headers={"Content-Type": PROTOBUF})

    assert response.status_code == 201, response.text
    assert api.get(f"{configmaps}/n1")["data"] == {"k": "v"}


def test_access_can_be_reviewed(api: Any) -> None:
    spec = field(1, field(2, "create") + field(5, "configmaps"))
    body = wrapped("SelfSubjectAccessReview", field(2, spec), "authorization.k8s.io/v1")

    response = api.http.post(
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        content=body,
        headers={"Content-Type": PROTOBUF},
    )

    assert response.json()["status"]["allowed"] is True
    assert response.json()["spec"]["resourceAttributes"]["verb"] == "create"
