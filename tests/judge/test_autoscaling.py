"""Requests are followed only where somebody counts them, and to zero only where they are seen."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.deployment import DeploymentSpec
from modelyard.api.request_counts import NOT_COUNTED, RequestCounts, idle_query
from modelyard.judge.autoscaling import judge_autoscaling

PROMETHEUS = "http://prometheus:9090"
SERVED = RequestCounts(PROMETHEUS)
BY_SERVICE = RequestCounts(PROMETHEUS, 'sum(rate(seen{service="$service"}[1m]))')
BY_HOST = RequestCounts(PROMETHEUS, 'sum(rate(seen{host="$hostname"}[1m]))')
BY_ROUTE = RequestCounts(PROMETHEUS, 'sum(rate(seen{route=~"$namespace/$route/.*"}[1m]))')
CPU = {"maxReplicas": 3}
REQUESTS = {"maxReplicas": 3, "targetRequestsPerSecond": 9}
TO_ZERO = {**REQUESTS, "minReplicas": 0}
GATEWAY = {"gateway": {"name": "public", "hostname": "tumor.example.org"}}


def spec(autoscaling: dict[str, Any] | None, **fields: Any) -> DeploymentSpec:
    scaled = {"autoscaling": autoscaling} if autoscaling else {}
    return DeploymentSpec.model_validate({"model": {"experiment": "tumor"}, **scaled, **fields})


@pytest.mark.parametrize(
    ("declared", "counts", "keda", "reason", "said"),
    [
        pytest.param(spec(None), NOT_COUNTED, False, None, "", id="a fixed number"),
        pytest.param(spec(CPU), NOT_COUNTED, False, None, "", id="by CPU"),
        pytest.param(spec(REQUESTS), NOT_COUNTED, True, "BackendMissing", "--prometheus-url",
                     id="nobody counts"),
        pytest.param(spec(REQUESTS), SERVED, False, "BackendMissing", "install KEDA",
                     id="nobody follows"),
        pytest.param(spec(REQUESTS), SERVED, True, None, "", id="servers count"),
        pytest.param(spec(TO_ZERO), SERVED, True, "BackendMissing", "--idle-requests-query",
                     id="nobody counts without a server"),
        pytest.param(spec(TO_ZERO), BY_SERVICE, True, None, "", id="counted for each Service"),
        pytest.param(spec(TO_ZERO), BY_HOST, True, "GatewayMissing", "set spec.gateway",
                     id="counted for each host, and there is none"),
        pytest.param(spec(TO_ZERO), BY_ROUTE, True, "GatewayMissing", "set spec.gateway",
                     id="counted for each route, and there is none"),
        pytest.param(spec(TO_ZERO, **GATEWAY), BY_HOST, True, None, "", id="counted for its host"),
    ],
)  # fmt: skip
def test_requests_can_be_followed(
    declared: DeploymentSpec, counts: RequestCounts, keda: bool, reason: str | None, said: str
) -> None:
    found = judge_autoscaling(declared, counts, keda=keda)
    assert (found.reason if found else None) == reason
    assert said in (found.message if found else "")
    if found is not None:
        assert found.state == "Stalled"
        assert found.message.startswith("spec.autoscaling.")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        pytest.param('seen{pod="$pod"}', r"\$pod stands for nothing", id="unknown placeholder"),
        pytest.param(
            'seen{host=~".*$"}', r"\$\$ for a \$ itself", id="a dollar that ends a pattern"
        ),
    ],
)
def test_a_query_with_what_stands_for_nothing_is_refused(query: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        idle_query(query)


def test_a_dollar_in_a_query_is_written_twice() -> None:
    assert idle_query('seen{host=~"$hostname$$"}') == 'seen{host=~"$hostname$$"}'
