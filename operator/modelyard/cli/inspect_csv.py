"""Looks at a stranger's CSV and proposes a starter project, saying what it assumed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from modelyard.api.dataset import Source
from modelyard.cli.faults import CommandError
from modelyard.cli.starter import Starter

MOST_CLASSES = 20
"""A numeric target with more values than this is a quantity, not a class."""
_SAMPLE_BYTES = 64 * 1024
_NULLS = frozenset(Source.model_fields["null_values"].default)


def propose(file: Path, target: str, directory: Path) -> tuple[Starter, list[str]]:
    """Return a starter project for a file and the assumptions behind it.

    Args:
        file: A CSV or TSV file with a header.
        target: Name of the column to predict.
        directory: Where the project will lie; a file in it is named relative to it.

    Raises:
        CommandError: the file cannot be read, or has no such column or no values in it.
    """
    columns, rows = _read(file)
    if target not in columns:
        raise CommandError(f"{file} has no column {target!r}; it has: {', '.join(columns)}")
    place = columns.index(target)
    values = [row[place].strip() for row in rows if len(row) > place]
    values = [value for value in values if value not in _NULLS]
    distinct = sorted(set(values))
    if len(distinct) < 2:
        raise CommandError(f"{target!r} has {len(distinct)} values; there is nothing to predict")
    task, gate, why = _task(target, distinct)
    path = file.resolve()
    inside = path.is_relative_to(directory.resolve())
    shown = path.relative_to(directory.resolve()).as_posix() if inside else str(path)
    starter = Starter(
        title=file.stem,
        description=f"{len(rows):,} rows with {len(columns)} columns from {file.name}.",
        source={"path": shown},
        task=task,
        gate=gate,
        least_rows=max(1, len(rows) // 2),
    )
    assumptions = [
        f"the target is {target!r}: {why}",
        f"the measure is {task['metric']}; change spec.task.metric for another",
        f"no model serves unless its {gate[0]} is at least {gate[2]}; see policy.yaml",
        f"a snapshot with fewer than {starter.least_rows:,} rows is refused; see dataset.yaml",
        f"the data is read from {shown}",
    ]
    return starter, assumptions


def _task(
    target: str, distinct: Sequence[str]
) -> tuple[dict[str, str], tuple[str, str, float], str]:
    if all(map(_is_number, distinct)) and len(distinct) > MOST_CLASSES:
        task = {"type": "Regression", "target": target, "metric": "rmse"}
        return task, ("r2", "GreaterOrEqual", 0.0), f"{len(distinct)} numbers, so Regression"
    metric = "roc_auc" if len(distinct) == 2 else "log_loss"
    task = {"type": "Classification", "target": target, "metric": metric}
    gate = ("roc_auc", 0.7) if len(distinct) == 2 else ("balanced_accuracy", 0.5)
    names = ", ".join(distinct[:5]) + (", ..." if len(distinct) > 5 else "")
    why = f"{len(distinct)} values ({names}), so Classification"
    return task, (gate[0], "GreaterOrEqual", gate[1]), why


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read(file: Path) -> tuple[list[str], list[list[str]]]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: cannot be read: {error.strerror}") from error
    if b"\0" in data[:_SAMPLE_BYTES]:
        raise CommandError(
            f"{file} is no CSV; write the spec by hand from `modelyard init NAME --template wine`"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    try:
        dialect: type[csv.Dialect] = csv.Sniffer().sniff(text[:_SAMPLE_BYTES], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), dialect) if row]
    if len(rows) < 2:
        raise CommandError(f"{file} has no rows below its header; nothing can be learned from it")
    return [name.strip() for name in rows[0]], rows[1:]
