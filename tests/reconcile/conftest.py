"""A world for the reconcilers: an in-memory cluster, a real store and policy engine, a set clock.

The in-memory cluster passes the same conformance tests as the Kubernetes adapter
(test_cluster_conformance.py).
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from modelyard.adapters.artifacts import OpenedStores
from modelyard.adapters.regorus import RegorusEngine
from modelyard.api.artifacts import MANIFEST, RECORD, Artifact, artifact_uri, run_key
from modelyard.api.meta import API_VERSION, MODEL_VERSION, SERVER_REVISION, UNJUDGED, Model
from modelyard.api.resources import OURS, Key, Resource
from modelyard.api.runtime import ServedModel, StoreConfig
from modelyard.build.common import NAME_LABEL
from modelyard.judge.law import violations
from modelyard.ports.cluster import BackendMissing, Conflict, Manifest, Refused
from modelyard.ports.prober import NoAnswer
from modelyard.ports.tracking import TrackedRun, TrackingUnavailable
from modelyard.reconcile.context import Ports
from modelyard.reconcile.reconciler import reconcile

from tests.records import artifact_manifest, dataset_record, train_record


def copied(value: Any) -> Any:
    """Return a copy of what an API would answer, which is JSON."""
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATETIME))


class MemoryCluster:
    """Objects in a dictionary, with generations, resource versions and server-side apply."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Manifest] = {}
        self.missing: set[str] = set()
        self.refused: dict[str, str] = {}
        self.writes: list[str] = []
        self._versions = itertools.count(1)

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        return copied(self.objects.get((resource.kind, namespace, name)))

    async def list_objects(self, resource: Resource, namespace: str) -> list[Manifest]:
        wanted = (resource.kind, namespace)
        return [copied(o) for key, o in sorted(self.objects.items()) if key[:2] == wanted]

    async def serves(self, resource: Resource) -> bool:
        return resource.kind not in self.missing

    async def create(self, resource: Resource, manifest: Manifest) -> bool:
        key = self._key(resource, manifest)
        if key in self.objects:
            return False
        self._store(key, copied(manifest), "create")
        return True

    async def apply(self, resource: Resource, manifest: Manifest) -> Manifest:
        if resource.kind in self.missing:
            raise BackendMissing(resource)
        if resource.kind in self.refused:
            raise Refused(f"PATCH {resource.path()}: 403 {self.refused[resource.kind]}")
        key = self._key(resource, manifest)
        before = self.objects.get(key, {})
        after = copied(before) | copied(manifest)
        after["metadata"] = before.get("metadata", {}) | copied(manifest["metadata"])
        if resource.kind in OURS:
            # The defaults of our definitions.
            after.setdefault("spec", {})
            after.setdefault("status", {"observedGeneration": UNJUDGED})
        self._store(key, after, "apply")
        return copied(self.objects[key])

    async def replace(self, resource: Resource, manifest: Manifest) -> None:
        key = self._key(resource, manifest)
        found = self.objects.get(key, {"metadata": {"resourceVersion": "gone"}})
        if found["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
            raise Conflict("the object changed")
        self._store(key, copied(manifest), "replace")

    async def apply_status(self, resource: Resource, manifest: Manifest) -> None:
        key = self._key(resource, manifest)
        if key in self.objects:
            after = copied(self.objects[key]) | {"status": copied(manifest["status"])}
            self._store(key, after, "status")

    async def set_finalizers(self, resource: Resource, manifest: Manifest, to: list[str]) -> None:
        key = self._key(resource, manifest)
        if key not in self.objects:
            return
        current = copied(self.objects[key])
        if current["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
            raise Conflict("the object changed")
        current["metadata"]["finalizers"] = to
        self._store(key, current, "finalizers")
        if current["metadata"].get("deletionTimestamp") and not to:
            del self.objects[key]

    async def delete(self, resource: Resource, namespace: str, name: str) -> None:
        key = (resource.kind, namespace, name)
        found = self.objects.get(key)
        if found is None:
            return
        if found["metadata"].get("finalizers"):
            after = copied(found)
            after["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self._store(key, after, "delete")
            return
        self.writes.append(f"delete {key}")
        del self.objects[key]
        uid = found["metadata"]["uid"]
        for key, owned in list(self.objects.items()):
            references = owned["metadata"].get("ownerReferences") or []
            left = [reference for reference in references if reference["uid"] != uid]
            if references and not left:
                self.objects.pop(key)
            owned["metadata"] |= {"ownerReferences": left} if left else {}

    async def secret(self, namespace: str, name: str) -> Mapping[str, str] | None:
        found = self.objects.get(("Secret", namespace, name))
        return None if found is None else found["stringData"]

    @staticmethod
    def _key(resource: Resource, manifest: Manifest) -> tuple[str, str, str]:
        metadata = manifest["metadata"]
        return resource.kind, metadata["namespace"], metadata["name"]

    def _store(self, key: tuple[str, str, str], after: Manifest, verb: str) -> None:
        before = self.objects.get(key)
        if after == before:
            return
        number = next(self._versions)
        metadata = after["metadata"]
        metadata.setdefault("uid", f"uid-{number}")
        metadata.setdefault("creationTimestamp", f"2026-01-01T00:00:{number % 60:02d}Z")
        if before is None or before.get("spec") != after.get("spec"):
            metadata["generation"] = metadata.get("generation", 0) + 1
        metadata["resourceVersion"] = str(number)
        self.objects[key] = after
        self.writes.append(f"{verb} {key}")


class SharedMemory:
    """Gives all who ask the same of the in-memory cluster one answer, and watches over it."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster
        self._answers: dict[Any, tuple[Any, Any]] = {}

    async def get(self, resource: Resource, namespace: str, name: str) -> Any:
        answer = await self._cluster.get(resource, namespace, name)
        return self._same((resource, namespace, name), answer)

    async def list_objects(self, resource: Resource, namespace: str) -> Any:
        answer = await self._cluster.list_objects(resource, namespace)
        return self._same((resource, namespace), answer)

    def _same(self, question: Any, answer: Any) -> Any:
        known, before = self._answers.get(question, (None, None))
        assert known == before, f"a reconcile has changed what others read too: {question}"
        if known != answer:
            self._answers[question] = (answer, copied(answer))
            return answer
        return known


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def move(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Receiver:
    """Keeps what webhooks are told; those that are down refuse."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []
        self.urls: list[str] = []
        """To whom each of these was told."""
        self.down: set[str] = set()

    async def post(self, url: str, body: Mapping[str, Any]) -> None:
        if url in self.down:
            raise ConnectionRefusedError("refused")
        self.told.append(body)
        self.urls.append(url)


class ModelServers:
    """What answers at which URL; one of several at a URL answers after the other.

    It passes the same conformance tests as the HTTP adapter (test_prober_conformance.py).
    """

    def __init__(self) -> None:
        self.models: dict[tuple[str, str], list[ServedModel]] = {}
        self.problem = "connection refused"
        self._asked = itertools.count()

    def serve(self, url: str, name: str, *models: ServedModel) -> None:
        self.models[url, name] = list(models)

    async def served_model(self, url: str, name: str) -> ServedModel:
        found = self.models.get((url, name))
        if not found:
            raise NoAnswer(self.problem)
        return found[next(self._asked) % len(found)]


class TrackingServers:
    """Runs by server and identity; it passes the conformance tests of the MLflow adapter."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, TrackedRun]] = {}
        self.credentials: Mapping[str, str] = {}
        self.down = False

    async def track(self, uri: str, credentials: Mapping[str, str], run: TrackedRun) -> str:
        if self.down:
            raise TrackingUnavailable(f"{uri}: connection refused")
        self.credentials = credentials
        runs = self.runs.setdefault(uri, {})
        runs[run.identity] = run
        return f"run-{list(runs).index(run.identity)}"


class World:
    """What a test acts on: commit objects, settle, let runs end, look."""

    namespace = "n"

    def __init__(self, root: Path) -> None:
        self.cluster, self.clock, self.receiver = MemoryCluster(), SetClock(), Receiver()
        self.root = root
        stores = OpenedStores(StoreConfig(uri=root.as_uri()))
        self.store = stores.open(stores.default(), {})
        self.servers = ModelServers()
        self.tracking = TrackingServers()
        self.engine = RegorusEngine()
        self.ports = Ports(
            self.cluster,
            SharedMemory(self.cluster),
            stores,
            self.engine,
            self.clock,
            self.receiver,
            self.servers,
            self.tracking,
        )

    async def commit(self, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> None:
        """Put an object as git would: its spec, labels and annotations."""
        resource = OURS[kind]
        base = {"name": name, "namespace": self.namespace}
        manifest = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": base | metadata,
            "spec": spec,
        }
        await self.cluster.apply(resource, manifest)

    async def settle(self) -> None:
        """Reconcile everything until a whole pass writes nothing but maybe Events."""
        for _ in range(20):
            count = len(self._decisive())
            for key in self.all_keys():
                await reconcile(key, self.ports)
            if len(self._decisive()) == count:
                break
        else:
            raise AssertionError(f"it does not settle: {self.cluster.writes[-10:]}")
        for key in self.all_keys():
            found = self.get(key.kind, key.name)
            assert violations(found) == [], found["status"]

    def _decisive(self) -> list[str]:
        return [write for write in self.cluster.writes if "'Event'" not in write]

    def all_keys(self) -> list[Key]:
        """Return the keys of all our objects."""
        keys = [Key(*key) for key in self.cluster.objects if key[0] in OURS]
        return sorted(keys, key=lambda key: list(OURS).index(key.kind))

    def get(self, kind: str, name: str) -> Manifest:
        return self.cluster.objects[kind, self.namespace, name]

    def ready(self, kind: str, name: str) -> tuple[str, str]:
        """Return (status, reason) of Ready."""
        return self.condition(kind, name, "Ready")

    def condition(self, kind: str, name: str, wanted: str) -> tuple[str, str]:
        for condition in self.get(kind, name)["status"]["conditions"]:
            if condition["type"] == wanted:
                return condition["status"], condition["reason"]
        raise AssertionError(f"{kind}/{name} has no condition {wanted}")

    def message(self, kind: str, name: str) -> str:
        conditions = self.get(kind, name)["status"]["conditions"]
        return next(entry["message"] for entry in conditions if entry["type"] == "Ready")

    def children(self, kind: str) -> list[Manifest]:
        return [o for key, o in sorted(self.cluster.objects.items()) if key[0] == kind]

    def events(self) -> list[str]:
        return [event["reason"] for event in self.children("Event")]

    def set_status(self, kind: str, name: str, status: dict[str, Any]) -> None:
        """Let a backend's controller report."""
        self.get(kind, name)["status"] = status

    async def record(self, kind: str, name: str, record: Model) -> None:
        identity = self.get(kind, name)["status"]["run"]["identity"]
        key = run_key(self.namespace, kind, name, identity)
        await self.store.write(f"{key}/{RECORD}", record.model_dump_json(by_alias=True).encode())

    async def finish_dataset(self, name: str, **changes: Any) -> None:
        """Let the run of a Dataset leave its record."""
        identity = self.get("Dataset", name)["status"]["run"]["identity"]
        record = dataset_record(self.namespace, name, identity, **changes)
        await self.record("Dataset", name, record)

    async def artifact(self, content: bytes) -> Artifact:
        """Put an artifact of one file into the store."""
        manifest = artifact_manifest(content)
        found = manifest.artifact_digest()
        uri = artifact_uri(self.store.config.uri, found)
        key = uri.removeprefix(self.store.config.uri + "/")
        await self.store.write(f"{key}/model.json", content)
        await self.store.write(f"{key}/{MANIFEST}", manifest.to_bytes())
        return Artifact(uri=uri, digest=found, size_bytes=len(content))

    async def finish_experiment(self, name: str, auc: float = 0.95, **changes: Any) -> str:
        """Let the run of an Experiment leave its record; return the winner's name."""
        identity = self.get("Experiment", name)["status"]["run"]["identity"]
        artifact = await self.artifact(identity.encode())
        metrics = {"roc_auc": auc, "log_loss": 0.2}
        record = train_record(
            self.namespace, name, identity, artifact, **({"metrics": metrics} | changes)
        )
        await self.record("Experiment", name, record)
        return f"{name}-{identity[:10]}"

    def serve(self, name: str, copies: int = 1) -> None:
        """Let an InferenceService serve its present spec: KServe and its server say so."""
        service = self.get("InferenceService", name)
        url = self.url(name)
        service["status"] = {
            "observedGeneration": service["metadata"]["generation"],
            "url": url,
            "conditions": [{"type": "Ready", "status": "True"}],
            "modelStatus": {"transitionStatus": "UpToDate", "copies": {"totalCopies": copies}},
        }
        self.servers.serve(url, self.model_name(name), self.asked_for(name))

    @staticmethod
    def url(name: str) -> str:
        """Return where an InferenceService answers."""
        return f"http://{name}.example"

    def model_name(self, service: str) -> str:
        """Return the name of the model in the protocols: that of the Deployment."""
        labels: dict[str, str] = self.get("InferenceService", service)["metadata"]["labels"]
        return labels[NAME_LABEL]

    def asked_for(self, name: str) -> ServedModel:
        """Return what the servers of an InferenceService's present spec say of themselves."""
        annotations = self.get("InferenceService", name)["metadata"]["annotations"]
        version = annotations[MODEL_VERSION]
        artifact = self.get("ModelVersion", version)["status"]["artifact"]
        return ServedModel(
            model_version=version,
            model_digest=artifact["digest"],
            revision=annotations[SERVER_REVISION],
        )

    async def trained(
        self, auc: float = 0.95, card_digest: str | None = None, **project: Any
    ) -> str:
        """Go all the way to a registered model; return its ModelVersion's name."""
        await self.commit("Project", "team", project)
        await self.commit("Dataset", "cells", {"source": {"builtin": "breast_cancer"}})
        await self.commit("Experiment", "tumor", EXPERIMENT)
        await self.settle()
        await self.finish_dataset("cells")
        await self.settle()
        name = await self.finish_experiment("tumor", auc, card_digest=card_digest)
        await self.settle()
        return name


EXPERIMENT: dict[str, Any] = {
    "datasetRef": {"name": "cells"},
    "task": {"type": "Classification", "target": "target"},
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    found = World(tmp_path)
    yield found
    await found.engine.aclose()


@pytest.fixture
def memory_cluster() -> MemoryCluster:
    return MemoryCluster()
