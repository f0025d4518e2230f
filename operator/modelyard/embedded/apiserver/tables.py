"""Objects as the tables that `kubectl get` prints, and as bare metadata."""

import json
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from modelyard.embedded.apiserver.errors import Object
from modelyard.embedded.apiserver.resources import Column, Resource

_NAME = Column("Name", "string", lambda item: item["metadata"]["name"], format="name")
_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def age(timestamp: str | None, now: float) -> str:
    """How long ago a timestamp was, as Kubernetes words it: `45s`, `3m10s`, `5h`, `12d`.

    Args:
        timestamp: RFC 3339, or None.
        now: Seconds since the epoch.
    """
    if not timestamp:
        return "<unknown>"
    seconds = max(0, int(now - datetime.fromisoformat(timestamp).timestamp()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m" + (f"{seconds % 60}s" if seconds % 60 else "")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    if days < 2:
        return f"{hours}h"
    if days < 8:
        return f"{days}d" + (f"{hours % 24}h" if hours % 24 else "")
    if days < 365 * 2:
        return f"{days}d"
    return f"{days // 365}y" + (f"{days % 365}d" if days % 365 and days < 365 * 8 else "")


def table(resource: Resource, items: Iterable[Object], include: str, metadata: Object) -> Object:
    """A `Table` of objects.

    Args:
        resource: What they are.
        items: The objects.
        include: Each row's `object`: `None`, `Metadata` or `Object`.
        metadata: The metadata of the list.
    """
    columns = (_NAME, *resource.columns)
    now = time.time()
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_definition(column) for column in columns],
        "rows": [_row(columns, item, include, now) for item in items],
    }


def partial(item: Object) -> Object:
    """Only the metadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": item["metadata"],
    }


def _definition(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _row(columns: Iterable[Column], item: Object, include: str, now: float) -> Object:
    row: Object = {"cells": [_cell(column, item, now) for column in columns]}
    if include == "Metadata":
        row["object"] = partial(item)
    elif include == "Object":
        row["object"] = item
    return row


def _cell(column: Column, item: Object, now: float) -> Any:
    value = column.cell(item)
    if column.type == "date":
        return _age_cell(value, now)
    if column.type == "string" and value is not None and not isinstance(value, str):
        return _text(value)
    return value


def _age_cell(value: Any, now: float) -> str | None:
    if not value:
        return None
    try:
        return age(str(value), now)
    except ValueError:
        return "<invalid>"


def _text(value: Any) -> str:
    """Return a value as Kubernetes prints it: lists and maps as JSON, as Go writes that."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        return text.translate(_ESCAPED)
    return str(value)
