"""Reads a requirements file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from modelyard.api.dataset import Builtin
from modelyard.api.experiment import CLASSIFICATION_METRICS
from modelyard.cli.requirements.metric import read, read_target_metric
from modelyard.cli.requirements.model import Requirements, TaskType
from modelyard.cli.requirements.objective import (
    columns_in,
    named_target,
    target_candidates,
    task_by_words,
    unsupported_task,
)
from modelyard.cli.requirements.table import Table, read_table
from modelyard.cli.requirements.traffic import read_deployment

FIELDS = {
    "project_name": "name of the project",
    "data_source": "a file, a directory, an s3:// URI, or a data set of scikit-learn by its name",
    "objective": "what is to be predicted, in English",
    "data_description": "what the rows are, in English",
    "target_metric": 'what a model must reach, for example "AUC > 0.85"',
    "deployment": 'how it is served, for example "REST API, 100k requests/day"',
    "target": "answer: the column that is predicted",
    "task": "answer: classification or regression",
    "positive_label": "answer: the value of the target that counts as positive",
}
"""Fields of a requirements file; `answer` marks those that answer questions."""

_BUILTINS = get_args(Builtin)
_AFFIRMATIVE = ("yes", "true", "1", "y", "t", "positive")
_NAME_LIMIT = 63
_SENSITIVE = re.compile(
    r"\b(?:sensitive|protected)(?: \w+)?(?: are| is|:)\s*([^.\n]+)", re.IGNORECASE
)
_EXCLUDE = re.compile(
    r"\b(?:ignore|exclude|drop|leave out|do not use|don't use)(?: the)?(?: columns?)?:?\s+"
    r"([^.\n]+)",
    re.IGNORECASE,
)


def parse(document: Mapping[str, Any], directory: Path) -> Requirements:
    """Return what a requirements file says, with what was assumed and what must be asked.

    Args:
        document: The file's content, fields as in `FIELDS`.
        directory: Directory that a relative data_source is looked for in.
    """
    requirements = Requirements()
    texts = {key: _text(value) for key, value in document.items() if value is not None}
    for name in sorted(texts.keys() - FIELDS.keys()):
        requirements.refuse(name, texts[name], f"no such field; there are {', '.join(FIELDS)}")
    requirements.objective = texts.get("objective", "")
    requirements.data_description = texts.get("data_description", "")
    _read_name(texts.get("project_name", ""), requirements)
    table = _read_source(texts.get("data_source", ""), directory, requirements)
    _read_metric(texts, requirements)
    _read_target(texts, table, requirements)
    _read_task(texts, table, requirements)
    _read_positive_label(texts, table, requirements)
    _read_columns(table, requirements)
    if "deployment" in texts:
        read_deployment(texts["deployment"], requirements)
    else:
        requirements.assume("deployment", "REST endpoint", "nothing is said of it")
    return requirements


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value).strip()


def _read_name(text: str, requirements: Requirements) -> None:
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_NAME_LIMIT].strip("-")
    if not name:
        requirements.ask("project_name", "what is the project called")
        return
    requirements.project_name = name
    if name != text:
        requirements.assume("project_name", name, f"{text!r} is no name of Kubernetes objects")


def _read_source(text: str, directory: Path, requirements: Requirements) -> Table | None:
    builtin = re.sub(r"[\s-]+", "_", re.sub(r"^(?:sklearn|scikit-learn)[.:/ ]+", "", text.lower()))
    builtin = builtin.removeprefix("datasets.").removeprefix("load_")
    if not text:
        requirements.ask("data_source", f"where is the data; give {FIELDS['data_source']}")
    elif builtin in _BUILTINS:
        requirements.data_builtin = builtin
        requirements.target = "target"
    elif text.startswith("s3://"):
        requirements.data_uri = text
        why = "an s3:// source is opened by a connection; make the Secret with its two AWS keys"
        requirements.assume("data_source", "connection data with Secret data-credentials", why)
    elif "://" in text:
        requirements.ask("data_source", f"{text} cannot be read; export it to a file or to s3://")
    else:
        path = directory / text
        if path.exists():
            requirements.data_path = path.resolve()
            return read_table(path)
        requirements.ask("data_source", f"there is no {text} in {directory.resolve()}; where is it")
    return None


def _read_metric(texts: Mapping[str, str], requirements: Requirements) -> None:
    if text := texts.get("target_metric"):
        read_target_metric(text, requirements)
        return
    if read(requirements.objective).metric is not None:
        read_target_metric(requirements.objective, requirements)
        return
    requirements.assume("policies", "no Policy", "no quality is required; any model may serve")


def _read_target(texts: Mapping[str, str], table: Table | None, requirements: Requirements) -> None:
    spoken = f"{requirements.objective}\n{requirements.data_description}"
    told = texts.get("target") or requirements.target or named_target(spoken)
    if told is None and table is not None:
        candidates = target_candidates(requirements.objective, table)
        if len(candidates) == 1:
            requirements.target = candidates[0]
            why = f"the objective speaks of it: {requirements.objective!r}"
            requirements.assume("target", candidates[0], why)
            return
        columns = ", ".join(candidates or table.columns[:30])
        requirements.ask("target", f"which column is predicted; one of: {columns}")
        return
    if told is None:
        requirements.ask("target", "which column is predicted; the data could not be looked into")
        return
    requirements.target = told
    if table is not None and told not in table.columns:
        requirements.target = next((c for c in table.columns if c.lower() == told.lower()), None)
        if requirements.target is None:
            columns = ", ".join(table.columns[:30])
            requirements.ask("target", f"there is no column {told!r}; which one: {columns}")


def _read_task(texts: Mapping[str, str], table: Table | None, requirements: Requirements) -> None:
    told = texts.get("task", "")
    if unsupported := None if told else unsupported_task(requirements.objective):
        remedy = "Experiments have classification and regression"
        requirements.refuse("objective", requirements.objective, f"{unsupported}: {remedy}")
        requirements.ask("task", f"{unsupported} is not available; classification or regression")
        return
    found = _task_evidence(told, table, requirements)
    kinds = {kind for kind, _ in found}
    if len(kinds) != 1:
        signs = "; ".join(f"{why} ({kind})" for kind, why in found) or "nothing says it"
        requirements.ask("task", f"classification or regression: {signs}")
        return
    requirements.task_type, why = found[0]
    if not told:
        requirements.assume("task", requirements.task_type, why)


def _task_evidence(
    told: str, table: Table | None, requirements: Requirements
) -> list[tuple[TaskType, str]]:
    """Return every sign of the kind of task with its reason; what is told leaves no other."""
    if by_told := _kind(told):
        return [(by_told, "the field task says so")]
    signs: list[tuple[TaskType, str]] = []
    if requirements.metric is not None:
        kind: TaskType = (
            "Classification" if requirements.metric in CLASSIFICATION_METRICS else "Regression"
        )
        signs.append((kind, f"the metric is {requirements.metric}"))
    if table is not None and requirements.target is not None:
        if table.is_measured(requirements.target):
            signs.append(("Regression", f"column {requirements.target} holds many numbers"))
        elif table.is_classes(requirements.target):
            signs.append(("Classification", f"column {requirements.target} holds few values"))
    if not signs and (by_words := task_by_words(requirements.objective)):
        signs.append((by_words, f"the objective says {requirements.objective!r}"))
    return signs


def _kind(text: str) -> TaskType | None:
    lower = text.lower()
    if "class" in lower:
        return "Classification"
    return "Regression" if "regress" in lower else None


def _read_positive_label(
    texts: Mapping[str, str], table: Table | None, requirements: Requirements
) -> None:
    if requirements.task_type != "Classification":
        return
    if told := texts.get("positive_label"):
        requirements.positive_label = told
        return
    if table is None or requirements.target is None:
        return
    values = table.values(requirements.target)
    affirmative = [value for value in values if value.lower() in _AFFIRMATIVE]
    if len(values) == 2 and len(affirmative) == 1:
        requirements.positive_label = affirmative[0]
        why = f"column {requirements.target} holds {values[0]} and {values[1]}"
        requirements.assume("positive_label", affirmative[0], why)
    elif len(values) == 2:
        why = f"neither {values[0]} nor {values[1]} says yes; name one in positive_label"
        requirements.assume("positive_label", "the rarer value", why)


def _read_columns(table: Table | None, requirements: Requirements) -> None:
    text = requirements.data_description
    for match in _SENSITIVE.finditer(text):
        requirements.sensitive += columns_in(match.group(1), table)
    for match in _EXCLUDE.finditer(text):
        requirements.exclude += columns_in(match.group(1), table)
