"""Judges one object as the API server does: the same schema, pruning, defaults and CEL rules."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any

from modelyard.api.crd import object_schema
from modelyard.api.kinds import BY_NAME
from modelyard.cli import documents
from modelyard.embedded.apiserver import structural
from modelyard.embedded.apiserver.rules import RuleTree, compile_rules
from modelyard.embedded.apiserver.validation import SchemaValidator

_ENVELOPE = ("apiVersion", "kind", "metadata")


@cache
def _compiled(kind: str) -> tuple[dict[str, Any], SchemaValidator, RuleTree | None]:
    schema = object_schema(BY_NAME[kind])
    return schema, SchemaValidator(schema), compile_rules(schema)


def faults(kind: str, body: dict[str, Any]) -> Iterator[tuple[documents.Path, str]]:
    """Yield the path and the message, remedy included, of each fault of an object of our kinds."""
    if kind not in BY_NAME:
        known = ", ".join(sorted(BY_NAME))
        yield ("kind",), f"no such kind {kind!r}; {_suggest(kind, list(BY_NAME)) or known}"
        return
    schema, validator, rules = _compiled(kind)
    body = copy.deepcopy({name: body[name] for name in body if name not in _ENVELOPE})
    for unknown in structural.prune(body, schema, ""):
        path = documents.parse_field_path(unknown)
        siblings = list(_schema_at(schema, path[:-1]).get("properties", {}))
        remedy = _suggest(str(path[-1]), siblings) or "remove it, or move it where it belongs"
        yield path, f"unknown field; {remedy}"
    structural.default(body, schema)
    wrong = validator.faults(body)
    for error in wrong:
        path = documents.parse_field_path(error.field)
        yield path, _with_remedy(error.text, _schema_at(schema, path))
    if not wrong and rules is not None:
        for error in rules.faults(body):
            yield documents.parse_field_path(error.field), _rule_message(error.text)


def _suggest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else ""


def _schema_at(schema: dict[str, Any], path: documents.Path) -> dict[str, Any]:
    """Return the schema of the field at a path, an empty one where there is none."""
    for part in path:
        if isinstance(part, int):
            found = schema.get("items")
        else:
            found = schema.get("properties", {}).get(part, schema.get("additionalProperties"))
        schema = found if isinstance(found, dict) else {}
    return schema


def _with_remedy(text: str, schema: dict[str, Any]) -> str:
    """Say what the field is for, which is what has to be written there.

    A message that lists the values says it already.
    """
    description = None if text.startswith("Unsupported value") else schema.get("description")
    text = "missing" if text == "Required value" else text
    return f"{text}; write: {description}" if description else text


def _rule_message(text: str) -> str:
    """Return a rule's own message, which holds the remedy, without the repeated label."""
    return text.partition('": ')[2] if text.startswith('Invalid value: "') else text
