"""Many objects at once, deletion behind the operator's back, every template; `make soak` runs it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelyard.api.artifacts import RECORD, run_key
from modelyard.api.meta import API_VERSION, FINALIZER
from modelyard.api.resources import OURS, Key
from modelyard.cli.client import Client, Object, key_of, our_objects
from modelyard.cli.starter import TEMPLATES
from modelyard.embedded import plane
from modelyard.judge.law import violations

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT / "examples" / "specs"
NAMESPACE = "many"
DELETED, RETAINED = 200, 10


class Machine:
    """A plane whose operator the test starts and stops itself."""

    def __init__(self, directory: Path) -> None:
        self.store = directory / "store"
        self.store.mkdir(parents=True)
        self.plane = plane.start(directory / "state")
        self.client = Client(self.plane.kubeconfig)
        self.operator: subprocess.Popen[bytes] | None = None
        self.log = directory / "operator.log"
        self.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all")

    def kubectl(self, *arguments: str) -> str:
        command = ["kubectl", "--kubeconfig", str(self.plane.kubeconfig), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def start_operator(self) -> None:
        command = [sys.executable, "-m", "modelyard.plane"]
        command += ["--kubeconfig", str(self.plane.kubeconfig)]
        command += ["--artifact-store", self.store.as_uri()]
        with self.log.open("ab") as log:
            self.operator = subprocess.Popen(command, stdout=log, stderr=log)

    def kill_operator(self) -> None:
        if self.operator is not None:
            self.operator.send_signal(signal.SIGKILL)
            self.operator.wait()
            self.operator = None

    def stop(self) -> None:
        self.kill_operator()
        self.client.close()
        self.plane.stop()

    def objects(self) -> list[Object]:
        return list(our_objects(self.client, None))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()


def until(predicate: Callable[[], Any], seconds: float, what: str) -> float:
    """Wait until something is true; return how long it took."""
    start = time.monotonic()
    while not predicate():
        waited = time.monotonic() - start
        assert waited < seconds, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - start


def is_ready(body: Object) -> bool:
    return any(
        condition["type"] == "Ready"
        and condition["status"] == "True"
        and condition["observedGeneration"] == body["metadata"]["generation"]
        for condition in (body.get("status") or {}).get("conditions", [])
    )


def versions(machine: Machine) -> dict[Key, str]:
    return {key_of(body): body["metadata"]["resourceVersion"] for body in machine.objects()}


def test_thirty_objects_in_any_order_become_ready_and_rest(
    machine: Machine, tmp_path: Path
) -> None:
    documents = [yaml.safe_load(path.read_text()) for path in sorted(SPECS.glob("*/*.yaml"))]
    random.Random(11).shuffle(documents)
    namespaces = sorted({document["metadata"]["namespace"] for document in documents})
    assert len(documents) >= 30
    assert len(namespaces) == 5
    tree = tmp_path / "all.yaml"
    tree.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    for namespace in namespaces:
        machine.client.ensure_namespace(namespace)
    machine.start_operator()

    start = time.monotonic()
    machine.kubectl("apply", "--server-side", "-f", str(tree))
    print(f"{len(documents)} objects applied in {time.monotonic() - start:.1f} s", flush=True)
    wanted = {Key(d["kind"], d["metadata"]["namespace"], d["metadata"]["name"]) for d in documents}
    seen: dict[Key, float] = {}

    def all_ready() -> bool:
        found = {key_of(body) for body in machine.objects() if is_ready(body)}
        for key in found - seen.keys():
            seen[key] = time.monotonic() - start
        return wanted <= found

    until(all_ready, 900, "all objects are Ready")
    seconds = time.monotonic() - start
    for kind in OURS:
        last = max((when for key, when in seen.items() if key.kind == kind), default=0)
        print(f"  last {kind} Ready after {last:.1f} s")
    load = os.getloadavg()[0]
    print(f"all {len(wanted)} objects Ready after {seconds:.1f} s at load {load:.1f}", flush=True)
    bodies = machine.objects()
    assert [fault for body in bodies for fault in violations(body)] == []

    # Monitors look at intervals of seconds; their status changes only when a verdict does.
    before = settled(machine)
    machine.kubectl("apply", "--server-side", "-f", str(tree))
    time.sleep(60)
    changed = {key: at for key, at in versions(machine).items() if before.get(key) != at}
    print(f"second apply: {len(changed)} of {len(before)} objects written within 60 s", flush=True)
    assert changed == {}
    assert seconds <= 120


def settled(machine: Machine) -> dict[Key, str]:
    """Return the resource versions once nothing has been written for ten seconds."""
    before = versions(machine)
    for _ in range(12):
        time.sleep(10)
        now = versions(machine)
        if now == before:
            return now
        print(f"still written: {[key for key in now if before.get(key) != now[key]]}", flush=True)
        before = now
    raise AssertionError("the objects do not come to rest")


def dataset(name: str, policy: str) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "Dataset",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"source": {"builtin": "iris"}, "deletionPolicy": policy, "suspend": True},
    }


def record_of(machine: Machine, name: str) -> Path:
    return machine.store / run_key(NAMESPACE, "Dataset", name, "1" * 64) / RECORD


def test_two_hundred_objects_deleted_without_an_operator_are_gone_soon_after_it_is_up(
    machine: Machine,
) -> None:
    names = {f"delete-{number:03}": "Delete" for number in range(DELETED)}
    names |= {f"retain-{number:03}": "Retain" for number in range(RETAINED)}
    machine.client.ensure_namespace(NAMESPACE)
    project = {
        "apiVersion": API_VERSION,
        "kind": "Project",
        "metadata": {"name": NAMESPACE, "namespace": NAMESPACE},
        "spec": {},
    }
    machine.client.apply(project, Key("Project", NAMESPACE, NAMESPACE))
    machine.start_operator()
    start = time.monotonic()
    for name, policy in names.items():
        machine.client.apply(dataset(name, policy), Key("Dataset", NAMESPACE, name))
        record_of(machine, name).parent.mkdir(parents=True)
        record_of(machine, name).write_text("{}")
    print(f"{len(names)} Datasets applied in {time.monotonic() - start:.1f} s", flush=True)

    def datasets() -> list[Object]:
        return machine.client.list(OURS["Dataset"], NAMESPACE)

    def guarded() -> bool:
        held = [d for d in datasets() if FINALIZER in (d["metadata"].get("finalizers") or [])]
        return len(held) == DELETED and all(d.get("status") for d in datasets())

    until(guarded, 120, "the operator guards what must be deleted with its records")
    print(f"all guarded {time.monotonic() - start:.1f} s after the first apply", flush=True)
    machine.kill_operator()

    for name in names:
        machine.client.delete(API_VERSION, Key("Dataset", NAMESPACE, name))
    assert len(datasets()) == DELETED
    assert all(d["metadata"]["deletionTimestamp"] for d in datasets())

    start = time.monotonic()
    machine.start_operator()
    try:
        until(lambda: not datasets(), 120, "all Datasets are gone")
    finally:
        print(f"{len(datasets())} Datasets left {time.monotonic() - start:.1f} s after the start")
    seconds = time.monotonic() - start
    kept = {name for name in names if record_of(machine, name).exists()}
    print(f"{len(kept)} of {len(names)} records kept", flush=True)
    assert kept == {name for name, policy in names.items() if policy == "Retain"}
    assert seconds <= 30


def run_cli(directory: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "modelyard.cli.main", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_ends_in_a_served_model_unedited(template: str, tmp_path: Path) -> None:
    start = time.monotonic()
    run_cli(tmp_path, "init", "fresh", "--template", template)
    project = tmp_path / "fresh"
    try:
        run_cli(tmp_path, "up", "fresh", "--wait", "--detach", "--timeout", "600")
        seconds = time.monotonic() - start
        client = Client(project / ".modelyard" / "kubeconfig")
        bodies = list(our_objects(client, None))
        client.close()
        assert {body["kind"] for body in bodies} == set(OURS)
        assert all(is_ready(body) for body in bodies)
        (deployment,) = [body for body in bodies if body["kind"] == "Deployment"]
        assert deployment["status"]["modelDigest"]
        load = os.getloadavg()[0]
        print(f"{template}: init to served {seconds:.0f} s at load {load:.1f}", flush=True)
    finally:
        run_cli(tmp_path, "down", "fresh")
    assert seconds <= 300
