"""What the objects of a project say about themselves, read from the API server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from modelyard.api.artifacts import PROGRESS, run_key
from modelyard.api.resources import Key
from modelyard.cli.client import Object, key_of
from modelyard.cli.faults import Fault
from modelyard.cli.layout import Layout, read_json

State = Literal["Ready", "Progressing", "Stalled"]


@dataclass(frozen=True)
class View:
    """One object and the verdict in its conditions."""

    body: Object

    @property
    def key(self) -> Key:
        """Kind, namespace and name."""
        return key_of(self.body)

    @property
    def status(self) -> dict[str, Any]:
        """The status, empty before the operator's first."""
        return self.body.get("status") or {}

    def condition(self, kind: str) -> dict[str, Any]:
        """Return a condition, empty when there is none."""
        conditions: list[dict[str, Any]] = self.status.get("conditions") or []
        return next((entry for entry in conditions if entry["type"] == kind), {})

    @property
    def is_current(self) -> bool:
        """Whether the operator has judged the present spec."""
        generation = self.body["metadata"].get("generation", 0)
        return bool(self.condition("Ready").get("observedGeneration", -1) >= generation)

    @property
    def state(self) -> State:
        """Ready, Stalled (somebody must change something) or Progressing."""
        if not self.is_current:
            return "Progressing"
        if self.condition("Ready").get("status") == "True":
            return "Ready"
        if self.condition("Stalled").get("status") == "True":
            return "Stalled"
        return "Progressing"

    @property
    def needs_somebody(self) -> bool:
        """Whether it will not become Ready by itself: stalled, or suspended by its spec."""
        suspended = bool((self.body.get("spec") or {}).get("suspend"))
        return self.state == "Stalled" or (suspended and self.is_current and self.state != "Ready")

    @property
    def reason(self) -> str:
        """The reason of Ready."""
        return str(self.condition("Ready").get("reason", "Pending"))

    @property
    def message(self) -> str:
        """The message of Ready."""
        waiting = "The operator has not looked at it yet."
        return str(self.condition("Ready").get("message", waiting))

    @property
    def revision(self) -> str:
        """The commit it came from."""
        annotations = self.body["metadata"].get("annotations") or {}
        return str(annotations.get("modelyard.dev/source-revision", ""))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: who it is, whether it is ready and why, its whole status."""
        return {
            "kind": self.key.kind,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "state": self.state,
            "reason": self.reason,
            "message": self.message,
            "sourceRevision": self.revision,
            "conditions": self.status.get("conditions") or [],
            "status": {k: v for k, v in self.status.items() if k != "conditions"},
        }


def progress_of(view: View, layout: Layout | None) -> str:
    """Return how far a run is, for example `7/12 trials, best 0.991, 20s left`; or nothing.

    The runtime's own progress file is fresher than the status, and is read where it lies on this
    machine.
    """
    run = view.status.get("run") or {}
    tell = _PROGRESS.get(view.key.kind)
    if tell is None or view.state != "Progressing" or not run:
        return ""
    progress = view.status.get("progress") or {}
    if layout is not None:
        key = view.key
        folder = layout.store / run_key(key.namespace, key.kind, key.name, run["identity"])
        progress = read_json(folder / PROGRESS) or progress
    return tell(progress) if progress else ""


def _search_progress(progress: dict[str, Any]) -> str:
    parts = [f"{progress['done']}/{progress['total']} trials"]
    if progress.get("failed"):
        parts.append(f"{progress['failed']} failed")
    if progress.get("bestMetric") is not None:
        parts.append(f"best {progress['bestMetric']:.4g}")
    if progress.get("eta"):
        parts.append(f"{progress['eta']} left")
    return ", ".join(parts)


def _batch_progress(progress: dict[str, Any]) -> str:
    total = f"/{progress['total']}" if progress.get("total") is not None else ""
    return f"{progress['done']}{total} rows in {progress.get('shards', 0)} files"


_PROGRESS = {"Experiment": _search_progress, "Deployment": _batch_progress}
"""What tells the progress of a run, by the kind of its object."""


def unapplied(layout: Layout | None) -> list[str]:
    """Return what of a project's folder is not in force, with the reason; nothing when all is."""
    done = read_json(layout.follower) if layout is not None else {}
    faults = [
        str(Fault(entry["file"], entry["line"], entry["column"], entry["field"], entry["message"]))
        for entry in done.get("faults", [])
    ]
    failed = [
        f"{Key(entry['kind'], entry['namespace'], entry['name'])}: {entry['message']}"
        for entry in done.get("results", [])
        if entry["action"] == "Failed"
    ]
    return faults + failed


def predict_url(view: View) -> str:
    """Return the URL that answers V1 predictions of a Deployment, empty while it serves nothing."""
    url = str(view.status.get("url") or "").rstrip("/")
    return f"{url}/v1/models/{view.key.name}:predict" if url else ""


def metadata_url(view: View) -> str:
    """Return the URL at which V2 says what a Deployment takes; it serves something."""
    return f"{str(view.status['url']).rstrip('/')}/v2/models/{view.key.name}"


def document(views: Iterable[View]) -> dict[str, Any]:
    """Return the objects, the endpoints and the models as one JSON document."""
    views = list(views)
    return {
        "objects": [view.to_json() for view in views],
        "endpoints": [
            {
                "deployment": view.key.name,
                "namespace": view.key.namespace,
                "url": view.status["url"],
                "predictUrl": predict_url(view),
                "modelVersion": view.status.get("modelVersion"),
                "modelDigest": view.status.get("modelDigest"),
            }
            for view in views
            if view.key.kind == "Deployment" and view.status.get("url")
        ],
        "models": [
            {
                "modelVersion": view.key.name,
                "namespace": view.key.namespace,
                "digest": view.status["artifact"]["digest"],
                "stage": view.status.get("stage"),
                "metrics": view.status.get("metrics") or {},
            }
            for view in views
            if view.key.kind == "ModelVersion" and view.status.get("artifact")
        ],
    }
