"""Label and field selectors of list, watch and deletecollection requests."""

import re
from collections.abc import Callable, Collection, Mapping

from modelyard.embedded.apiserver.errors import Object, bad_request
from modelyard.embedded.apiserver.jsonpath import JsonPath

Predicate = Callable[[Object], bool]
_Requirement = Callable[[Mapping[str, str]], bool]

_SET = re.compile(r"^(?P<key>[\w./-]+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)$")
_COMPARE = re.compile(r"^(?P<key>[\w./-]+)\s*(?P<op>==|!=|=|>|<)\s*(?P<value>[\w.-]*)$")
_EXISTS = re.compile(r"^(?P<absent>!?)\s*(?P<key>[\w./-]+)$")
_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")
_FIELD = re.compile(r"^(?P<path>[^=!]+?)\s*(?P<op>==|=|!=)\s*(?P<value>.*)$")


def everything(_: Object) -> bool:
    """The selector that selects all."""
    return True


def label_selector(text: str) -> Predicate:
    """Parse a label selector.

    Raises:
        ApiError: 400 if it is malformed.
    """
    if not text.strip():
        return everything
    requirements = [_requirement(part.strip()) for part in _OUTSIDE_PARENTHESES.split(text)]

    def matches(item: Object) -> bool:
        labels = item["metadata"].get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return matches


def field_selector(text: str, fields: Mapping[str, JsonPath]) -> Predicate:
    """Parse a field selector.

    Args:
        text: For example `metadata.name=w1,spec.stage!=production`.
        fields: The fields that can be selected by, and where each is found.

    Raises:
        ApiError: 400 if it is malformed or names a field that is not selectable.
    """
    if not text.strip():
        return everything
    terms = [_field_term(part.strip(), fields) for part in text.split(",") if part.strip()]
    return lambda item: all(term(item) for term in terms)


def both(first: Predicate, second: Predicate) -> Predicate:
    """Selects what both select."""
    if first is everything:
        return second
    if second is everything:
        return first
    return lambda item: first(item) and second(item)


def _requirement(text: str) -> _Requirement:
    if matched := _SET.match(text):
        values = {value.strip() for value in matched["values"].split(",")}
        return _membership(matched["key"], matched["op"], values)
    if matched := _COMPARE.match(text):
        if matched["op"] in "<>":
            return _order(matched["key"], matched["op"], matched["value"])
        operator = "notin" if matched["op"] == "!=" else "in"
        return _membership(matched["key"], operator, {matched["value"]})
    if matched := _EXISTS.match(text):
        key, wanted = matched["key"], not matched["absent"]
        return lambda labels: (key in labels) is wanted
    raise bad_request(f'unable to parse requirement: invalid label selector "{text}"')


def _membership(key: str, operator: str, values: Collection[str]) -> _Requirement:
    if operator == "in":
        return lambda labels: key in labels and labels[key] in values
    return lambda labels: key not in labels or labels[key] not in values


def _order(key: str, operator: str, bound: str) -> _Requirement:
    try:
        limit = int(bound)
    except ValueError:
        raise bad_request(f'for "{operator}" the value must be an integer: "{bound}"') from None

    def compares(labels: Mapping[str, str]) -> bool:
        try:
            value = int(labels[key])
        except (KeyError, ValueError):
            return False
        return value > limit if operator == ">" else value < limit

    return compares


def _field_term(text: str, fields: Mapping[str, JsonPath]) -> Predicate:
    matched = _FIELD.match(text)
    if matched is None:
        raise bad_request(f"invalid field selector: '{text}'; can't understand '{text}'")
    path = fields.get(matched["path"])
    if path is None:
        raise bad_request(f"field label not supported: {matched['path']}")
    wanted, equal = re.sub(r"\\(.)", r"\1", matched["value"]), matched["op"] != "!="
    return lambda item: (_text(path.first(item)) == wanted) is equal


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
