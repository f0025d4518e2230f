"""The dialect of JSONPath that kubectl and printer columns use.

Fields (`.spec.size`, `['a.b']`, `["a.b"]`), wildcards (`[*]`, `.*`), indices and slices (`[0]`,
`[-1]`, `[0:2]`), recursive descent (`..name`) and filters (`[?(@.type=="Ready")]`).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Step = Callable[[Any], Iterable[Any]]

_TOKEN = re.compile(
    r"""\.\.(?P<deep>[\w-]+)
      | \.(?P<any>\*)
      | \.(?P<field>(?:[^.\[\]\\]|\\.)+)
      | \[(?P<all>\*)\]
      | \[['"](?P<quoted>[^'"]+)['"]\]
      | \[(?P<start>-?\d*):(?P<stop>-?\d*)\]
      | \[(?P<index>-?\d+)\]
      | \[\?\((?P<filter>.+?)\)\]
    """,
    re.VERBOSE,
)
_FILTER = re.compile(r"^\s*@(?P<path>\S*?)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\s*$")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    ">": lambda a, b: bool(a > b),
    "<=": lambda a, b: bool(a <= b),
    ">=": lambda a, b: bool(a >= b),
}


class JsonPath:
    """A parsed path that finds values in objects."""

    def __init__(self, source: str) -> None:
        """Parse `source`, with or without the braces that kubectl puts around it.

        Raises:
            ValueError: If the path is not in the dialect.
        """
        self.source = source
        self._steps = tuple(_parse(source.strip().removeprefix("{").removesuffix("}")))

    def find(self, value: Any) -> list[Any]:
        """All values that the path leads to, in document order."""
        found = [value]
        for step in self._steps:
            found = [result for item in found for result in step(item)]
        return found

    def first(self, value: Any) -> Any:
        """The first value found, or None."""
        found = self.find(value)
        return found[0] if found else None


def _parse(text: str) -> Iterator[Step]:
    text = text.removeprefix("$")
    if text and text[0] not in ".[":
        text = "." + text
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or token.end() == position:
            raise ValueError(f"invalid JSONPath {text!r} at {text[position:]!r}")
        yield _step(token)
        position = token.end()


def _step(token: re.Match[str]) -> Step:
    group = token.groupdict()
    if group["deep"]:
        return _descend(group["deep"])
    if group["any"] or group["all"]:
        return _children
    if group["field"] or group["quoted"]:
        name = group["quoted"] or re.sub(r"\\(.)", r"\1", group["field"])
        return _field(name)
    if group["filter"]:
        return _filter(group["filter"])
    if group["index"]:
        return _index(int(group["index"]))
    return _slice(group["start"], group["stop"])


def _field(name: str) -> Step:
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else []


def _index(index: int) -> Step:
    def step(value: Any) -> list[Any]:
        inside = isinstance(value, list) and -len(value) <= index < len(value)
        return [value[index]] if inside else []

    return step


def _slice(start: str, stop: str) -> Step:
    bounds = slice(int(start) if start else None, int(stop) if stop else None)
    return lambda value: value[bounds] if isinstance(value, list) else []


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _descend(name: str) -> Step:
    def step(value: Any) -> list[Any]:
        found = [value[name]] if isinstance(value, dict) and name in value else []
        return found + [result for child in _children(value) for result in step(child)]

    return step


def _filter(expression: str) -> Step:
    parsed = _FILTER.match(expression)
    if parsed is None:
        raise ValueError(f"invalid JSONPath filter {expression!r}")
    path = JsonPath(parsed["path"])
    if parsed["op"] is None:
        return lambda value: [item for item in _children(value) if path.find(item)]
    compare, operand = _OPERATORS[parsed["op"]], _literal(parsed["value"])

    def holds(item: Any) -> bool:
        try:
            return any(compare(found, operand) for found in path.find(item))
        except TypeError:  # values that have no order, such as a string and a number
            return False

    return lambda value: [item for item in _children(value) if holds(item)]


def _literal(text: str) -> Any:
    if text[:1] in "'\"":
        return text[1:-1]
    if text in {"true", "false"}:
        return text == "true"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"invalid JSONPath literal {text!r}") from None
