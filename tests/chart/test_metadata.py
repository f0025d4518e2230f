"""Artifact Hub's annotations, alerts and dashboards say what is there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from modelyard.api.kinds import KINDS
from modelyard.cli.schema import faults

from .conftest import CHART, REPOSITORY, VALUE_SETS, Render, documents

METADATA = yaml.safe_load((CHART / "Chart.yaml").read_text())
ANNOTATIONS = METADATA["annotations"]
HUB = "artifacthub.io/"
METRICS = {
    "modelyard_reconciles_total",
    "modelyard_reconcile_duration_seconds",
    "modelyard_queue_depth",
    "modelyard_objects",
    "modelyard_status_writes_total",
    "modelyard_leader",
    "modelyard_build_info",
}
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
ALERTS = yaml.safe_load((CHART / "files/alerts.yaml").read_text())["alerts"]


def parsed(name: str) -> Any:
    return yaml.safe_load(ANNOTATIONS[HUB + name])


def metrics(expression: str) -> set[str]:
    """Return the metrics of an expression; a histogram's buckets are its own."""
    return {name.removesuffix("_bucket") for name in re.findall(r"\bmodelyard_\w+", expression)}


def test_the_definitions_of_artifact_hub_are_ours() -> None:
    described = {(entry["kind"], entry["name"]) for entry in parsed("crds")}
    assert described == {(kind.kind, f"{kind.plural}.modelyard.dev") for kind in KINDS}


@pytest.mark.parametrize("example", parsed("crdsExamples"), ids=lambda entry: entry["kind"])
def test_the_examples_of_artifact_hub_are_valid(example: dict[str, Any]) -> None:
    assert list(faults(example["kind"], example)) == []


def test_artifact_hub_has_what_it_shows_but_a_key_since_nothing_is_signed() -> None:
    shown = {name.removeprefix(HUB) for name in ANNOTATIONS}
    wanted = "license category operator operatorCapabilities images changes crds crdsExamples links"
    assert set(wanted.split()) <= shown
    assert "signKey" not in shown
    for link in parsed("links"):
        assert set(link) == {"name", "url"}
        assert link["url"].startswith("https://modelyard.dev/")
        page = link["url"].removeprefix("https://modelyard.dev/").rstrip("/") or "index"
        assert (REPOSITORY / f"docs/{page}.md").exists()


def test_the_changes_are_of_kinds_that_artifact_hub_knows() -> None:
    known = {"added", "changed", "deprecated", "fixed", "removed", "security"}
    assert {entry["kind"] for entry in parsed("changes")} <= known


def test_the_images_of_artifact_hub_are_those_that_run(render: Render) -> None:
    text = render(VALUE_SETS["opa"])
    for entry in parsed("images"):
        assert f"docker.io/{entry['image']}" in text


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_ask_for_metrics_that_exist(path: Any) -> None:
    panels = json.loads(path.read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    assert asked
    for expression in asked:
        assert metrics(expression) <= METRICS
        assert metrics(expression)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["name"])
def test_alerts_ask_for_metrics_that_exist_and_have_a_runbook(alert: dict[str, str]) -> None:
    assert metrics(alert["expr"])
    assert metrics(alert["expr"]) <= METRICS
    page = (REPOSITORY / "docs/how-to/act-on-alerts.md").read_text()
    assert f"## {alert['name']}\n" in page


def test_alerts_link_to_their_section(render: Render) -> None:
    (rule,) = [
        e for e in documents(render(VALUE_SETS["observed"])) if e["kind"] == "PrometheusRule"
    ]
    alerts = rule["spec"]["groups"][0]["rules"]
    assert [entry["alert"] for entry in alerts] == [alert["name"] for alert in ALERTS]
    for entry in alerts:
        assert entry["annotations"]["runbook_url"].endswith(f"#{entry['alert'].lower()}")
