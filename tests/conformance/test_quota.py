"""A quota of the namespace, counted by Kubernetes itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import manifest

pytestmark = pytest.mark.timeout(900)


def test_a_child_above_the_quota_of_the_namespace_is_told_and_starts_when_there_is_room(
    cluster: Any,
) -> None:
    space, count = "full", "count/workflows.argoproj.io"
    cluster.kubectl("create", "namespace", space)
    cluster.kubectl("create", "quota", "runs", "-n", space, f"--hard={count}=0")

    def used() -> Any:
        quota = json.loads(cluster.kubectl("get", "quota", "runs", "-n", space, "-o", "json"))
        return quota.get("status", {}).get("used", {}).get(count)

    cluster.until(used, "the quota counts")
    cluster.apply(
        manifest("Project", "team", {}, space),
        manifest("Dataset", "cells", {"source": {"builtin": "iris"}}, space),
    )
    cluster.until(
        lambda: (
            cluster.condition("Dataset", "cells", space, "Stalled").get("reason")
            == "RequestRefused"
        ),
        "the refusal is told",
    )
    assert "exceeded quota: runs" in cluster.condition("Dataset", "cells", space)["message"]
    cluster.kubectl(
        "patch", "quota", "runs", "-n", space, "--type=merge",
        "-p", json.dumps({"spec": {"hard": {count: "1"}}}),
    )  # fmt: skip
    cluster.until(
        lambda: cluster.condition("Dataset", "cells", space).get("status") == "True",
        "the snapshot is taken as soon as there is room",
    )
