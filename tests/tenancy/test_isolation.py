"""Tenants of a real API server: what members may do, and that no tenant reaches another.

RBAC is enforced by a real API server alone, so these tests need the one that
`$MODELYARD_CONFORMANCE_KUBECONFIG` names. The roles are those of the chart; the Projects are
reconciled with the operator's own rights, so that these suffice is proven too.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml
from kubernetes.aio import client, config
from modelyard.adapters.artifacts import OpenedStores
from modelyard.adapters.cluster import KubernetesCluster
from modelyard.api.crd import crds
from modelyard.api.meta import API_VERSION
from modelyard.api.project import ProjectSpec
from modelyard.api.resources import CHILDREN, EVENT, OURS, SECRET, TENANCY, Resource
from modelyard.api.runtime import StoreConfig
from modelyard.reconcile.tenancy import keep_tenant

KUBECONFIG = os.environ.get("MODELYARD_CONFORMANCE_KUBECONFIG", "")
ROLES = Path(__file__).parents[2] / "charts" / "modelyard" / "files" / "rbac"
pytestmark = [
    pytest.mark.skipif(not KUBECONFIG, reason="MODELYARD_CONFORMANCE_KUBECONFIG names no server"),
    pytest.mark.skipif(not ROLES.exists(), reason=f"the chart's roles are not in {ROLES}"),
]

RBAC = "/apis/rbac.authorization.k8s.io/v1"
OPERATOR = "modelyard-operator"
A, B = "tenant-a", "tenant-b"
READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")
KINDS = tuple(resource.plural for resource in OURS.values())
MAY_WRITE = {
    "Admin": dict.fromkeys(KINDS, WRITE),
    "Editor": dict.fromkeys(("datasets", "experiments", "deployments", "monitors"), WRITE),
    "Approver": {"modelversions": ("patch",)},
    "Viewer": {},
}
"""What each role may change; each reads everything."""
MEMBERS = {"Admin": "ann", "Editor": "ed", "Approver": "abe", "Viewer": "vi"}
ROBOT = {"kind": "ServiceAccount", "name": "robot", "role": "Admin"}
CORE = (
    SECRET,
    EVENT,
    Resource("v1", "ConfigMap", "configmaps"),
    Resource("v1", "Pod", "pods"),
    Resource("v1", "Service", "services"),
    Resource("apps/v1", "Deployment", "deployments"),
)


class Server:
    """Requests to the API server: as the administrator, or as somebody else."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, self.admin = document["clusters"][0]["cluster"], document["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        self.http = httpx.Client(base_url=cluster["server"], verify=context, timeout=20)

    def send(
        self, method: str, path: str, body: Any = None, *, token: str = "", user: str = ""
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.admin['token']}"}
        if user:
            headers["Impersonate-User"] = user
        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        content = None if body is None else json.dumps(body)
        headers["Content-Type"] = kind
        return self.http.request(method, path, content=content, headers=headers)

    def apply(self, path: str, body: dict[str, Any]) -> None:
        answer = self.send("PATCH", f"{path}?fieldManager=test&force=true", body)
        assert answer.is_success, answer.text

    def may(self, user: str, verb: str, namespace: str, resource: str, part: str = "") -> bool:
        """Ask, as the user, whether the user may."""
        group, _, plural = resource.rpartition("/")
        attributes = {
            "verb": verb,
            "namespace": namespace,
            "group": group,
            "resource": plural,
            "subresource": part,
        }
        kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        body = {**kind, "spec": {"resourceAttributes": attributes}}
        answer = self.send("POST", path, body, user=user)
        assert answer.is_success, answer.text
        return bool(answer.json()["status"]["allowed"])


def cluster_role(server: Server, name: str, rules: list[Any]) -> None:
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    body = {**head, "metadata": {"name": name}, "rules": rules}
    server.apply(f"{RBAC}/clusterroles/{name}", body)


def install(server: Server) -> None:
    """Install what the chart installs: CRDs, the roles of people, the operator's rights."""
    for crd in crds():
        name = crd["metadata"]["name"]
        server.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}", crd)
    for role, rules in yaml.safe_load((ROLES / "people.yaml").read_text()).items():
        cluster_role(server, f"modelyard-{role}", rules)
    operator = yaml.safe_load((ROLES / "operator.yaml").read_text())
    cluster_role(server, OPERATOR, operator["namespaced"] + operator["default"])
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": OPERATOR},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": OPERATOR},
        "subjects": [{"apiGroup": group, "kind": "User", "name": OPERATOR}],
    }
    server.apply(f"{RBAC}/clusterrolebindings/{OPERATOR}", binding)


def commit_project(server: Server, namespace: str, members: list[dict[str, str]]) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    server.apply(f"/api/v1/namespaces/{namespace}", space)
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "robot", "namespace": namespace},
    }
    server.apply(f"/api/v1/namespaces/{namespace}/serviceaccounts/robot", account)
    project = {
        "apiVersion": API_VERSION,
        "kind": "Project",
        "metadata": {"name": "team", "namespace": namespace},
        "spec": {
            "members": members,
            "quota": {"cpu": "8", "pods": 1},
            "networkPolicy": {"allowFrom": ["apps"]},
        },
    }
    server.apply(OURS["Project"].path(namespace, "team"), project)


async def keep_as_operator(namespace: str) -> None:
    """Reconcile the tenancy of a Project with the operator's rights and no more."""
    await config.load_kube_config(config_file=KUBECONFIG)
    async with client.ApiClient() as api:
        api.set_default_header("Impersonate-User", OPERATOR)
        cluster = KubernetesCluster(api)
        project = await cluster.get(OURS["Project"], namespace, "team")
        assert project is not None
        ports: Any = SimpleNamespace(
            cluster=cluster, stores=OpenedStores(StoreConfig(uri="file:///store"))
        )
        await keep_tenant(project, ProjectSpec.model_validate(project["spec"]), ports)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(Path(KUBECONFIG))
    install(server)
    users = [{"kind": "User", "name": name, "role": role} for role, name in MEMBERS.items()]
    commit_project(server, A, [*users, ROBOT])
    commit_project(server, B, [ROBOT])
    yield server
    server.http.close()


@pytest.fixture
async def tenants(server: Server) -> Server:
    """Two tenants, kept as the operator keeps them."""
    for namespace in (A, B):
        await keep_as_operator(namespace)
    return server


def token_of(server: Server, namespace: str) -> str:
    """Return a token of the tenant's robot, which is an Admin there."""
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/robot/token"
    answer = server.send("POST", path, {**kind, "spec": {}})
    assert answer.is_success, answer.text
    token: str = answer.json()["status"]["token"]
    return token


def body_of(resource: Resource, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {},
    }


def request_of(verb: str, resource: Resource, namespace: str) -> tuple[str, str, Any]:
    """Return method, path and body by which a verb is tried."""
    collection, one = resource.path(namespace), resource.path(namespace, "probe")
    body = body_of(resource, namespace)
    return {
        "get": ("GET", one, None),
        "list": ("GET", collection, None),
        "watch": ("GET", f"{collection}?watch=true&timeoutSeconds=1", None),
        "create": ("POST", collection, body),
        "update": ("PUT", one, body),
        "patch": ("PATCH", f"{one}?fieldManager=probe", body),
        "delete": ("DELETE", one, None),
        "deletecollection": ("DELETE", collection, None),
    }[verb]


PROBES = list(
    itertools.product((*READ, *WRITE), (*OURS.values(), *CHILDREN, *TENANCY, *CORE)),
)


async def test_no_probe_of_a_tenant_succeeds_on_another(tenants: Server) -> None:
    token = token_of(tenants, A)
    assert len(PROBES) >= 100
    let_through = {}
    for verb, resource in PROBES:
        answer = tenants.send(*request_of(verb, resource, B), token=token)
        if answer.status_code != 403:
            let_through[verb, resource.plural] = answer.status_code
    assert let_through == {}


async def test_the_same_token_works_at_home(tenants: Server) -> None:
    token = token_of(tenants, A)
    forbidden = [
        (verb, resource.plural)
        for verb, resource in itertools.product((*READ, "create", "update", "patch"), OURS.values())
        if tenants.send(*request_of(verb, resource, A), token=token).status_code == 403
    ]
    assert forbidden == []


async def test_nobody_lists_or_watches_all_namespaces(tenants: Server) -> None:
    token = token_of(tenants, A)
    for resource in (*OURS.values(), *TENANCY, *CORE):
        answer = tenants.send("GET", resource.path(), token=token)
        assert answer.status_code == 403, resource


MATRIX = list(itertools.product(MEMBERS, (*READ, *WRITE), KINDS))


async def test_every_role_may_exactly_what_the_table_says(tenants: Server) -> None:
    assert len(MATRIX) >= 120
    wrong = []
    for role, verb, plural in MATRIX:
        expected = verb in READ or verb in MAY_WRITE[role].get(plural, ())
        if tenants.may(MEMBERS[role], verb, A, f"modelyard.dev/{plural}") != expected:
            wrong.append((role, verb, plural, not expected))
    assert wrong == []


@pytest.mark.parametrize("role", MEMBERS)
async def test_a_role_gives_nothing_beyond_our_kinds_nor_elsewhere(
    tenants: Server, role: str
) -> None:
    user = MEMBERS[role]
    foreign = [f"modelyard.dev/{plural}" for plural in KINDS]
    given = [(verb, kind) for verb in READ for kind in foreign if tenants.may(user, verb, B, kind)]
    for resource in (*TENANCY, *CORE):
        group = resource.api_version.rpartition("/")[0]
        name = f"{group}/{resource.plural}"
        given += [(verb, name) for verb in ("get", "create") if tenants.may(user, verb, A, name)]
    for verb, plural in itertools.product(("update", "patch"), KINDS):
        if tenants.may(user, verb, A, f"modelyard.dev/{plural}", "status"):
            given.append((verb, f"{plural}/status"))
    assert given == []


async def test_a_member_who_is_taken_out_has_no_rights_left(tenants: Server) -> None:
    assert tenants.may("vi", "get", A, "modelyard.dev/experiments")
    left = [
        {"kind": "User", "name": name, "role": r} for r, name in MEMBERS.items() if name != "vi"
    ]
    commit_project(tenants, A, [*left, ROBOT])
    await keep_as_operator(A)
    assert not tenants.may("vi", "get", A, "modelyard.dev/experiments")
    everybody = [{"kind": "User", "name": name, "role": role} for role, name in MEMBERS.items()]
    commit_project(tenants, A, [*everybody, ROBOT])
    await keep_as_operator(A)
    assert tenants.may("vi", "get", A, "modelyard.dev/experiments")


async def test_runs_may_report_to_argo_and_nothing_else(tenants: Server) -> None:
    runtime = f"system:serviceaccount:{A}:modelyard-runtime"
    results = "argoproj.io/workflowtaskresults"
    assert {v for v in (*READ, *WRITE) if tenants.may(runtime, v, A, results)} == {
        "create",
        "patch",
    }
    others = (*(f"modelyard.dev/{plural}" for plural in KINDS), "secrets", "pods")
    assert not [kind for kind in others if tenants.may(runtime, "get", A, kind)]


def pod(name: str) -> dict[str, Any]:
    container = {"name": "main", "image": "none", "resources": {"limits": {"cpu": "1"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": A},
        "spec": {"serviceAccountName": "modelyard-runtime", "containers": [container]},
    }


async def test_no_pod_starts_above_the_quota_of_the_project(tenants: Server) -> None:
    pods = f"/api/v1/namespaces/{A}/pods"
    deadline = time.monotonic() + 60
    while (first := tenants.send("POST", pods, pod("first"))).status_code == 403:
        assert time.monotonic() < deadline, first.text
        await asyncio.sleep(0.2)  # until the quota is counted for the first time
    assert first.is_success, first.text
    second = tenants.send("POST", pods, pod("second"))
    assert second.status_code == 403
    assert "exceeded quota: modelyard, requested: pods=1, used: pods=1" in second.json()["message"]
    tenants.send("DELETE", f"{pods}/first?gracePeriodSeconds=0")
