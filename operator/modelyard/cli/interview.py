"""From requirements to a project: shows what was assumed, and asks instead of guessing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from modelyard.cli import documents
from modelyard.cli.faults import CommandError
from modelyard.cli.requirements import Requirements, parse, project_tree
from modelyard.cli.starter import Draft, check_name

Ask = Callable[[str], str]
OPTIONS = {
    "project_name": "NAME",
    "data_source": "--data",
    "target": "--target",
    "target_metric": "--require",
}
"""How `init --data` spells fields of a requirements file."""
_MOST_ROUNDS = 10
"""More rounds of questions than there are fields; ends a dialogue that goes in circles."""


def read_requirements(file: Path) -> dict[str, Any]:
    """Return the fields of a requirements file.

    Raises:
        CommandError: it cannot be read, or is no mapping of fields.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: cannot be read: {error.strerror}") from error
    found, faults = documents.read_documents(data, str(file))
    if faults:
        raise CommandError("\n".join(map(str, faults)))
    if len(found) != 1 or not isinstance(found[0].value, dict):
        raise CommandError(f"{file}: must be one list of fields, such as objective: ...")
    fields: dict[str, Any] = found[0].value
    return fields


def complete(
    fields: dict[str, Any], directory: Path, ask: Ask | None, names: Mapping[str, str]
) -> Requirements:
    """Return requirements without open questions.

    Args:
        fields: Fields of a requirements file.
        directory: Where a relative data_source is looked for.
        ask: Asks a person; None where nobody can be asked.
        names: What a person calls a field, where it is not its own name.

    Raises:
        CommandError: questions are open; the message lists them.
    """
    requirements = parse(fields, directory)
    for _ in range(_MOST_ROUNDS):
        if not requirements.questions or ask is None:
            break
        question = requirements.questions[0]
        fields = {**fields, question.field: ask(f"{question.field}: {question.unknown}?")}
        requirements = parse(fields, directory)
    if requirements.questions:
        lines = (f"  {names.get(q.field, q.field)}: {q.unknown}" for q in requirements.questions)
        asked = "\n".join(lines)
        raise CommandError(
            f"nothing was written, this must be known first:\n{asked}\n"
            "say it by these names: options begin with --, the others are fields of a file for "
            "init --from; or run init on a terminal"
        )
    return requirements


def person() -> Ask | None:
    """Return how to ask a person on the terminal, None when there is none."""
    if not sys.stdin.isatty():
        return None
    return lambda question: str(typer.prompt(question, err=True))


def from_file(file: Path, name: str | None) -> Draft:
    """Return the project that a requirements file describes.

    Raises:
        CommandError: it cannot be read, or questions are open.
    """
    named = {} if name is None else {"project_name": check_name(name)}
    return _draft(complete({**read_requirements(file), **named}, file.parent, person(), {}))


def from_data(
    data: Path | None, target: str | None, require: str | None, name: str | None
) -> Draft:
    """Return the project that learns a column from a file.

    Raises:
        CommandError: questions are open.
    """
    given = {
        "project_name": None if name is None else check_name(name),
        "data_source": None if data is None else str(data),
        "target": target,
        "target_metric": require,
    }
    fields = {key: value for key, value in given.items() if value is not None}
    return _draft(complete(fields, Path(), person(), OPTIONS))


def _draft(requirements: Requirements) -> Draft:
    name = str(requirements.project_name)
    assumed = [f"assumed: {a.field}: {a.value}: {a.why}" for a in requirements.assumptions]
    refused = [
        f"not declared: {entry.field}: {entry.text!r}: {entry.remedy}"
        for entry in requirements.unsupported
    ]
    notes = {
        "assumptions": [asdict(entry) for entry in requirements.assumptions],
        "unsupported": [asdict(entry) for entry in requirements.unsupported],
    }
    return Draft(name, project_tree(requirements, Path(name)), assumed + refused, notes)
