"""What a kubelet and Prometheus ask the operator, of one real operator."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from modelyard.api.kinds import KINDS
from modelyard.plane.__main__ import parse
from modelyard.plane.metrics import Metrics
from modelyard.plane.probes import address
from prometheus_client.parser import text_string_to_metric_families

from .running import until

CANARY = "c4n4ry-never-shown"
NAMES = {
    "modelyard_reconciles": {"kind", "result"},
    "modelyard_reconcile_duration_seconds": {"kind", "le"},
    "modelyard_queue_depth": set(),
    "modelyard_objects": {"kind", "ready"},
    "modelyard_status_writes": {"kind"},
    "modelyard_leader": set(),
    "modelyard_build_info": {"version"},
}


def families(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(
        lambda: 3, lambda: {("Dataset", "True"): 900, ("Made Up", "True"): 1}, lambda: True
    )


def test_metrics_have_the_documented_names_and_labels(metrics: Metrics) -> None:
    found = families(metrics.text().decode())
    labels = {
        name: {label for sample in family.samples for label in sample.labels}
        for name, family in found.items()
    }
    assert labels == NAMES


def test_metrics_follow_the_conventions(metrics: Metrics) -> None:
    """What `promtool check metrics` complains about."""
    for name, family in families(metrics.text().decode()).items():
        assert re.fullmatch(r"modelyard_[a-z]+(_[a-z]+)*", name)
        assert family.documentation.endswith(".")
        assert not name.endswith(("_count", "_sum", "_bucket", "_total", "_milliseconds"))
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert not sample.name.endswith("_created")


def test_there_are_no_more_series_with_many_objects_than_with_none(metrics: Metrics) -> None:
    none = Metrics(lambda: 0, dict, lambda: False)
    for kind in KINDS:
        for _ in range(100):
            metrics.reconciled(kind.kind, 0.1, result="success")
            metrics.reconciled(kind.kind, 100, result="error")
            metrics.status_written(kind.kind)
    count = len(metrics.text().splitlines())
    assert count == len(none.text().splitlines())
    assert count < 250


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("127.0.0.1:8080", ("127.0.0.1", 8080), id="IPv4"),
        pytest.param("[::1]:8080", ("::1", 8080), id="IPv6"),
        pytest.param(":8080", ("", 8080), id="all addresses"),
    ],
)
def test_an_address_is_read(text: str, wanted: tuple[str, int]) -> None:
    assert address(text) == wanted


@pytest.mark.parametrize("text", ["8080", "localhost", "localhost:http", "localhost:65536", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        address(text)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        pytest.param("--log-format", "xml", "'text', 'json'", id="format"),
        pytest.param("--prometheus-url", "prom:9090", "use http://HOST:PORT", id="no URL"),
        pytest.param("--idle-requests-query", "seen{$pod}", "$pod stands for nothing", id="query"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_allowed(
    option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--artifact-store", "file:///tmp/x", option, value])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_an_operator_tells_how_it_is_and_what_it_did_and_logs_json_without_secrets(
    site: Any,
) -> None:
    site.secret("keys", AWS_ACCESS_KEY_ID=CANARY, AWS_SECRET_ACCESS_KEY=CANARY)
    operator = site.operator("--log-format", "json", "--log-level", "debug")
    connection = {
        "name": "lake",
        "type": "S3",
        "endpoint": "http://127.0.0.1:1",
        "secretRef": {"name": "keys"},
    }
    store = {"uri": "s3://bucket", "connectionRef": {"name": "lake"}}
    site.put(
        "Project", "team", {"connections": [connection], "artifactStore": store},
        annotations={"modelyard.dev/source-revision": "0123abc"},
    )  # fmt: skip
    site.until_reason("Project", "team", "StoreUnavailable")
    assert operator.ask("/livez").text == "ok\n"
    assert operator.ask("/readyz").status_code == 200
    assert operator.metric("modelyard_leader") == 1
    until(
        lambda: operator.metric('modelyard_objects{kind="Project",ready="False"}') == 1, "counted"
    )
    assert operator.metric('modelyard_status_writes_total{kind="Project"}') >= 1
    assert operator.metric('modelyard_reconciles_total{kind="Project",result="success"}') >= 1

    lines = [json.loads(line) for line in operator.log.read_text().splitlines()]
    about = [line for line in lines if line.get("key") == "Project/default/team"]
    assert {"time", "level", "logger", "message", "reconcile"} <= about[0].keys()
    assert "0123abc" in {line.get("revision") for line in about}
    assert any(line["message"].startswith("StoreUnavailable: ") for line in about)
    assert len({line["reconcile"] for line in about}) >= 1
    assert CANARY not in operator.log.read_text()
    assert CANARY not in operator.ask("/metrics").text

    site.server.kill()
    until(lambda: operator.ask("/readyz").status_code == 503, "it is not ready")
    assert "does not answer" in operator.ask("/readyz").text
    assert operator.ask("/livez").status_code == 200
    assert operator.end() == 0
