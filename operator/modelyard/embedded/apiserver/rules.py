"""Validation rules in CEL: `x-kubernetes-validations`.

The `common-expression-language` package evaluates; its core lacks some functions that Kubernetes
offers, which `cel_functions` adds. What it cannot do at all (optional field selection `?.`,
`cel.bind`, two-variable comprehensions, `format`, IP, CIDR and semver libraries) is refused when
the CustomResourceDefinition is applied, never ignored. One deviation remains: `size` of a string
counts bytes, where Kubernetes counts characters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from modelyard.embedded.apiserver import cel_engine as cel
from modelyard.embedded.apiserver.cel_functions import FUNCTIONS, KNOWN
from modelyard.embedded.apiserver.errors import FieldError, Object
from modelyard.embedded.apiserver.validation import MapKey, field_path

Path = tuple[str | int, ...]

_RESERVED = frozenset(
    {
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for",
        "function", "if", "import", "let", "loop", "package", "namespace", "return", "var",
        "void", "while",
    }
)  # fmt: skip
_REASONS = {
    "FieldValueRequired": "Required value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueDuplicate": "Duplicate value",
}


@dataclass(frozen=True)
class Rule:
    """One entry of `x-kubernetes-validations`, compiled."""

    source: str
    program: cel.Program
    message: str
    message_program: cel.Program | None
    reason: str
    field_path: str
    optional_old_self: bool
    is_transition: bool

    def fault(self, value: Any, old: Any, path: Path, shown: Any) -> FieldError | None:
        """The fault of a value under this rule, or None if it holds.

        Args:
            value: The value as CEL sees it.
            old: What it was before.
            path: Where it stands.
            shown: The value as the object has it.
        """
        variables: Object = {"self": value}
        if self.is_transition:
            variables["oldSelf"] = old
        try:
            if self.program.execute(_context(variables)) is True:
                return None
            message = self._message(variables)
        except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
            message = f"rule evaluation error: {_first_line(error)}: evaluating rule: {self.source}"
        where = field_path(path) + self.field_path
        where = where.removeprefix(".") or "<nil>"
        label = _REASONS.get(self.reason) or _invalid(shown)
        return FieldError(where, self.reason, f"{label}: {message}")

    def _message(self, variables: Object) -> str:
        if self.message_program is not None:
            text = self.message_program.execute(_context(variables))
            if isinstance(text, str) and text.strip() and "\n" not in text:
                return text
        return self.message or f"failed rule: {self.source}"


@dataclass
class RuleTree:
    """The rules of a schema node and of what is below it."""

    schema: Object
    rules: tuple[Rule, ...] = ()
    properties: dict[str, RuleTree] = field(default_factory=dict)
    additional: RuleTree | None = None
    items: RuleTree | None = None

    def faults(self, value: Any, old: Any = None, path: Path = ()) -> Iterator[FieldError]:
        """All faults of `value`; transition rules run only where `old` is not None."""
        if value is None:
            return
        yield from self._own_faults(value, old, path)
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for name, item in value.items():
                known = self.properties.get(name)
                if known is not None:
                    yield from known.faults(item, before.get(name), (*path, name))
                elif self.additional is not None:
                    yield from self.additional.faults(item, before.get(name), (*path, MapKey(name)))
        elif isinstance(value, list) and self.items is not None:
            counterpart = self._counterparts(old)
            for index, item in enumerate(value):
                yield from self.items.faults(item, counterpart(item), (*path, index))

    def _own_faults(self, value: Any, old: Any, path: Path) -> Iterator[FieldError]:
        if not self.rules:
            return
        prepared = cel_value(value, self.schema)
        before = None if old is None else cel_value(old, self.schema)
        for rule in self.rules:
            if rule.is_transition and before is None and not rule.optional_old_self:
                continue
            given = _optional(before) if rule.optional_old_self else before
            fault = rule.fault(prepared, given, path, value)
            if fault is not None:
                yield fault

    def _counterparts(self, old: Any) -> Callable[[Any], Any]:
        """Finds the old item of a map list; items of other lists cannot be told apart."""
        keys = self.schema.get("x-kubernetes-list-map-keys", ())
        if self.schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list):
            return lambda item: None
        index = {tuple(str(item.get(key)) for key in keys): item for item in old}
        return lambda item: index.get(tuple(str(item.get(key)) for key in keys))


def compile_rules(schema: Object, path: Path = ()) -> RuleTree | None:
    """Compile the rules of a schema and of what is below it.

    Returns:
        None if there are no rules at all.

    Raises:
        ValueError: If a rule cannot be compiled; the message names where it stands.
    """
    tree = RuleTree(schema, tuple(_rules(schema, path)))
    for name, child in schema.get("properties", {}).items():
        found = compile_rules(child, (*path, name))
        if found is not None:
            tree.properties[name] = found
    additional, items = schema.get("additionalProperties"), schema.get("items")
    if isinstance(additional, dict):
        tree.additional = compile_rules(additional, (*path, "*"))
    if isinstance(items, dict):
        tree.items = compile_rules(items, (*path, "*"))
    empty = not (tree.rules or tree.properties or tree.additional or tree.items)
    return None if empty else tree


def _rules(schema: Object, path: Path) -> Iterator[Rule]:
    for index, declared in enumerate(schema.get("x-kubernetes-validations", ())):
        where = f"{field_path(path) or '<root>'}.x-kubernetes-validations[{index}]"
        source = declared["rule"]
        program = _compile(source, where)
        message = declared.get("messageExpression")
        yield Rule(
            source=source.strip(),
            program=program,
            message=declared.get("message", ""),
            message_program=None if message is None else _compile(message, where),
            reason=declared.get("reason", "FieldValueInvalid"),
            field_path=declared.get("fieldPath", ""),
            optional_old_self=bool(declared.get("optionalOldSelf")),
            is_transition="oldSelf" in program.variables(),
        )


def _compile(source: str, where: str) -> cel.Program:
    try:
        program = cel.compile(source)
    except ValueError as error:
        raise ValueError(f"{where}: compilation failed: {error}") from None
    unknown = sorted(set(program.functions()) - KNOWN)
    if unknown:
        raise ValueError(
            f"{where}: undeclared reference to {', '.join(unknown)}:"
            " this server does not have that CEL function"
        )
    return program


def _context(variables: Object) -> cel.Context:
    return cel.Context(variables, functions=FUNCTIONS)


def _invalid(value: Any) -> str:
    """The words before a message: small values are shown, objects and lists are not."""
    if isinstance(value, dict | list):
        return "Invalid value"
    return f"Invalid value: {json.dumps(value, ensure_ascii=False)}"


def _optional(value: Any) -> cel.OptionalValue:
    return cel.OptionalValue.none() if value is None else cel.OptionalValue.of(value)


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"no such key: {text.strip(chr(39))}" if isinstance(error, KeyError) else text


def cel_value(value: Any, schema: Object) -> Any:
    """A JSON value as CEL sees it under its schema.

    Numbers become doubles where the schema says `number`, timestamps and durations become CEL's
    own types, and field names that CEL could not spell are escaped as Kubernetes escapes them.
    """
    if isinstance(value, dict):
        return _cel_object(value, schema)
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [cel_value(item, items) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and schema.get("type") == "number":
        return float(value)
    if isinstance(value, str):
        return _cel_string(value, schema.get("format"))
    return value


def _cel_object(value: Object, schema: Object) -> Object:
    properties = schema.get("properties", {})
    additional = schema.get("additionalProperties")
    rest = additional if isinstance(additional, dict) else {}
    return {
        (escape(name) if name in properties else name): cel_value(item, properties.get(name, rest))
        for name, item in value.items()
    }


def _cel_string(value: str, form: str | None) -> Any:
    if form == "date-time":
        return datetime.fromisoformat(value)
    if form == "duration":
        evaluated: timedelta = cel.evaluate("duration(self)", {"self": value})
        return evaluated
    return value


def escape(name: str) -> str:
    """A property name as CEL rules spell it (`namespace` is `__namespace__`)."""
    if name in _RESERVED:
        return f"__{name}__"
    escaped = name.replace("__", "__underscores__").replace(".", "__dot__")
    return escaped.replace("-", "__dash__").replace("/", "__slash__")
