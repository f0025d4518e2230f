"""Text that was decoded, whole or in pieces that end with a line."""

from __future__ import annotations

import re
from typing import NamedTuple

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_QUOTED = re.compile(r"""(?:\A|(?<=[\n\t])|(?<=[^\w\s"'.)\]]))"[^"]*(?:""[^"]*)*(?:"|\Z)""")
"""A field in quotes: one begins behind a delimiter or a line end, and not as inches do: 5" pipe."""


class Decoded(NamedTuple):
    """Text and how it was found.

    Attributes:
        text: The text, without byte order mark; bytes that fit nowhere are REPLACEMENT.
        encoding: Name of the encoding.
        damaged: Whether some bytes did not fit.
    """

    text: str
    encoding: str
    damaged: bool = False


class Piece(NamedTuple):
    """Some whole lines of a text, and how many stand before them."""

    text: str
    before: int


class Pieces:
    """Cuts a text that comes in parts where lines end; fields in quotes that hold ends stay whole.

    Attributes:
        rest: What came after the last end.
        lines: How many lines stand before that.
    """

    def __init__(self, *, quoted: bool) -> None:
        """Start before the first part.

        Args:
            quoted: Whether quotes may stand around line ends.
        """
        self._quoted = quoted
        self.rest = ""
        self.lines = 0

    def take(self, part: str) -> Piece | None:
        """Return the lines that are whole by now; None where none is."""
        rest = (self.rest + part).replace("\r\n", "\n")
        whole = rest.removesuffix("\r")  # its line feed may be the next character
        piece = self._cut(whole.replace("\r", "\n"))
        self.rest += rest[len(whole) :]
        return piece

    def last(self) -> Piece | None:
        """Return what is left once the text is over; None where that is nothing but white space."""
        rest, self.rest = self.rest.replace("\r", "\n"), ""
        return self._piece(rest) if rest.strip() else None

    def _cut(self, rest: str) -> Piece | None:
        end = _last_end(rest) if self._quoted else rest.rfind("\n") + 1
        self.rest = rest[end:]
        return self._piece(rest[:end]) if end else None

    def _piece(self, text: str) -> Piece:
        piece = Piece(text.removeprefix("\ufeff") if self.lines == 0 else text, self.lines)
        self.lines += text.count("\n")
        return piece


def _last_end(text: str) -> int:
    """Return where the last line ends that no quoted field reaches over; 0 without one.

    Where a broken quote would make a field of all that follows, the last line end counts: the
    reader sets the broken line apart. As many quotes as make pairs are taken to be such.
    """
    end = text.rfind("\n") + 1
    if text.count('"', 0, end) % 2 == 0:
        return end
    found = end
    for start, stop in reversed([field.span() for field in _QUOTED.finditer(text)]):
        if stop < found:
            break
        found = text.rfind("\n", 0, start) + 1
    return found or end
