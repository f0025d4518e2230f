"""Reads the model card and the report of a ModelVersion from where they lie."""

from __future__ import annotations

from modelyard.api.project import ProjectSpec
from modelyard.api.records import REPORT_FILE
from modelyard.api.resources import OURS
from modelyard.api.runtime import StoreConfig
from modelyard.cli.client import Client
from modelyard.cli.faults import CommandError
from modelyard.cli.state import View
from modelyard.cli.stores import StoreReader
from modelyard.ports.artifacts import StoreUnavailable


def card(view: View, client: Client) -> str:
    """Return the model card as Markdown, with what git says about the model.

    Raises:
        CommandError: there is none yet, or the store it lies in cannot be read.
    """
    uri = str(view.status.get("cardUri") or "")
    if not uri:
        raise CommandError(f"{view.key} has no card yet: {view.reason}: {view.message}")
    return _read("card", uri, view, client).rstrip() + "\n" + _documentation(view)


def report(view: View, client: Client) -> str:
    """Return the report of the run as a page of HTML.

    Raises:
        CommandError: there is none, or the store it lies in cannot be read.
    """
    evidence = str(view.status.get("evidenceUri") or "")
    if not evidence:
        raise CommandError(f"{view.key} has no report: {view.reason}: {view.message}")
    return _read("report", f"{evidence}/{REPORT_FILE}", view, client)


def _read(what: str, uri: str, view: View, client: Client) -> str:
    namespace = view.key.namespace
    reader = StoreReader(StoreConfig(uri=uri), client)
    try:
        text = reader.read_uri(namespace, _project(client, namespace), uri)
    except StoreUnavailable as error:
        raise CommandError(f"the {what} lies at {uri}, which cannot be read: {error}") from error
    if text is None:
        raise CommandError(
            f"there is no {what} at {uri}; it was deleted, or lies on another machine"
        )
    return text.decode()


def _project(client: Client, namespace: str) -> ProjectSpec | None:
    found = client.list(OURS["Project"], namespace)
    return ProjectSpec.model_validate(found[0]["spec"]) if found else None


def _documentation(view: View) -> str:
    """Return what a person wrote in git about the model, which is no part of its artifact."""
    written = (view.body.get("spec") or {}).get("documentation") or {}
    names = {"intendedUse": "Intended use", "limitations": "Limitations", "owner": "Owner"}
    said = [f"- {title}: {written[name]}" for name, title in names.items() if written.get(name)]
    stage = f"- Stage: {view.status.get('stage') or 'None'}"
    return "\n".join(["", "## From git", "", stage, *said])
