"""The real interpreters agree: Argo CD's Lua machine on health and actions, and Flux's kstatus."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ARGOCD, kstatus

HEALTH = yaml.safe_load((ARGOCD / "health_test.yaml").read_text())["tests"]
ACTIONS = yaml.safe_load((ARGOCD / "actions" / "action_test.yaml").read_text())
KSTATUS = {
    "Healthy": "Current",
    "Progressing": "InProgress",
    "Suspended": "InProgress",
    "Degraded": "Failed",
}
TIME = re.compile(r"\d{4}-?\d\d-?\d\dT\d\d:?\d\d:?\d\dZ")


def run(binary: Path, *arguments: str | Path, given: str) -> list[Any]:
    done = subprocess.run(
        [binary, *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def texts(folder: Path, cases: list[dict[str, Any]]) -> str:
    return "\n---\n".join((folder / case["inputPath"]).read_text() for case in cases)


def test_argo_cd_tells_the_health_of_every_fixture(engine_binary: Path) -> None:
    config = ARGOCD / "argocd-cm.yaml"
    told = run(engine_binary, "health", config, given=texts(ARGOCD, HEALTH))
    assert told == [case["healthStatus"] for case in HEALTH]


def test_argo_cd_offers_the_actions(engine_binary: Path) -> None:
    cases = ACTIONS["discoveryTests"]
    config = ARGOCD / "argocd-cm.yaml"
    told = run(engine_binary, "act", config, "", given=texts(ARGOCD / "actions", cases))
    offered = [sorted(case["result"], key=lambda action: action["name"]) for case in cases]
    assert [answer["offered"] for answer in told] == offered


@pytest.mark.parametrize("case", ACTIONS["actionTests"], ids=lambda c: c["inputPath"])
def test_argo_cd_acts(engine_binary: Path, case: dict[str, Any]) -> None:
    parameters = [f"{name}={value}" for name, value in case.get("parameters", {}).items()]
    arguments = ["act", ARGOCD / "argocd-cm.yaml", case["action"], *parameters]
    folder = ARGOCD / "actions"
    told = run(engine_binary, *arguments, given=texts(folder, [case]))[0]
    if "expectedErrorMessage" in case:
        assert case["expectedErrorMessage"] in told["error"]
        return
    wanted = yaml.safe_load((folder / case["expectedOutputPath"]).read_text())
    assert timeless(told["result"]["spec"]) == timeless(wanted["spec"])
    assert timeless(told["result"]["metadata"]) == timeless(wanted["metadata"])


def timeless(value: Any) -> Any:
    return json.loads(TIME.sub("then", json.dumps(value)))


def test_flux_reads_the_same_from_the_conditions(engine_binary: Path) -> None:
    # A status has one generation in all its conditions; kstatus reads that of the status alone.
    cases = [case for case in HEALTH if "stale_condition" not in case["inputPath"]]
    wanted = [
        "Terminating"
        if "terminating" in case["inputPath"]
        else KSTATUS[case["healthStatus"]["status"]]
        for case in cases
    ]
    told = run(engine_binary, "kstatus", given=texts(ARGOCD, cases))
    assert [answer["status"] for answer in told] == wanted


def test_kstatus_is_what_the_tests_take_it_for(engine_binary: Path) -> None:
    """The rules by which other tests read statuses, where the real ones are not built."""
    manifests = [yaml.safe_load((ARGOCD / case["inputPath"]).read_text()) for case in HEALTH]
    for manifest in list(manifests):
        unjudged = json.loads(json.dumps(manifest))
        unjudged["metadata"]["generation"] += 1
        manifests += [unjudged, manifest | {"status": {}}]
    told = run(engine_binary, "kstatus", given="\n---\n".join(map(json.dumps, manifests)))
    assert [answer["status"] for answer in told] == [kstatus(manifest) for manifest in manifests]
