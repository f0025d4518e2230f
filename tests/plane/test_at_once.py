"""Many Experiments applied at once: the operator beside a bare loop that makes the same writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from modelyard.api.artifacts import RECORD, run_key
from modelyard.api.dataset import Quality, Quarantine, Snapshot
from modelyard.api.meta import API_VERSION
from modelyard.api.records import DatasetRecord, Provenance
from modelyard.api.resources import EVENT, OURS, WORKFLOW, Key

from .conftest import until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

COUNT = int(os.environ.get("MODELYARD_BENCH_COUNT", "1000"))
DIGEST = "sha256:" + "f" * 64
EXPERIMENT = {
    "datasetRef": {"name": "cells"},
    "task": {"type": "Classification", "target": "target"},
}


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def snapshot(site: Any, namespace: str) -> None:
    """Let the snapshot of a Dataset have ended."""
    found = site.client.get(API_VERSION, Key("Dataset", namespace, "cells")) or {}
    identity = found["status"]["run"]["identity"]
    record = DatasetRecord(
        namespace=namespace,
        name="cells",
        identity=identity,
        fingerprint=DIGEST,
        snapshot=Snapshot(uri="file:///s", digest=DIGEST, rows=100, columns=5),
        rows_read=100,
        schema_=[],
        preview=[],
        quarantine=Quarantine(rows=0),
        quality=Quality(score=1.0),
        expectations=[],
        blocked=False,
        pii=[],
        provenance=Provenance(code_version="1", started_at="t0", finished_at="t1"),
    )
    folder = site.directory / "store" / run_key(namespace, "Dataset", "cells", identity)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).write_text(record.model_dump_json(by_alias=True))


def ready(site: Any, kind: str, namespace: str, name: str) -> bool:
    found = site.client.get(API_VERSION, Key(kind, namespace, name)) or {}
    conditions = (found.get("status") or {}).get("conditions") or []
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)


def apply_all(site: Any, namespace: str) -> None:
    """Apply the Experiments by one `kubectl create`, so that the client is the same for both."""
    items = [
        {
            "apiVersion": API_VERSION,
            "kind": "Experiment",
            "metadata": {"name": f"e{number}", "namespace": namespace},
            "spec": EXPERIMENT,
        }
        for number in range(COUNT)
    ]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    kubectl = [
        "kubectl",
        "--kubeconfig",
        str(site.server.kubeconfig),
        "create",
        "--validate=false",
        "-f",
        "-",
    ]
    made = subprocess.run(kubectl, input=listed.encode(), check=False, capture_output=True)
    assert made.returncode == 0, made.stderr.decode()


def done(site: Any, namespace: str) -> bool:
    children = site.client.list(WORKFLOW, namespace)
    found = site.client.list(OURS["Experiment"], namespace)
    told = sum(bool((one.get("status") or {}).get("conditions")) for one in found)
    return len(children) >= COUNT and told == COUNT


def measure(site: Any, namespace: str, pid: int) -> dict[str, float]:
    """Apply all and wait for all; return wall and CPU seconds."""
    start, worker, server = time.monotonic(), cpu(pid), cpu(site.server.pid)
    apply_all(site, namespace)
    applied = time.monotonic() - start
    until(lambda: done(site, namespace), "every Experiment has its child and a status", 900)
    return {
        "applied": applied,
        "wall": time.monotonic() - start,
        "cpu": cpu(pid) - worker,
        "server": cpu(site.server.pid) - server,
    }


def test_a_thousand_experiments_at_once_beside_a_loop_that_makes_the_same_writes(site: Any) -> None:
    site.install_backends()
    for namespace in ("operator", "bare"):
        site.client.ensure_namespace(namespace)
    operator = site.operator("--namespace", "operator")
    site.put("Project", "team", {}, namespace="operator")
    site.put("Dataset", "cells", {"source": {"builtin": "iris"}}, namespace="operator")
    running = lambda: site.client.list(WORKFLOW, "operator")  # noqa: E731
    until(running, "the snapshot is started")
    until(lambda: "status" in site.client.list(OURS["Dataset"], "operator")[0], "it is told")
    snapshot(site, "operator")
    until(lambda: ready(site, "Dataset", "operator", "cells"), "the Dataset is ready")
    ours = measure(site, "operator", operator.popen.pid)
    print(f"\noperator: {ours}")
    for sample in ("reconcile_duration_seconds_sum", "reconcile_duration_seconds_count"):
        print(f'{sample}: {operator.metric(f"""modelyard_{sample}{{kind="Experiment"}}"""):.1f}')
    writes = operator.metric('modelyard_status_writes_total{kind="Experiment"}')
    operator.end()

    child = next(
        one for one in site.client.list(WORKFLOW, "operator") if "train" in one["metadata"]["name"]
    )
    told = site.client.list(OURS["Experiment"], "operator")[0]["status"]
    event = next(one for one in site.client.list(EVENT, "operator"))
    for one in (child, event):
        for field in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
            one["metadata"].pop(field, None)
    template = json.dumps({"child": child, "status": told, "event": event})
    command = [sys.executable, str(Path(__file__).with_name("bare_loop.py"))]
    command += [str(site.server.kubeconfig), "bare"]
    loop = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert loop.stdin is not None
    assert loop.stdout is not None
    loop.stdin.write(template.encode())
    loop.stdin.close()
    loop.stdin = None
    try:
        assert loop.stdout.readline() == b"watching\n"
        bare = measure(site, "bare", loop.pid)
    finally:
        loop.kill()
        loop.communicate()
    print(f"bare: {bare}")
    ratios = {name: ours[name] / bare[name] for name in ours}
    print(f"operator / bare: {ratios}")
    assert writes <= 2 * COUNT, "each is told that it starts, and once more when that has changed"
