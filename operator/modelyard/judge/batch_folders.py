"""Whether a batch would read what it writes: then each run has more rows than the one before."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote, urlsplit

REMEDY = "every run would score the predictions of those before; choose a folder outside"


def overlap(read: str, written: str) -> bool:
    """Return whether one of two places lies inside the other, or is the other.

    Args:
        read: Absolute path or URI of the input.
        written: URI of the folder that the output goes into.
    """
    one, other = _place(read), _place(written)
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _place(location: str) -> str:
    """Return a place in one notation: without `..`, doubled slashes and one at the end."""
    if location.startswith("s3://"):
        return location.rstrip("/")  # the store takes a key as it is
    path = unquote(urlsplit(location).path) if location.startswith("file://") else location
    plain = posixpath.normpath(f"/{path.lstrip('/')}")
    return "" if plain == "/" else plain
