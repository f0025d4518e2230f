"""Splits Rego text into tokens, as far as the linter and the package line need it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_PATTERN = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>\#[^\n]*)
      | (?P<template>\$["`])
      | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
      | (?P<sign>.)""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """A piece of Rego text that is neither white space nor a comment."""

    kind: str
    """`name` (dotted names are one token), `string`, `template`, `number` or `sign`."""
    text: str
    line: int
    """Line, from 1."""
    column: int
    """Column, from 1."""
    start: int
    """Offset in the text, from 0."""
    depth: int
    """Number of brackets open around the token."""


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens of Rego text in order; text that is not Rego yields `sign` tokens."""
    line, line_start, depth = 1, 0, 0
    for match in _PATTERN.finditer(source):
        kind, text = str(match.lastgroup), match.group()
        if kind == "sign" and text in ")]}":
            depth -= 1
        if kind not in {"space", "comment"}:
            yield Token(kind, text, line, match.start() - line_start + 1, match.start(), depth)
        if kind == "sign" and text in "([{":
            depth += 1
        if newlines := text.count("\n"):
            line += newlines
            line_start = match.start() + text.rindex("\n") + 1
