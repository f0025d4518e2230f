"""Many Experiments applied at once, to the operator or to a bare loop that makes the same writes.

Each of both finds the same: a Project, a Dataset with its snapshot, and the first Experiment, for
which an operator did what is then measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.api.artifacts import RECORD, run_key
from modelyard.api.identity import digest
from modelyard.api.meta import API_VERSION
from modelyard.api.resources import EVENT, OURS, WORKFLOW, Resource

from tests.records import dataset_record

from .running import OperatorProcess, Site, cpu_seconds, until

NAMESPACE = "default"
FIRST = "first"
EXPERIMENT = {
    "datasetRef": {"name": "cells"},
    "task": {"type": "Classification", "target": "target"},
}
PATIENCE = 3600.0
Json = dict[str, Any]


@dataclass(frozen=True)
class Cost:
    """What it took until every Experiment had its child and a status.

    Attributes:
        applied: Seconds until kubectl had applied all.
        seconds: Seconds until all was done.
        worker: CPU seconds of the operator, or of the bare loop.
        server: CPU seconds of the API server.
        children: How many children there were in the end.
        told: How many Experiments had a status.
        events: How many Events there were.
        shape: Digest of what fields a child and a status have.
    """

    applied: float
    seconds: float
    worker: float
    server: float
    children: int
    told: int
    events: int
    shape: str


def by_operator(site: Site, count: int) -> tuple[Cost, OperatorProcess]:
    """Measure the operator; return it too."""
    operator = prepare(site)
    return _measure(site, count, operator.popen.pid), operator


def by_bare_loop(site: Site, count: int) -> Cost:
    """Measure the bare loop, which writes what an operator wrote for the first Experiment."""
    assert prepare(site).end() == 0
    template = {
        "child": _bare(of_first(site, WORKFLOW)),
        "status": of_first(site, OURS["Experiment"])["status"],
        "event": _bare(of_first(site, EVENT)),
    }
    with _bare_loop(site, template) as process:
        return _measure(site, count, process.pid)


def prepare(site: Site) -> OperatorProcess:
    """Let an operator take one Dataset to its snapshot and start one Experiment; return it."""
    site.install_backends()
    operator = site.operator()
    site.put("Project", "team", {})
    site.put("Dataset", "cells", {"source": {"builtin": "iris"}})
    running = lambda: (site.get("Dataset", "cells").get("status") or {}).get("run")  # noqa: E731
    identity = until(running, "the snapshot runs")["identity"]
    record = dataset_record(NAMESPACE, "cells", identity)
    folder = site.directory / "store" / run_key(NAMESPACE, "Dataset", "cells", identity)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).write_text(record.model_dump_json(by_alias=True))
    # What a backend's controller reports wakes the Dataset, which finds its record.
    path = WORKFLOW.path(NAMESPACE, site.workflows()[0]["metadata"]["name"])
    ended = {"status": {"phase": "Succeeded"}}
    site.client._request("PATCH", path, {}, ended, "application/merge-patch+json")
    until(lambda: operator.knows("Dataset", ready="True") == 1, "the Dataset is Ready")
    site.put("Experiment", FIRST, EXPERIMENT)
    until(lambda: site.get("Experiment", FIRST).get("status"), "the first Experiment has a status")
    until(lambda: of_first(site, EVENT), "and an Event")
    return operator


def of_first(site: Site, resource: Resource) -> Json:
    """Return what is there of the first Experiment."""
    for one in site.client.list(resource, NAMESPACE):
        owners = one["metadata"].get("ownerReferences") or [{}]
        about = one.get("involvedObject") or owners[0]
        if FIRST in (one["metadata"]["name"], about.get("name")):
            return one
    return {}


def _bare(manifest: Json) -> Json:
    made = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
    kept = {name: value for name, value in manifest["metadata"].items() if name not in made}
    return manifest | {"metadata": kept}


@contextmanager
def _bare_loop(site: Site, template: Json) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(Path(__file__).with_name("bare_loop.py"))]
    command += [str(site.server.kubeconfig), NAMESPACE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(template).encode())
        process.stdin.close()
        try:
            assert process.stdout.readline() == b"watching\n"
            yield process
        finally:
            process.kill()


def _measure(site: Site, count: int, pid: int) -> Cost:
    """Apply Experiments by one `kubectl create`, the same client for both, and await the end."""
    before = _counts(site)
    start, worker, server = time.monotonic(), cpu_seconds(pid), site.server_cpu()
    _create(site, count)
    applied = time.monotonic() - start
    # Counting is cheap and looking at each status is not: that comes when all children are there.
    counted = lambda: _count(site, EVENT) - before[EVENT] >= count  # noqa: E731
    until(counted, "every Experiment has its Event", PATIENCE)
    until(lambda: _told(site) > count, "every Experiment has a status", PATIENCE)
    seconds = time.monotonic() - start
    worker, server = cpu_seconds(pid) - worker, site.server_cpu() - server
    counts = {resource: found - before[resource] for resource, found in _counts(site).items()}
    child = next(one for one in site.workflows() if "train" in one["metadata"]["name"])
    status = site.get("Experiment", "e0")["status"]
    return Cost(
        applied=applied,
        seconds=seconds,
        worker=worker,
        server=server,
        children=counts[WORKFLOW],
        told=_told(site) - 1,
        events=counts[EVENT],
        shape=digest(json.dumps([_shape(child["spec"]), _shape(status)]).encode()),
    )


def _shape(value: Any) -> Any:
    """Return a value with the types of its texts and numbers in their place."""
    if isinstance(value, dict):
        return {name: _shape(value[name]) for name in sorted(value)}
    return [_shape(one) for one in value] if isinstance(value, list) else type(value).__name__


def _create(site: Site, count: int) -> None:
    items = [
        {
            "apiVersion": API_VERSION,
            "kind": "Experiment",
            "metadata": {"name": f"e{number}", "namespace": NAMESPACE},
            "spec": EXPERIMENT,
        }
        for number in range(count)
    ]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    kubectl = str(Path(sys.executable).with_name("kubectl"))
    options = ["--kubeconfig", str(site.server.kubeconfig), "--validate=false"]
    command = [kubectl, *options, "create", "-f", "-"]
    made = subprocess.run(command, input=listed.encode(), check=False, capture_output=True)
    assert made.returncode == 0, made.stderr.decode()


def _counts(site: Site) -> dict[Resource, int]:
    return {resource: _count(site, resource) for resource in (WORKFLOW, EVENT)}


def _count(site: Site, resource: Resource) -> int:
    """Return how many objects there are, without reading them."""
    listed = site.client._request("GET", resource.path(NAMESPACE), {"limit": "1"})
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount") or 0)


def _told(site: Site) -> int:
    found = site.client.list(OURS["Experiment"], NAMESPACE)
    return sum(bool((one.get("status") or {}).get("conditions")) for one in found)
