"""Backends may be missing, come, and go, while the operator runs."""

from __future__ import annotations

from typing import Any

from modelyard.api.resources import WORKFLOW, Key
from modelyard.embedded.standins import crds as standins

from .running import until

IRIS = {"source": {"builtin": "iris"}}


def watches(operator: Any, kind: str) -> bool:
    """Return whether the operator said of its last watch that a kind is installed."""
    said = [line for line in operator.log.read_text().splitlines() if "not installed: " in line]
    return kind not in said[-1].partition("not installed: ")[2].split(", ")


def test_a_backend_that_is_missing_is_named_and_one_that_comes_later_is_watched(site: Any) -> None:
    operator = site.operator()
    site.put("Project", "team", {})
    site.put("Dataset", "cells", IRIS)
    assert "Workflow" in site.until_reason("Dataset", "cells", "BackendMissing")["message"]
    assert site.until_reason("Project", "team", "StoreReachable")["status"] == "True"
    assert operator.ask("/readyz").status_code == 200

    site.install_backends()
    site.until_reason("Dataset", "cells", "SnapshotRunning")
    child = site.get("Dataset", "cells")["status"]["run"]["child"]
    until(lambda: watches(operator, "Workflow"), "it is watched")

    site.client.delete(WORKFLOW.api_version, Key("Workflow", "default", child))
    until(lambda: site.get("Workflow", child), "the child is started again")
    definition = next(one for one in standins.crds() if "workflows.a" in one["metadata"]["name"])
    site.remove(definition)
    site.until_reason("Dataset", "cells", "BackendMissing")
    site.install(definition)
    site.until_reason("Dataset", "cells", "SnapshotRunning")
    assert operator.popen.poll() is None
    assert operator.ask("/livez").status_code == 200
