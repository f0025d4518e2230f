"""Where the embedded server answers otherwise than Kubernetes, and why it may.

Everything else in this folder holds of both. A row that Kubernetes no longer confirms, or that the
embedded server has outgrown, fails.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from .conftest import declare, eventually
from .test_upgrade import Kind

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
APPLY = "application/apply-patch+yaml"


class Place:
    """What a row may use: the server, a namespace, and the widgets' definition to vary."""

    def __init__(self, api: Any, namespace: str, definition: Any) -> None:
        self.api, self.namespace, self.definition = api, namespace, definition
        self.widgets = f"/apis/lab.example.com/v1/namespaces/{namespace}/widgets"

    def define(self, rule: str, **mode: Any) -> httpx.Response:
        """Ask, without storing it, for a kind whose field `mode` has a rule."""
        crd = copy.deepcopy(self.definition)
        group = f"{self.namespace}.example.com"
        crd["metadata"] = {"name": f"widgets.{group}"}
        crd["spec"]["group"] = group
        crd["spec"]["names"] = {"kind": "Widget", "plural": "widgets"}
        spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["properties"]["mode"] = {
            "type": "string",
            "x-kubernetes-validations": [{"rule": rule}],
            **mode,
        }
        answer: httpx.Response = self.api.http.post(DEFINITIONS, json=crd, params={"dryRun": "All"})
        return answer


def created_with_a_version(at: Place) -> int:
    body = {"metadata": {"name": "x", "resourceVersion": "1"}}
    path = f"/api/v1/namespaces/{at.namespace}/configmaps"
    return int(at.api.http.post(path, json=body).status_code)


def applied_with_a_doubled_key(at: Place) -> int:
    body = {
        "apiVersion": "lab.example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w1"},
        "spec": {"replicas": 3, "ports": [{"name": "a"}, {"name": "a"}]},
    }
    query = {"fieldManager": "git"}
    return int(at.api.send_patch(f"{at.widgets}/w1", body, APPLY, **query).status_code)


def applied_without_a_name(at: Place) -> int:
    body = {"apiVersion": "lab.example.com/v1", "kind": "Widget", "spec": {"replicas": 3}}
    query = {"fieldManager": "git"}
    return int(at.api.send_patch(f"{at.widgets}/w1", body, APPLY, **query).status_code)


def defined_with_a_costly_rule(at: Place) -> int:
    return at.define("self.matches('a+') && self.contains(self)").status_code


def defined_with_format(at: Place) -> int:
    return at.define("'%s'.format([self]) != 'x'", maxLength=10).status_code


def applied_over_a_value_of_an_earlier_type(at: Place) -> int:
    kind = Kind(at.api, declare, eventually, at.namespace)
    declare(at.api, kind.old)
    at.api.create(kind.path, kind.body(floor=2))
    kind.define(kind.new, replicas=3, floor=2, zone="north")
    body, query = kind.body(floor={"least": 2}), {"fieldManager": "git", "force": "true"}
    answer = at.api.send_patch(f"{kind.path}/w1", body, APPLY, **query)
    at.api.patch(f"{kind.path}/w1", {"metadata": {"finalizers": None}})
    return int(answer.status_code)


@dataclass(frozen=True)
class Difference:
    """One answer on both servers, and the reason why the embedded one may keep its own."""

    ask: Callable[[Place], int]
    kubernetes: int
    embedded: int
    reason: str


DIFFERENCES = [
    Difference(
        created_with_a_version, kubernetes=500, embedded=400,
        reason="a fault of the request, which Kubernetes reports as one of its own",
    ),
    Difference(
        applied_with_a_doubled_key, kubernetes=500, embedded=400,
        reason="a fault of the request, which Kubernetes reports as one of its own",
    ),
    Difference(
        applied_without_a_name, kubernetes=400, embedded=201,
        reason="the path names the object",
    ),
    Difference(
        applied_over_a_value_of_an_earlier_type, kubernetes=500, embedded=200,
        reason="an upgrade on one machine needs no replacing; how-to/upgrade.md says what to do",
    ),
    Difference(
        defined_with_a_costly_rule, kubernetes=422, embedded=201,
        reason="one user cannot starve others, so rules have no budget; that ours are within "
        "Kubernetes' is tested on Kubernetes",
    ),
    Difference(
        defined_with_format, kubernetes=201, embedded=422,
        reason="the CEL engine lacks some libraries; a rule that needs one is refused, not ignored",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.ask.__name__)
def test_a_difference_is_as_listed(
    row: Difference, api: Any, namespace: str, declared: Any, request: pytest.FixtureRequest
) -> None:
    server = request.node.callspec.params["server"]
    assert server in ("embedded", "kubernetes")
    assert row.ask(Place(api, namespace, declared)) == getattr(row, server), row.reason
