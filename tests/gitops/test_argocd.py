"""Argo CD shows the health of our kinds as their conditions tell it, and its actions edit specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from modelyard.api.kinds import BY_NAME, KINDS
from modelyard.cli.argocd import actions
from modelyard.judge.conditions import Readiness, conditions, progressing, ready, stalled
from modelyard.judge.law import violations

from .conftest import ARGOCD, CONFIG, health_script

ACTIONS = ARGOCD / "actions"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


HEALTH = load(ARGOCD / "health_test.yaml")["tests"]
ACTION_TESTS = load(ACTIONS / "action_test.yaml")
FIXTURES = sorted(ARGOCD.rglob("testdata/**/*.yaml"))


def action_scripts(kind: str) -> tuple[str, dict[str, str]]:
    """Return the discovery script of a kind, and its actions by name."""
    found = yaml.safe_load(CONFIG[f"resource.customizations.actions.modelyard.dev_{kind}"])
    return found["discovery.lua"], {e["name"]: e["action.lua"] for e in found["definitions"]}


@pytest.mark.parametrize("case", HEALTH, ids=lambda case: case["inputPath"])
def test_health_is_what_the_fixture_says(lua: Any, case: dict[str, Any]) -> None:
    manifest = load(ARGOCD / case["inputPath"])
    assert lua.run(health_script(manifest["kind"]), manifest) == case["healthStatus"]


def test_every_kind_has_a_fixture_of_every_health_it_can_have() -> None:
    tried: dict[str, set[str]] = {}
    for case in HEALTH:
        kind = load(ARGOCD / case["inputPath"])["kind"]
        tried.setdefault(kind, set()).add(case["healthStatus"]["status"])
    for kind in KINDS:
        suspends = {"Suspended"} if "suspend" in kind.spec.model_fields else set()
        assert tried[kind.kind] == {"Healthy", "Progressing", "Degraded"} | suspends


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_fixture_is_an_object_that_the_operator_could_have_left(path: Path) -> None:
    manifest = load(path)
    BY_NAME[manifest["kind"]].spec.model_validate(manifest["spec"])
    if path.stem != "stale_condition":
        assert violations(manifest) == []


STATES = [
    pytest.param(ready("SnapshotReady", "There."), "Healthy", id="ready"),
    pytest.param(progressing("Loading", "Soon."), "Progressing", id="progressing"),
    pytest.param(progressing("DatasetMissing", "Not yet."), "Progressing", id="waiting"),
    pytest.param(progressing("Suspended", "Halted."), "Suspended", id="suspended"),
    pytest.param(stalled("PolicyDenied", "No."), "Degraded", id="stalled"),
]


@pytest.mark.parametrize("observed", [1, 2, 3], ids=["two-behind", "one-behind", "up-to-date"])
@pytest.mark.parametrize(("readiness", "health"), STATES)
@pytest.mark.parametrize("kind", list(BY_NAME))
def test_health_follows_the_conditions_of_the_present_generation_only(
    lua: Any, kind: str, readiness: Readiness, health: str, observed: int
) -> None:
    found = [c.to_json() for c in conditions([], observed, "2026-11-27T12:00:00Z", readiness)]
    manifest = {
        "kind": kind,
        "metadata": {"generation": 3},
        "spec": {},
        "status": {"observedGeneration": observed, "conditions": found},
    }
    shown = lua.run(health_script(kind), manifest)
    assert shown["status"] == (health if observed == 3 else "Progressing")
    if observed == 3:
        assert shown["message"] == f"{readiness.reason}: {readiness.message}"


@pytest.mark.parametrize("case", ACTION_TESTS["discoveryTests"], ids=lambda c: c["inputPath"])
def test_actions_are_offered_where_they_make_sense(lua: Any, case: dict[str, Any]) -> None:
    manifest = load(ACTIONS / case["inputPath"])
    discovery, definitions = action_scripts(manifest["kind"])
    offered = lua.run(discovery, manifest)
    shown = []
    for name, action in offered.items():
        disabled = {"disabled": True} if action.pop("disabled", False) else {}
        shown.append({"name": name, **action, **disabled})
    assert sorted(shown, key=str) == sorted(case["result"], key=str)
    assert set(offered) == set(definitions)


@pytest.mark.parametrize(
    "case", ACTION_TESTS["actionTests"], ids=lambda c: f"{c['action']} {c['inputPath']}"
)
def test_an_action_returns_the_edited_object(lua: Any, case: dict[str, Any]) -> None:
    manifest = load(ACTIONS / case["inputPath"])
    script = action_scripts(manifest["kind"])[1][case["action"]]
    parameters = case.get("parameters", {})
    if "expectedErrorMessage" in case:
        with pytest.raises(Exception, match=case["expectedErrorMessage"]):
            lua.run(script, manifest, **parameters)
        return
    edited = lua.run(script, manifest, **parameters)
    assert edited == load(ACTIONS / case["expectedOutputPath"])
    BY_NAME[edited["kind"]].spec.model_validate(edited["spec"])


def test_every_action_is_tried() -> None:
    tried = {case["action"] for case in ACTION_TESTS["actionTests"]}
    assert tried == {name for kind in KINDS for name in actions(kind)}


@pytest.mark.parametrize(
    "script", ["io.open('x')", "os.exit()", "string.rep('x', 2)", "('x'):rep(2)"]
)
def test_scripts_run_without_what_argo_cd_withholds(lua: Any, script: str) -> None:
    with pytest.raises(Exception, match="attempt to"):
        lua.run(f"return {script}", {})
