"""From the source to typed, judged rows: what is kept, and what is set apart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnType, DatasetSpec, ExpectationResult, PersonalData
from modelyard.api.runs import DatasetConfig

from modelyard_runtimes.dataset.canonical import Hashes, row_hashes
from modelyard_runtimes.dataset.expectations import Data, judge
from modelyard_runtimes.dataset.merge import Merged, Origins, merge
from modelyard_runtimes.dataset.personal import find_personal_data, some_rows
from modelyard_runtimes.dataset.protect import Protection, declared_actions
from modelyard_runtimes.dataset.quarantine import Marked, any_marked, marked_rows
from modelyard_runtimes.dataset.schema import Typed, apply_types, check_orders, declared_types
from modelyard_runtimes.dataset.sources import field_of, read_source
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.tables.cells import text_table
from modelyard_runtimes.tables.rows import Rejected


class Prepared(NamedTuple):
    """Rows ready for sampling and writing.

    Attributes:
        table: Kept rows, typed, in the order they were read, with raw values.
        hashes: Hash of each of them.
        types: Type by column.
        reasons: Why, by column.
        orders: Values of each Ordinal column, the lowest first.
        rejected: All rows set apart.
        results: What each expectation found, in the order of the spec.
        personal: Columns with personal data.
        protection: What is to be done to values.
        files: The decision about each file, in a sentence.
    """

    table: pa.Table
    hashes: Hashes
    types: dict[str, ColumnType]
    reasons: dict[str, str]
    orders: dict[str, tuple[str, ...]]
    rejected: list[Rejected]
    results: list[ExpectationResult]
    personal: list[PersonalData]
    protection: Protection
    files: list[str]


def prepare(config: DatasetConfig, environ: Mapping[str, str], now: datetime) -> Prepared:
    """Return the rows of a Dataset.

    Args:
        config: The configuration of the run.
        environ: Where credentials and keys stand.
        now: The present time, for Freshness.

    Raises:
        RunFailure: there are no rows to keep, or the spec does not suit them.
    """
    spec = config.spec
    check_orders(spec)
    source = read_source(config, environ)
    merged = merge(source.files, spec.source.null_values)
    files = [*(file.decision for file in merged.files), *source.ignored]
    _check_not_empty(merged.table, spec, files)
    columns = merged.table.column_names
    actions, key = declared_actions(spec.privacy, columns, environ)
    typed = apply_types(merged.table, declared_types(columns, spec.schema_.columns, source.types))
    table, origins, misfits = _without_misfits(merged, typed)
    types: dict[str, ColumnType] = {name: found.type for name, found in typed.types.items()}
    enabled = spec.privacy.detection == "Enabled"
    hashes = row_hashes(table)
    personal = find_personal_data(some_rows(table, hashes), types, actions) if enabled else []
    protection = Protection(actions, _hidden(actions, personal), key)
    # An order tells values: a column whose values are hidden has none.
    types |= {name: "Categorical" for name in protection.hidden if types.get(name) == "Ordinal"}
    data = Data(table, types, protection.hidden, now, hashes)
    results, marks = _judge(spec, data)
    keep = ~any_marked(table.num_rows, marks)
    broken = marked_rows(table, merged.names_of(origins), marks)
    if marks:
        table, hashes = table.filter(pa.array(keep)), hashes[keep]
    rejected = [*merged.rejected, *misfits, *broken]
    if table.num_rows == 0:
        raise RunFailure(
            "EmptySource",
            f"{field_of(spec.source)}: all {len(rejected)} rows were set apart; correct the rows, "
            "spec.schema or spec.expectations",
        )
    reasons = {name: found.reason for name, found in typed.types.items()}
    orders = {name: typed.types[name].order for name in types if types[name] == "Ordinal"}
    return Prepared(
        table, hashes, types, reasons, orders, rejected, results, personal, protection, files
    )


def _check_not_empty(table: pa.Table, spec: DatasetSpec, files: list[str]) -> None:
    if table.num_rows:
        return
    some = " ".join(files[:5])
    reason = "EmptySource" if table.num_columns else "UnreadableSource"
    raise RunFailure(
        reason, f"{field_of(spec.source)}: no rows to read there; add rows. {some}"[:4000]
    )


def _without_misfits(merged: Merged, typed: Typed) -> tuple[pa.Table, Origins, list[Rejected]]:
    """Return the rows whose texts fit the types of their columns, and the others as texts."""
    marks = [
        Marked(
            "TypeMismatch",
            f"column {name} is {typed.types[name].type} ({typed.types[name].reason}) and the text "
            f"is not; declare another {'order' if typed.types[name].order else 'type'} in "
            "spec.schema, or add the text to spec.source.nullValues",
            rows,
            name,
        )
        for name, rows in typed.misfits.items()
    ]
    if not marks:
        return typed.table, merged.origins, []
    misfit = any_marked(len(merged.origins), marks)
    texts = text_table(merged.table.filter(pa.array(misfit)))
    within = [mark._replace(rows=mark.rows[misfit]) for mark in marks]
    return (
        typed.table.filter(pa.array(~misfit)),
        merged.origins[~misfit],
        marked_rows(texts, merged.names_of(merged.origins[misfit]), within),
    )


def _hidden(actions: Mapping[str, str], personal: list[PersonalData]) -> frozenset[str]:
    acted_on = {name for name, action in actions.items() if action != "Allow"}
    undeclared = {found.column for found in personal if found.action is None}
    return frozenset(acted_on | undeclared)


def _judge(spec: DatasetSpec, data: Data) -> tuple[list[ExpectationResult], list[Marked]]:
    """Return all results, and the rows that are quarantined."""
    judged = [judge(expectation, data) for expectation in spec.expectations]
    marks = [
        Marked(found.result.name, found.result.message, found.rows)
        for found in judged
        if found.result.on_fail == "Quarantine" and found.rows is not None and found.rows.any()
    ]
    return [found.result for found in judged], marks
