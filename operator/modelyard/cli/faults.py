"""What the command line says when something is wrong, and with which status it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

WHOLE_DOCUMENT = "(document)"


class Exit(IntEnum):
    """Exit statuses of every command."""

    OK = 0
    FAILED = 1
    CHANGES = 2
    UNABLE = 3


class CommandError(Exception):
    """A command cannot go on. The message names the cause and the remedy, for a person."""

    exit = Exit.FAILED


class Unable(CommandError):
    """A command whose status 1 is an answer cannot give one."""

    exit = Exit.UNABLE


@contextmanager
def writing(path: Path, remedy: str, option: str = "") -> Iterator[None]:
    """Write to a path within; name the path, and the remedy, where that fails.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        where = f"{option} {path}".strip()
        raise CommandError(f"{where}: cannot be written: {error.strerror}; {remedy}") from error


@dataclass(frozen=True, order=True)
class Fault:
    """One thing wrong with a manifest, at the place where a person can mend it."""

    file: str
    line: int
    column: int
    field: str
    message: str

    def __str__(self) -> str:
        """Return `file:line: field.path: message`."""
        return f"{self.file}:{self.line}: {self.field or WHOLE_DOCUMENT}: {self.message}"

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "field": self.field or WHOLE_DOCUMENT,
            "message": self.message,
        }


class Ended(SystemExit):
    """A command ended with a status of its own choice."""
