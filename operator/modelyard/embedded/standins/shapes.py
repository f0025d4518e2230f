"""Which fields the stand-ins support, and how an unsupported one is refused by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Shape = Mapping[str, Any] | list[Any] | None
"""A mapping of supported fields to their shapes, a list with the shape of its items, or ANY."""

ANY: Shape = None


class Unsupported(Exception):
    """A spec asks for what the embedded plane does not do; the message names the field."""

    def __init__(self, path: str, remedy: str) -> None:
        super().__init__(f"{path} is not supported by the embedded plane; {remedy}")
        self.path = path


def require_supported(value: Any, shape: Shape, path: str) -> None:
    """Check that a document has no field outside a shape.

    Raises:
        Unsupported: it has; the first such field is named.
    """
    for found, remedy in _unsupported(value, shape, path):
        raise Unsupported(found, remedy)


def require(condition: bool, path: str, remedy: str) -> None:  # noqa: FBT001 - an assertion
    """Check what a shape cannot say.

    Raises:
        Unsupported: the condition does not hold.
    """
    if not condition:
        raise Unsupported(path, remedy)


def _unsupported(value: Any, shape: Shape, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(shape, list):
        if not isinstance(value, list):
            yield path, "use a list"
            return
        for index, item in enumerate(value):
            yield from _unsupported(item, shape[0], f"{path}[{index}]")
    elif isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            yield path, "use an object"
            return
        for name, item in value.items():
            if name in shape:
                yield from _unsupported(item, shape[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}", f"use only {', '.join(sorted(shape))} here, or a cluster"
