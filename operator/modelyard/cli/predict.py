"""Sends rows to a Deployment and returns what it answers, in the KServe V1 protocol."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from modelyard.api.dataset import FALSE_TEXTS, NULL_VALUES, TRUE_TEXTS
from modelyard.cli.faults import CommandError
from modelyard.cli.state import View, metadata_url, predict_url

MODEL_VERSION_HEADER = "x-modelyard-model-version"
TIMEOUT_SECONDS = 60
_MOST_NAMES = 20
_BOOLEANS = {**dict.fromkeys(TRUE_TEXTS, True), **dict.fromkeys(FALSE_TEXTS, False)}

csv.field_size_limit(1 << 28)  # as a Dataset reads it


@dataclass(frozen=True)
class Instances:
    """Instances as V1 sends them."""

    values: Sequence[Any]


@dataclass(frozen=True)
class Cells:
    """Rows of a CSV file by column: texts, until the server says what its features are."""

    columns: Sequence[str]
    values: Sequence[Mapping[str, str]]


def rows_of(data: str | None, row: str | None) -> Instances | Cells:
    """Return the rows that a person gave.

    Args:
        data: A file, or `-` for stdin: CSV with a header, a JSON list, JSON Lines, or a whole V1
            request.
        row: One row as a JSON object.

    Raises:
        CommandError: none or both were given, or it cannot be read.
    """
    if (data is None) == (row is None):
        raise CommandError("give either --data FILE (or -) or --row '{\"column\": value}'")
    if row is not None:
        return Instances([_json(row, "--row")])
    name = str(data)
    text = sys.stdin.read() if name == "-" else _read(Path(name))
    if name.lower().endswith((".csv", ".tsv")):
        return _cells(text, name)
    return Instances(_instances(text, name))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: is not UTF-8 text: {error}") from error


def _cells(text: str, name: str) -> Cells:
    delimiter = "\t" if name.lower().endswith(".tsv") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[tuple[int, list[str]]] = []
    number = 1
    try:
        for line in reader:
            if line:
                lines.append((number, line))
            number = reader.line_num + 1
    except csv.Error as error:
        raise CommandError(
            f"{name}: line {number}: {error}; close each quote, and write a quote within a cell "
            "twice"
        ) from error
    if not lines:
        raise CommandError(f"{name}: is empty; write the names of the features as its first line")
    header = [
        " ".join(column.split()) or f"column_{place}"  # as a Dataset calls it
        for place, column in enumerate(lines[0][1], start=1)
    ]
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise CommandError(f"{name}: the header names {twice[0]!r} twice; rename one")
    for number, line in lines[1:]:
        if len(line) != len(header):
            raise CommandError(
                f"{name}: line {number}: expected a cell for each of {len(header)} columns, "
                f"found {len(line)}"
            )
    return Cells(header, [dict(zip(header, line, strict=True)) for _, line in lines[1:]])


def _instances(text: str, name: str) -> list[Any]:
    try:
        value = _json(text, name)
    except CommandError as error:
        if not _goes_on(error.__cause__):
            raise
        return [_json(line, name) for line in text.splitlines() if line.strip()]
    if isinstance(value, dict) and isinstance(value.get("instances"), list):
        instances: list[Any] = value["instances"]
        return instances
    return value if isinstance(value, list) else [value]


def _goes_on(error: BaseException | None) -> bool:
    """Return whether a text holds more than one JSON value, as JSON Lines do."""
    return isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise CommandError(f"{name}: not JSON: {error}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no value of JSON; write null where one is missing")


def predict(view: View, rows: Instances | Cells) -> dict[str, Any]:
    """Return the answer of a Deployment, with the ModelVersion that gave it.

    Columns of a CSV file that are no features are not sent: `ignoredColumns` names them, and
    `missingColumns` the features that the file lacks.

    Raises:
        CommandError: it serves nothing, does not answer, or refuses a row; the message says which.
    """
    url = predict_url(view)
    if (view.body.get("spec") or {}).get("mode") == "Batch":
        raise CommandError(
            f"{view.key} has mode Batch and answers no requests; its rows lie in "
            f"{(view.status.get('batch') or {}).get('outputUri', 'no place yet')}"
        )
    if not url:
        raise CommandError(
            f"{view.key} serves nothing yet: {view.reason}: {view.message}\n"
            f"ask `modelyard why deployment/{view.key.name}`"
        )
    if isinstance(rows, Instances):
        return _predicted(view, url, rows.values)
    types = _datatypes(metadata_url(view))
    apart = {
        "ignoredColumns": [column for column in rows.columns if column not in types],
        "missingColumns": [name for name in types if name not in rows.columns],
    }
    if len(apart["missingColumns"]) == len(types):
        raise CommandError(f"no column is a feature of the model; it takes {_names(list(types))}")
    typed = [
        {column: _value(cell, types[column]) for column, cell in row.items() if column in types}
        for row in rows.values
    ]
    try:
        return _predicted(view, url, typed) | {key: names for key, names in apart.items() if names}
    except CommandError as error:
        raise CommandError("\n".join([str(error), *differences(apart)])) from error


def differences(answer: Mapping[str, Any]) -> list[str]:
    """Return how the columns of a file differ from the features of the model, a line each."""
    told = {
        "ignoredColumns": "not sent, for they are no features",
        "missingColumns": "features that the file lacks",
    }
    return [f"{words}: {_names(answer[key])}" for key, words in told.items() if answer.get(key)]


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _predicted(view: View, url: str, instances: Sequence[Any]) -> dict[str, Any]:
    answer = _asked("POST", url, {"instances": instances})
    document: dict[str, Any] = answer.json()
    version = answer.headers.get(MODEL_VERSION_HEADER)
    return {"modelVersion": version or view.status.get("modelVersion"), **document}


def _datatypes(url: str) -> dict[str, str]:
    """Return the data type of each feature, as the model's metadata tells it."""
    answer = _asked("GET", url)
    try:
        return {tensor["name"]: tensor["datatype"] for tensor in answer.json()["inputs"]}
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f"{url} does not say what the model takes; send the rows as JSON"
        ) from error


def _value(cell: str, datatype: str) -> Any:
    """Return what a cell means, as a Dataset reads it by default; other texts stay as they are."""
    text = cell.strip()
    if text in NULL_VALUES:
        return None
    if datatype == "BOOL":
        return _BOOLEANS.get(text.lower(), _number(text))
    return _number(text) if datatype == "FP64" else text


def _number(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    plain = math.isfinite(number) and text.isascii() and "_" not in text
    return number if plain else text


def _asked(method: str, url: str, body: Any = None) -> httpx.Response:
    try:
        answer = httpx.request(method, url, json=body, timeout=TIMEOUT_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        raise CommandError(f"{url} does not answer: {error}") from error
    if not answer.is_success:
        raise CommandError(f"{url} answers: {_refusal(answer)}")
    return answer


def _refusal(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text[:500]}"
