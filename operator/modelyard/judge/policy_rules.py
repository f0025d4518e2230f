"""Compiles the rule form of a Policy to readable Rego v1."""

from __future__ import annotations

import json
from typing import Any

from modelyard.api.policy import PolicyRule

_ORDERING = {
    "GreaterThan": ">",
    "GreaterOrEqual": ">=",
    "LessThan": "<",
    "LessOrEqual": "<=",
}
_EQUALITY = {"Equal": "==", "NotEqual": "!="}
_TYPE_NAMES: dict[type, str] = {bool: "boolean", int: "number", float: "number", str: "string"}


def rules_body(rules: list[PolicyRule]) -> str:
    """Return the Rego of rules, without the package line.

    Every rule becomes a function that says whether a value holds, and one element of `deny`. The
    element carries the value itself, so that its text does not depend on the engine.

    Raises:
        ValueError: a value cannot be compared; the message begins with the field's path.
    """
    parts = ["default allow := false\n\nallow if count(deny) == 0"]
    parts += [_rule_rego(index, rule) for index, rule in enumerate(rules)]
    return "\n\n".join(parts) + "\n"


def _rule_rego(index: int, rule: PolicyRule) -> str:
    function = "holds_" + rule.name.replace("-", "_")
    conditions, must = _condition(index, rule)
    body = "\n".join(f"\t{condition}" for condition in conditions)
    path = ", ".join(_segment(segment) for segment in rule.path.split("."))
    fields = {"rule": rule.name, "path": rule.path, "must": must, "message": rule.message}
    constants = ",\n".join(f"\t\t{_text(key)}: {_text(value)}" for key, value in fields.items())
    return (
        f"{function}(actual) if {{\n{body}\n}}\n\n"
        f"deny contains reason if {{\n"
        f"\tactual := object.get(input, [{path}], null)\n"
        f"\tnot {function}(actual)\n"
        f'\treason := {{\n{constants},\n\t\t"actual": actual,\n\t}}\n}}'
    )


def _condition(index: int, rule: PolicyRule) -> tuple[list[str], str]:
    """Return the lines of Rego that hold, and the same for a person ("must ...")."""
    field = f"spec.rules[{index}].value"
    if rule.operator == "Exists":
        return _existence(field, rule)
    if rule.operator in {"In", "NotIn"}:
        return _membership(field, rule)
    kind = _TYPE_NAMES.get(type(rule.value))
    if kind is None or (rule.operator in _ORDERING and kind == "boolean"):
        allowed = "a number or text" if rule.operator in _ORDERING else "a number, text or boolean"
        raise ValueError(f"{field}: {rule.operator} compares with {allowed}; give one")
    sign = _ORDERING.get(rule.operator) or _EQUALITY[rule.operator]
    literal = _text(rule.value)
    return [f"is_{kind}(actual)", f"actual {sign} {literal}"], f"be {sign} {literal}"


def _existence(field: str, rule: PolicyRule) -> tuple[list[str], str]:
    if rule.value is True:
        return ["actual != null"], "exist"
    if rule.value is False:
        return ["actual == null"], "not exist"
    raise ValueError(f"{field}: Exists compares with true or false; give one")


def _membership(field: str, rule: PolicyRule) -> tuple[list[str], str]:
    if not isinstance(rule.value, list) or not rule.value:
        raise ValueError(f"{field}: {rule.operator} compares with a list; give at least one value")
    kinds = sorted({_TYPE_NAMES.get(type(member), "") for member in rule.value})
    if "" in kinds:
        raise ValueError(f"{field}: a list holds numbers, texts and booleans only")
    literal = _text(rule.value)
    lines = [f"type_name(actual) in {_text(kinds)}"]
    if rule.operator == "In":
        return [*lines, f"actual in {literal}"], f"be one of {literal}"
    return [*lines, f"not actual in {literal}"], f"not be one of {literal}"


def _segment(segment: str) -> str:
    """A whole number counts into a list, everything else is the key of an object."""
    is_index = segment.isdecimal() and segment == str(int(segment))
    return segment if is_index else _text(segment)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
