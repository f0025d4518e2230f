"""No reader takes an edited object for healthy before the operator has judged the edit."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from modelyard.api.kinds import KINDS
from modelyard.api.meta import GROUP
from modelyard.judge.conditions import is_ready, ready_condition

from tests.gitops.conftest import judged, read_rightly

from .conftest import NAMESPACE, Cluster, Json, documents, kubectl_binary, manifest, winner

pytestmark = pytest.mark.timeout(900)
EDITS = 10
"""Edits at random, after one of each kind that is waited for."""
STRICT = {
    "gates": ["promote"],
    "rules": [
        {
            "name": "perfect",
            "path": "modelVersion.status.metrics.accuracy",
            "operator": "GreaterOrEqual",
            "value": 1.01,
        }
    ],
}
BROKEN: dict[str, Json] = {
    "Project": {
        "connections": [{"name": "lake", "type": "S3", "secretRef": {"name": "none"}}],
        "artifactStore": {"uri": "s3://a/b", "connectionRef": {"name": "lake"}},
    },
    "Dataset": {"source": {"path": "/nowhere.csv"}},
    "Experiment": {"datasetRef": {"name": "none"}},
    "ModelVersion": {"stage": "Production"},
    "Deployment": {"model": {"experiment": "none"}},
    "Monitor": {"deploymentRef": {"name": "none"}},
    "Policy": {"rules": [], "rego": "package p\nallow if {"},
}
"""What makes the spec of the example one that does not become Ready."""


@contextmanager
def watching(cluster: Cluster, folder: Path) -> Iterator[Callable[[], list[Json]]]:
    """Record every state of our objects that a watch shows; yield what returns them all."""
    command = [kubectl_binary(), "--kubeconfig", str(cluster.kubeconfig), "get", "-w", "-o", "json"]
    files = {kind.kind: folder / f"{kind.kind}.json" for kind in KINDS}
    running = []
    for kind in KINDS:
        with files[kind.kind].open("w") as sink:
            what = [f"{kind.plural}.{GROUP}", "-n", NAMESPACE]
            running.append(subprocess.Popen([*command, *what], stdout=sink))
    try:
        cluster.until(lambda: all(path.read_text() for path in files.values()), "all are watched")
        yield lambda: [seen for path in files.values() for seen in states(path.read_text())]
    finally:
        for process in running:
            process.terminate()
            process.wait()


def states(text: str) -> Iterator[Json]:
    decoder, position = json.JSONDecoder(), 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        try:
            found, position = decoder.raw_decode(text, position)
        except ValueError:
            return  # the last one is still being written
        yield found


@pytest.mark.parametrize("seed", [7])
def test_no_edit_is_read_as_healthy_before_it_is_judged(
    iris: Cluster, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    iris.apply(manifest("Policy", "strict", STRICT))
    version = manifest("ModelVersion", winner(iris)["metadata"]["name"], {})
    fine = {one["kind"]: one for one in [*documents(), version]}
    broken: set[tuple[str, int]] = set()

    def commit(kind: str, changes: Json) -> int:
        """Commit a spec; return its generation."""
        document = fine[kind] | {"spec": fine[kind]["spec"] | changes}
        apply = ("apply", "--server-side", "--field-manager=git", "-f", "-", "-o", "json")
        applied = json.loads(iris.kubectl(*apply, stdin=json.dumps(document)))
        return int(applied["metadata"]["generation"])

    def spoil(kind: str) -> None:
        broken.add((kind, commit(kind, BROKEN[kind])))

    def found(kind: str) -> Json:
        return iris.get(kind, fine[kind]["metadata"]["name"], NAMESPACE)

    with watching(iris, tmp_path) as seen:
        for kind in BROKEN:
            iris.until(lambda kind=kind: is_ready(found(kind)), f"{kind} is Ready")
            spoil(kind)
            iris.until(lambda kind=kind: judged(found(kind)), f"{kind} is judged")
            commit(kind, {})
        for _ in range(EDITS):
            kind = chance.choice(list(BROKEN))
            spoil(kind)
            time.sleep(chance.choice((0, 0, chance.random())))
            commit(kind, {})
        iris.kubectl("delete", "mpol", "strict", "-n", NAMESPACE)
        for kind in fine:
            iris.until(lambda kind=kind: is_ready(found(kind)), f"{kind} is Ready again")
        recorded = seen()
    for one in recorded:
        metadata = one["metadata"]
        if metadata["name"] != "strict":
            read_rightly(one, broken=(one["kind"], metadata["generation"]) in broken)
    stale = [one for one in recorded if ready_condition(one) and not judged(one)]
    told = {one["kind"] for one in stale if ready_condition(one)["status"] == "True"}
    assert told == set(BROKEN), "each was seen with a Ready of the spec before"
    refused = {
        one["kind"]
        for one in recorded
        if judged(one) and (one["kind"], one["metadata"]["generation"]) in broken
    }
    assert refused == set(BROKEN), "each was judged while it was broken"
