"""Reads the model card of a ModelVersion from where it lies, and adds what git says about it."""

from __future__ import annotations

from pathlib import Path

from modelyard.cli.faults import CommandError
from modelyard.cli.state import View


def card(view: View) -> str:
    """Return the model card as Markdown.

    Raises:
        CommandError: there is none yet, or it lies in a store this command cannot read.
    """
    uri = str(view.status.get("cardUri") or "")
    if not uri:
        raise CommandError(f"{view.key} has no card yet: {view.reason}: {view.message}")
    if not uri.startswith("file://"):
        raise CommandError(f"the card lies at {uri}; read it with a client of that store")
    try:
        text = Path(uri.removeprefix("file://")).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{uri} cannot be read: {error.strerror}") from error
    return text.rstrip() + "\n" + _documentation(view)


def _documentation(view: View) -> str:
    """Return what a person wrote in git about the model, which is no part of its artifact."""
    written = (view.body.get("spec") or {}).get("documentation") or {}
    names = {"intendedUse": "Intended use", "limitations": "Limitations", "owner": "Owner"}
    said = [f"- {title}: {written[name]}" for name, title in names.items() if written.get(name)]
    stage = f"- Stage: {view.status.get('stage') or 'None'}"
    return "\n".join(["", "## From git", "", stage, *said])
