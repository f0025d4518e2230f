"""Why an object is as it is: the chain of what it rests on, the root cause, the commit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from modelyard.api import meta
from modelyard.api.resources import OURS, Key
from modelyard.cli import logs, lookup
from modelyard.cli.client import Client
from modelyard.cli.faults import Fault
from modelyard.cli.layout import Layout, read_json
from modelyard.cli.state import View

_DECLARED = ("FallbackReady", "CanaryReady", "TrafficSplit")

LOG_LINES = 10
EVENTS = 5
REFUSED = 5
"""Faults of files that are told at most."""


@dataclass(frozen=True)
class Link:
    """One object in the chain: how it got there, what it says, what it runs."""

    relation: str
    key: Key
    view: View | None
    children: list[dict[str, str]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    @property
    def is_cause(self) -> bool:
        """Whether it may be what keeps others from being Ready."""
        return self.view is None or self.view.state != "Ready"

    def origin(self) -> dict[str, str]:
        """Return commit and path of the manifest; of a model, of the spec that started its run."""
        if self.view is None:
            return {}
        annotations = self.view.body["metadata"].get("annotations") or {}
        lineage = self.view.status.get("lineage") or {}
        found = {
            "revision": lineage.get("sourceRevision") or annotations.get(meta.SOURCE_REVISION),
            "path": annotations.get(meta.SOURCE_PATH),
        }
        return {name: str(value) for name, value in found.items() if value}

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        view = self.view
        return {
            "relation": self.relation,
            "kind": self.key.kind,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "found": view is not None,
            "state": view.state if view else "Missing",
            "reason": view.reason if view else "NotFound",
            "message": view.message if view else f"there is no {self.key}",
            "origin": self.origin(),
            "verdicts": view.status.get("verdicts") or [] if view else [],
            "children": self.children,
            "events": self.events,
            "log": self.log,
        }


@dataclass(frozen=True)
class Explanation:
    """The chain from an object to what it rests on, nearest first.

    Attributes:
        links: The chain.
        refused: Faults of files that the directory's follower did not apply: of those that the
            chain comes from, or of all where a part of it is missing.
    """

    links: list[Link]
    refused: list[str] = field(default_factory=list)

    def cause(self) -> Link | None:
        """Return the root cause: of the links that are not Ready, the one furthest upstream."""
        return next((link for link in reversed(self.links) if link.is_cause), None)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        cause = self.cause()
        return {
            "object": self.links[0].to_json(),
            "chain": [link.to_json() for link in self.links],
            "rootCause": cause.to_json() if cause else None,
            "refused": self.refused,
            "source": source(self),
        }


def source(explanation: Explanation) -> dict[str, str]:
    """Return commit and path of the spec that made the model of the chain, else of its head.

    A ModelVersion that the operator made stands in no file: its Experiment's manifest does.
    """
    by_kind = {link.key.kind: link.origin() for link in reversed(explanation.links)}
    model = {**by_kind.get("Experiment", {}), **by_kind.get("ModelVersion", {})}
    if model and by_kind.get("Experiment", {}).get("path"):
        model["path"] = by_kind["Experiment"]["path"]
    return model or explanation.links[0].origin()


def explain(client: Client, view: View, layout: Layout | None) -> Explanation:
    """Walk from an object upstream, each object once."""
    links: list[Link] = []
    todo: list[tuple[str, Key]] = [("asked for", view.key)]
    seen: set[Key] = set()
    while todo:
        relation, key = todo.pop(0)
        if key in seen:
            continue
        seen.add(key)
        link = _link(client, relation, key, layout)
        links.append(link)
        if link.view is not None:
            todo.extend(_upstream(link.view))
    return Explanation(links, _refused(links, layout))


def _refused(links: list[Link], layout: Layout | None) -> list[str]:
    """Return the faults by which objects of the chain are not what their files say by now."""
    if layout is None:
        return []
    faults = [Fault(**fault) for fault in read_json(layout.follower).get("faults", [])]
    if all(link.view is not None for link in links):
        paths = [link.origin().get("path", "") for link in links]
        # A path begins at the top of the repository, a fault's file in the directory.
        faults = [f for f in faults if any(f"/{path}".endswith(f"/{f.file}") for path in paths)]
    return [str(fault) for fault in faults[:REFUSED]]


def _link(client: Client, relation: str, key: Key, layout: Layout | None) -> Link:
    body = client.get(OURS[key.kind].api_version, key)
    if body is None:
        return Link(relation, key, None)
    view = View(body)
    made = lookup.children(client, view)
    said = [
        f"{event.get('type')} {event.get('reason')}: {event.get('message')}"
        for event in lookup.events(client, view)[-EVENTS:]
    ]
    log: list[str] = []
    if layout is not None and view.state != "Ready":
        files = [path for child in made for path in logs.files_of(layout, child)]
        log = list(logs.tail(files[-1], LOG_LINES)) if files else []
    return Link(relation, key, view, [_child(child) for child in made], said, log)


def _child(body: dict[str, Any]) -> dict[str, str]:
    status = body.get("status") or {}
    phase = status.get("phase") or status.get("jobDeploymentStatus") or ""
    if not phase:
        conditions: list[dict[str, Any]] = status.get("conditions") or []
        ready = next((c for c in conditions if c.get("type") == "Ready"), {})
        phase = f"Ready={ready.get('status', 'Unknown')}"
    return {
        "kind": body["kind"],
        "name": body["metadata"]["name"],
        "phase": str(phase),
        "message": str(status.get("message") or ""),
    }


def _upstream(view: View) -> Iterator[tuple[str, Key]]:
    """Yield what an object rests on, with the field that says so."""
    spec, status, namespace = view.body.get("spec") or {}, view.status, view.key.namespace

    def link(relation: str, kind: str, name: str | None) -> Iterator[tuple[str, Key]]:
        if name:
            yield relation, Key(kind, namespace, name)

    if view.key.kind == "Monitor":
        yield from link("spec.deploymentRef", "Deployment", spec["deploymentRef"]["name"])
    elif view.key.kind == "Deployment":
        yield from link("status.modelVersion", "ModelVersion", status.get("modelVersion"))
        yield from link(
            "spec.model.modelVersion", "ModelVersion", spec["model"].get("modelVersion")
        )
        yield from link("spec.model.experiment", "Experiment", spec["model"].get("experiment"))
        canary = spec.get("canary") or {}
        yield from link("spec.canary.modelVersion", "ModelVersion", canary.get("modelVersion"))
        yield from link("spec.canary.experiment", "Experiment", canary.get("experiment"))
        fallback = (spec.get("traffic") or {}).get("fallback") or {}
        place = "spec.traffic.fallback"
        yield from link(f"{place}.modelVersion", "ModelVersion", fallback.get("modelVersion"))
        yield from link(f"{place}.experiment", "Experiment", fallback.get("experiment"))
        scored = ((spec.get("batch") or {}).get("input") or {}).get("datasetRef") or {}
        yield from link("spec.batch.input.datasetRef", "Dataset", scored.get("name"))
    elif view.key.kind == "ModelVersion":
        lineage = status.get("lineage") or {}
        yield from link("status.lineage.experiment", "Experiment", lineage.get("experiment"))
    elif view.key.kind == "Experiment":
        yield from link("spec.datasetRef", "Dataset", spec["datasetRef"]["name"])


def lines(explanation: Explanation) -> Iterator[str]:
    """Yield the explanation for a person: the chain, the cause, the next step, the commit."""
    for depth, link in enumerate(explanation.links):
        yield from _lines_of(link, "  " * depth)
    if explanation.refused:
        yield "\nNot applied, since these files are refused:"
        yield from (f"    {fault}" for fault in explanation.refused)
    cause = explanation.cause()
    if cause is None:
        yield "\nEverything in this chain is Ready."
    elif cause.view is None:
        yield f"\nRoot cause: there is no {cause.key}. Next: commit one, or mend {cause.relation}."
    else:
        yield f"\nRoot cause: {cause.key}: {cause.view.reason}: {cause.view.message}"
    if cause is not None and cause.origin() and cause.origin() != source(explanation):
        yield f"Cause written in: commit {_place(cause.origin())}"
    made = source(explanation)
    if made:
        yield f"Source: commit {_place(made)}"


def _place(origin: dict[str, str]) -> str:
    return f"{origin.get('revision', 'unknown')}, {origin.get('path', 'no file')}"


def _lines_of(link: Link, indent: str) -> Iterator[str]:
    if link.view is None:
        yield f"{indent}{link.key.kind}/{link.key.name} ({link.relation}): missing"
        return
    view = link.view
    yield f"{indent}{link.key.kind}/{link.key.name} ({link.relation}): {view.state}, {view.reason}"
    inner = f"{indent}    "
    yield f"{inner}{view.message}"
    for condition in view.status.get("conditions") or []:
        # Ready though something that was declared, such as a fallback, is not.
        if condition["type"] in _DECLARED and condition["status"] == "False":
            yield f"{inner}{condition['type']}: {condition['reason']}: {condition['message']}"
    origin = link.origin()
    if origin:
        yield f"{inner}from {origin.get('revision', '')} {origin.get('path', '')}".rstrip()
    for verdict in view.status.get("verdicts") or []:
        if not verdict["allowed"]:
            reasons = "; ".join(verdict.get("reasons") or ["no reason given"])
            yield f"{inner}{verdict['policy']} denies at {verdict['gate']}: {reasons}"
    for child in link.children:
        name = f"{child['kind']}/{child['name']}"
        yield f"{inner}{name}: {child['phase']} {child['message']}".rstrip()
    if view.state != "Ready":
        yield from (f"{inner}event: {event}" for event in link.events)
        yield from (f"{inner}log: {line}" for line in link.log)
