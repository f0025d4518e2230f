"""Many Projects whose runs have all ended, brought about by the operator itself.

The test plays the backends: it lets children end, leaves their records and artifacts in the store,
and answers as the model servers.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.api.artifacts import (
    LATEST,
    MANIFEST,
    RECORD,
    Artifact,
    artifact_uri,
    monitor_key,
    run_key,
)
from modelyard.api.experiment import LeaderboardEntry
from modelyard.api.meta import MODEL_VERSION, SERVER_REVISION, Model
from modelyard.api.records import MonitorRecord
from modelyard.api.resources import (
    CHILDREN,
    CRON_WORKFLOW,
    EVENT,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    OURS,
    TENANCY,
    WORKFLOW,
)
from modelyard.api.runtime import MODEL_DIGEST_HEADER, MODEL_VERSION_HEADER, SERVER_REVISION_HEADER
from modelyard.build.common import NAME_LABEL
from modelyard.judge.conditions import ready_condition

from tests.records import artifact_manifest, dataset_record, train_record

from .running import Site

RULE = {
    "name": "auc",
    "path": "modelVersion.status.metrics.roc_auc",
    "operator": "GreaterOrEqual",
    "value": 0.5,
}
LEADERBOARD = [
    LeaderboardEntry(rank=rank, trial=str(rank), learner="LightGBM", metric=1 - rank / 100)
    for rank in range(1, 11)
]
Json = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How many there are of each kind; each Project has a Dataset and a Policy as well."""

    projects: int
    experiments: int
    deployments: int
    monitors: int

    def objects(self) -> dict[str, int]:
        """Return how many objects of each kind there are in the end."""
        return {
            **dict.fromkeys(("Project", "Dataset", "Policy"), self.projects),
            **dict.fromkeys(("Experiment", "ModelVersion"), self.experiments),
            "Deployment": self.deployments,
            "Monitor": self.monitors,
        }


@dataclass
class Population:
    """The objects of a size on a site, spread over the Projects by a seed."""

    site: Site
    size: Size
    servers: ModelServers
    seed: int = 7
    _ended: set[str] = field(default_factory=set)

    def commit(self) -> None:
        """Apply all as git would."""
        seeded = random.Random(self.seed)
        namespaces = [f"team-{number}" for number in range(self.size.projects)]
        for namespace in namespaces:
            self.site.client.ensure_namespace(namespace)
            self._put("Project", "team", {}, namespace)
            self._put("Policy", "good", {"gates": ["deploy"], "rules": [RULE]}, namespace)
            self._put("Dataset", "cells", {"source": {"builtin": "iris"}}, namespace)
        homes = seeded.choices(namespaces, k=self.size.experiments)
        for number, namespace in enumerate(homes):
            task = {"type": "Classification", "target": "target"}
            spec = {"datasetRef": {"name": "cells"}, "task": task, "seed": number}
            self._put("Experiment", f"e{number}", spec, namespace)
        for number, namespace in enumerate(homes[: self.size.deployments]):
            self._put(
                "Deployment", f"d{number}", {"model": {"experiment": f"e{number}"}}, namespace
            )
        for number, namespace in enumerate(homes[: self.size.monitors]):
            self._put("Monitor", f"m{number}", {"deploymentRef": {"name": f"d{number}"}}, namespace)

    def finish(self) -> bool:
        """Let what runs end, and say whether all is Ready."""
        for kind in ("Dataset", "Experiment"):
            for owner in self.site.client.list(OURS[kind]):
                self._end_run(owner)
        for service in self.site.client.list(INFERENCE_SERVICE):
            self._serve(service)
        found = {kind: self.site.client.list(OURS[kind]) for kind in self.size.objects()}
        ready = {
            kind: sum(ready_condition(one).get("status") == "True" for one in objects)
            for kind, objects in found.items()
        }
        print(ready)
        return ready == self.size.objects()

    def versions(self) -> dict[str, str]:
        """Return the resource versions of everything there is."""
        backends = [one for one in CHILDREN if one != HTTP_ROUTE]
        return {
            f"{resource.kind} {one['metadata']['namespace']}/{one['metadata']['name']}": one[
                "metadata"
            ]["resourceVersion"]
            for resource in (*OURS.values(), *backends, *TENANCY, EVENT)
            for one in self.site.client.list(resource)
        }

    def children(self) -> int:
        """Return how many children there are."""
        kinds = (WORKFLOW, CRON_WORKFLOW, INFERENCE_SERVICE)
        return sum(len(self.site.client.list(kind)) for kind in kinds)

    def _put(self, kind: str, name: str, spec: Json, namespace: str) -> None:
        self.site.put(kind, name, spec, namespace=namespace)

    def _end_run(self, owner: Json) -> None:
        run, uid = (owner.get("status") or {}).get("run"), owner["metadata"]["uid"]
        if run is None or uid in self._ended:
            return
        self._ended.add(uid)
        namespace, name = owner["metadata"]["namespace"], owner["metadata"]["name"]
        identity = run["identity"]
        if owner["kind"] == "Dataset":
            record: Model = dataset_record(namespace, name, identity)
        else:
            artifact = self._artifact(f"{namespace}/{name}".encode())
            record = train_record(namespace, name, identity, artifact, leaderboard=LEADERBOARD)
            self._look(namespace, f"m{name.removeprefix('e')}", artifact)
        self._store(f"{run_key(namespace, owner['kind'], name, identity)}/{RECORD}", record)
        ended = {"phase": "Succeeded", "finishedAt": "2026-01-01T00:00:00Z", "progress": "1/1"}
        self._report(WORKFLOW.path(namespace, run["child"]), ended)

    def _artifact(self, content: bytes) -> Artifact:
        manifest = artifact_manifest(content)
        digest, root = manifest.artifact_digest(), self._root().as_uri()
        folder = Path(artifact_uri(root, digest).removeprefix("file://"))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.json").write_bytes(content)
        (folder / MANIFEST).write_bytes(manifest.to_bytes())
        return Artifact(uri=artifact_uri(root, digest), digest=digest, size_bytes=len(content))

    def _look(self, namespace: str, monitor: str, artifact: Artifact) -> None:
        """Let a Monitor have looked at the model, should there be such a Monitor."""
        record = MonitorRecord(
            model_digest=artifact.digest,
            rows=1000,
            enough=True,
            detected=False,
            drifted_features=0,
            features=30,
            worst=[],
            evaluated_at="2026-01-01T00:00:00Z",
        )
        self._store(f"{monitor_key(namespace, monitor)}/{LATEST}", record)

    def _serve(self, service: Json) -> None:
        metadata = service["metadata"]
        if metadata["uid"] in self._ended:
            return
        self._ended.add(metadata["uid"])
        status = {
            "observedGeneration": metadata["generation"],
            "url": self.servers.serve(service, self._digest(service)),
            "conditions": [{"type": "Ready", "status": "True"}],
            "modelStatus": {"transitionStatus": "UpToDate", "copies": {"totalCopies": 1}},
        }
        path = INFERENCE_SERVICE.path(metadata["namespace"], metadata["name"])
        self._report(f"{path}/status", status)

    def _digest(self, service: Json) -> str:
        namespace = service["metadata"]["namespace"]
        version = service["metadata"]["annotations"][MODEL_VERSION]
        found = self.site.client._request("GET", OURS["ModelVersion"].path(namespace, version))
        digest: str = found["status"]["artifact"]["digest"]
        return digest

    def _report(self, path: str, status: Json) -> None:
        self.site.client._request(
            "PATCH", path, {"fieldManager": "backend"}, {"status": status},
            "application/merge-patch+json",
        )  # fmt: skip

    def _root(self) -> Path:
        return self.site.directory / "store"

    def _store(self, key: str, record: Model) -> None:
        path = self._root() / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.model_dump_json(by_alias=True))


class ModelServers:
    """Answers for all InferenceServices, at a URL of its own for each."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self._url = url

    def serve(self, service: Json, digest: str) -> str:
        """Answer as the servers of an InferenceService; return its URL."""
        metadata = service["metadata"]
        where = f"/{metadata['namespace']}/{metadata['name']}"
        headers = {
            MODEL_VERSION_HEADER: metadata["annotations"][MODEL_VERSION],
            MODEL_DIGEST_HEADER: digest,
            SERVER_REVISION_HEADER: metadata["annotations"][SERVER_REVISION],
        }
        path = f"{where}/v2/models/{metadata['labels'][NAME_LABEL]}/ready"
        assert self._process.stdin is not None
        print(json.dumps({"path": path, "headers": headers}), file=self._process.stdin, flush=True)
        return self._url + where


@contextmanager
def model_servers() -> Iterator[ModelServers]:
    """Run the model servers, beside a test that has its hands full."""
    command = [sys.executable, str(Path(__file__).with_name("model_servers.py"))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield ModelServers(process, f"http://127.0.0.1:{port}")
