"""How commands speak: one JSON document or tables on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


class Format(StrEnum):
    """What stdout holds."""

    TEXT = "text"
    JSON = "json"


def stdout() -> Console:
    """Return the console of results; it obeys NO_COLOR and is plain when not a terminal."""
    from rich.console import Console

    return _plain_when_piped(Console(highlight=False, soft_wrap=True))


def stderr() -> Console:
    """Return the console of progress and errors."""
    from rich.console import Console

    return _plain_when_piped(Console(stderr=True, highlight=False, soft_wrap=True))


def _plain_when_piped(console: Console) -> Console:
    if not console.is_terminal:
        console.width = 200
    return console


def say(text: str) -> None:
    """Write a line of progress or of an error to stderr, exactly as given."""
    stderr().print(text, markup=False)


def show(text: str) -> None:
    """Write a line of a result to stdout, exactly as given."""
    stdout().print(text, markup=False)


def show_json(document: Any) -> None:
    """Write the one JSON document of a command to stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Any:
    """Return a plain table, headings in capitals, the last column as wide as there is room."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, heading in enumerate(headings):
        made.add_column(heading.upper(), overflow="fold", no_wrap=place < len(headings) - 1)
    for row in rows:
        made.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    return made


_STYLES = {
    "Ready": "green",
    "Progressing": "yellow",
    "Stalled": "bold red",
    "Created": "green",
    "Changed": "yellow",
    "Pruned": "red",
    "allowed": "green",
    "denied": "bold red",
}
