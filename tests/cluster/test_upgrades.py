"""The release is upgraded, removed and installed again; what it serves goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .conftest import NAMESPACE, PROJECT, SERVERS, Kubernetes, install, predictions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
DEPLOYMENT = "deployments.modelyard.dev"
OURS = "projects,datasets,policies,experiments,modelversions,deployments.modelyard.dev,monitors"


def test_the_operator_was_refused_nothing(cluster: Kubernetes, served: str) -> None:
    log = cluster.kubectl("-n", NAMESPACE, "logs", "deployment/modelyard", "--all-pods")
    lines = [json.loads(line.split("] ", 1)[-1]) for line in log.splitlines() if "{" in line]
    assert [line["message"] for line in lines if " 403 " in line["message"]] == []


def test_an_upgrade_with_other_values_keeps_serving(cluster: Kubernetes, served: str) -> None:
    before = cluster.pods(PROJECT, SERVERS.format(served))
    with asking(cluster.serves(served), served) as refused:
        install(cluster, "log.level=DEBUG", "resources.requests.cpu=20m")
        cluster.ready(PROJECT, DEPLOYMENT, served, 120)
    assert refused == []
    assert cluster.pods(PROJECT, SERVERS.format(served)) == before


def test_objects_outlive_the_release_and_are_taken_up_by_the_next(
    cluster: Kubernetes, served: str
) -> None:
    objects, servers = uids(cluster), cluster.pods(PROJECT, SERVERS.format(served))
    with asking(cluster.serves(served), served) as refused:
        cluster.helm("uninstall", "modelyard", "--namespace", NAMESPACE, "--wait")
        assert uids(cluster) == objects
        install(cluster)
        # A change that only a new operator can have seen.
        cluster.patch(DEPLOYMENT, served, {"suspend": True})
        cluster.until(
            lambda: (
                cluster.condition(PROJECT, DEPLOYMENT, served, "Ready").get("reason") == "Suspended"
            ),
            lambda: str(cluster.get(PROJECT, DEPLOYMENT, served)["status"]),
            120,
        )
        cluster.patch(DEPLOYMENT, served, {"suspend": None})
        cluster.ready(PROJECT, DEPLOYMENT, served, 120)
    assert refused == []
    assert uids(cluster) == objects
    assert cluster.pods(PROJECT, SERVERS.format(served)) == servers


def uids(cluster: Kubernetes) -> dict[str, str]:
    listed = json.loads(cluster.kubectl("-n", PROJECT, "get", OURS, "-o", "json"))["items"]
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["uid"] for one in listed}


@contextmanager
def asking(url: str, model: str) -> Iterator[list[str]]:
    """Ask for predictions all the while; yield what went wrong with them."""
    refused: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.2):
            try:
                predictions(url, model)
            except Exception as error:
                refused.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield refused
    finally:
        done.set()
        thread.join()
