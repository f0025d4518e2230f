"""What differs between two states of an object, of what a person wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelyard.api import meta
from modelyard.cli.client import Object

_HIDDEN = "(hidden)"


@dataclass(frozen=True)
class FieldChange:
    """One field that changes; a missing side is None."""

    path: str
    before: Any
    after: Any


def changes_between(live: Object | None, wanted: Object) -> Iterator[FieldChange]:
    """Yield the fields that a person wrote and that differ."""
    before, after = _written(live or {}), _written(wanted)
    secret = wanted.get("kind") == "Secret"
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old != new:
            hide = secret and path.startswith(("data", "stringData"))
            yield FieldChange(
                path, old and _HIDDEN if hide else old, new and _HIDDEN if hide else new
            )


def _written(body: Object) -> dict[str, Any]:
    """Return the leaves that a person wrote, by path; of our annotations only the data's digest."""
    metadata = body.get("metadata") or {}
    kept = {
        "labels": _foreign(metadata.get("labels")),
        "annotations": _foreign(metadata.get("annotations")),
    }
    digest = (metadata.get("annotations") or {}).get(meta.SOURCE_DIGEST)
    if digest:
        kept["annotations"][meta.SOURCE_DIGEST] = digest
    skipped = ("apiVersion", "kind", "metadata", "status")
    rest = {name: value for name, value in body.items() if name not in skipped}
    return dict(_leaves({"metadata": kept, **rest}, ""))


def _foreign(texts: dict[str, str] | None) -> dict[str, str]:
    return {k: v for k, v in (texts or {}).items() if not k.startswith(f"{meta.GROUP}/")}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from _leaves(child, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for place, item in enumerate(value):
            yield from _leaves(item, f"{path}[{_name_of(item, place)}]")
    elif value not in ({}, None):
        yield path, value


def _name_of(item: Any, place: int) -> str:
    return str(item["name"]) if isinstance(item, dict) and "name" in item else str(place)
