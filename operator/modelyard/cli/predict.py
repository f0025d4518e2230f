"""Sends rows to a Deployment and returns what it answers, in the KServe V1 protocol."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import httpx

from modelyard.cli.faults import CommandError
from modelyard.cli.state import View, predict_url

MODEL_VERSION_HEADER = "x-modelyard-model-version"
TIMEOUT_SECONDS = 60


def rows_of(data: str | None, row: str | None) -> list[Any]:
    """Return the instances that a person gave.

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
        return [_json(row, "--row")]
    name = str(data)
    text = sys.stdin.read() if name == "-" else _read(Path(name))
    if name.endswith((".csv", ".tsv")):
        delimiter = "\t" if name.endswith(".tsv") else ","
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        return [{column: _cell(cell) for column, cell in line.items()} for line in reader]
    return _instances(text, name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: is not UTF-8 text: {error}") from error


def _cell(text: str | None) -> Any:
    """Return a CSV cell as a number where it is one, None where it is empty."""
    if text is None or text.strip() == "":
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _instances(text: str, name: str) -> list[Any]:
    first = text.lstrip()[:1]
    if first == "{" and "\n{" in text.strip():
        return [_json(line, name) for line in text.splitlines() if line.strip()]
    value = _json(text, name)
    if isinstance(value, dict) and isinstance(value.get("instances"), list):
        instances: list[Any] = value["instances"]
        return instances
    return value if isinstance(value, list) else [value]


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"{name}: not JSON: {error}") from error


def predict(view: View, instances: list[Any]) -> dict[str, Any]:
    """Return the answer of a Deployment, with the ModelVersion that gave it.

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
    try:
        answer = httpx.post(
            url, json={"instances": instances}, timeout=TIMEOUT_SECONDS, trust_env=False
        )
    except httpx.HTTPError as error:
        raise CommandError(f"{url} does not answer: {error}") from error
    if answer.is_error:
        raise CommandError(f"{url} refused the rows: {_refusal(answer)}")
    document: dict[str, Any] = answer.json()
    version = answer.headers.get(MODEL_VERSION_HEADER)
    return {"modelVersion": version or view.status.get("modelVersion"), **document}


def _refusal(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text[:500]}"
