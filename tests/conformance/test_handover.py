"""Two operators beside each other on a real API server: the Lease says which of them leads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import KUBECONFIG, Cluster

pytestmark = pytest.mark.timeout(600)
SPACE = "operators"
MOST_SECONDS = 5.0


@pytest.fixture
def operators(tmp_path: Path) -> Any:
    """A place for operators that look after a namespace of their own."""
    if KUBECONFIG is None:
        pytest.skip("no real API server is given; `make conformance` starts one")
    found = Cluster(tmp_path, Path(KUBECONFIG))
    found.install()
    found.kubectl("create", "namespace", SPACE)
    try:
        yield found
    finally:
        found.stop_all()


def start(operators: Cluster, name: str) -> None:
    """Start an operator and wait until it stands by."""
    options = ["--namespace", SPACE, "--lease-namespace", SPACE, "--log-format", "text"]
    operators.start(name, "modelyard.plane", "--artifact-store", operators.store.as_uri(), *options)
    log = operators.folder / f"{name}.log"
    operators.until(lambda: "stands by for Lease" in log.read_text(), f"{name} stands by")


def lease(operators: Cluster) -> dict[str, Any]:
    """Return what the Lease says, {} where there is none."""
    return next((found["spec"] for found in operators.items("leases", SPACE)), {})


def test_a_leader_renews_its_lease_and_hands_over_when_it_is_told_to_stop(
    operators: Cluster,
) -> None:
    start(operators, "operator-0")
    renewed = operators.until(lambda: lease(operators).get("renewTime"), "one leads")
    operators.until(lambda: lease(operators)["renewTime"] > renewed, "the Lease is renewed")

    def seconds(number: int) -> float:
        """Stop the leader while another stands by; return how long nobody led."""
        start(operators, f"operator-{number}")
        before = lease(operators)["holderIdentity"]
        began = time.monotonic()
        operators.stop(f"operator-{number - 1}")
        operators.until(
            lambda: lease(operators)["holderIdentity"] not in ("", before), "another leads"
        )
        return time.monotonic() - began

    # One that another load delays may be tried again.
    assert any(seconds(number) < MOST_SECONDS for number in (1, 2, 3))
