"""Applies privacy actions to tables and rows, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnType, Privacy
from modelyard.api.privacy import PrivacyAction
from modelyard.api.runtime import PRIVACY_KEY_VARIABLE

from modelyard_runtimes.dataset.canonical import plain
from modelyard_runtimes.dataset.jsonl import json_values
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.privacy import apply
from modelyard_runtimes.tables.rows import TEXT


class Protection(NamedTuple):
    """What is done to values.

    Attributes:
        actions: Declared action by column.
        hidden: Columns whose values no report may show: those with an action that is not Allow,
            and those with personal data and no action.
        key: Key of the action Hash.
    """

    actions: dict[str, PrivacyAction]
    hidden: frozenset[str]
    key: bytes


def declared_actions(
    privacy: Privacy, columns: list[str], environ: Mapping[str, str]
) -> tuple[dict[str, PrivacyAction], bytes]:
    """Return the declared action by column, and the key of the action Hash.

    Raises:
        RunFailure: a column is missing, or the key is.
    """
    actions = {column.name: column.action for column in privacy.columns}
    for name in actions:
        if name not in columns:
            raise RunFailure(
                "MissingColumn",
                f"spec.privacy.columns[name={name}]: the source has no such column, so its values "
                f"may hide under another name; correct it. It has {', '.join(columns[:50])}",
            )
    key = environ.get(PRIVACY_KEY_VARIABLE, "").encode()
    if "Hash" in actions.values() and not key:
        raise RunFailure(
            "MissingPrivacyKey",
            "spec.privacy.keyRef: the key of the action Hash is empty; put one into the Secret",
        )
    return actions, key


def protect_table(
    table: pa.Table, types: dict[str, ColumnType], protection: Protection
) -> tuple[pa.Table, dict[str, ColumnType]]:
    """Return a table with its columns masked, hashed or dropped, and the types they have then."""
    columns: dict[str, Any] = {}
    new_types: dict[str, ColumnType] = {}
    for name in table.column_names:
        action = protection.actions.get(name, "Allow")
        if action == "Drop":
            continue
        columns[name] = table.column(name)
        new_types[name] = types[name]
        if action != "Allow":
            columns[name] = _protected(plain(table.column(name)), action, protection.key)
            repeats = action == "Mask" or types[name] in ("Categorical", "Boolean")
            new_types[name] = "Categorical" if repeats else "Identifier"
    return pa.table(columns), new_types


def _protected(values: pa.Array, action: PrivacyAction, key: bytes) -> pa.Array:
    encoded = values.dictionary_encode()
    hidden = [apply(action, value, key) for value in json_values(encoded.dictionary)]
    return pa.array(hidden, TEXT).take(encoded.indices)


def protect_row(row: Mapping[str, Any], protection: Protection) -> dict[str, Any]:
    """Return a row as reports may show it; what is hidden without an action is masked."""
    shown = {}
    for name, value in row.items():
        action = protection.actions.get(name, "Mask" if name in protection.hidden else "Allow")
        if action != "Drop":
            shown[name] = apply(action, value, protection.key)
    return shown
