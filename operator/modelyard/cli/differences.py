"""What differs between two states of an object, of what a person wrote."""

from __future__ import annotations

from collections import Counter
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
    """Return labels or annotations without those that applying adds by itself."""
    added = (f"{meta.GROUP}/applied-", f"{meta.GROUP}/source-")
    return {key: text for key, text in (texts or {}).items() if not key.startswith(added)}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from _leaves(child, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for name, item in zip(_names_of(value), value, strict=True):
            yield from _leaves(item, f"{path}[{name}]")
    elif value not in ({}, None):
        yield path, value


def _names_of(items: list[Any]) -> Iterator[str]:
    """Yield a name for each entry of a list; the second of a name has its number behind it."""
    times: Counter[str] = Counter()
    for place, item in enumerate(items):
        name = str(item["name"]) if isinstance(item, dict) and "name" in item else str(place)
        times[name] += 1
        yield name if times[name] == 1 else f"{name} {times[name]}"
