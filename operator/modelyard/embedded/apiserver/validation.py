"""Schema validation with the messages of Kubernetes.

jsonschema-rs decides; this module translates structural schemas for it and its findings into
Kubernetes' words.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import jsonschema_rs

from modelyard.embedded.apiserver.errors import FieldError, Object

_KEPT = (
    "enum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems",
    "minProperties", "maxProperties", "required", "multipleOf",
)  # fmt: skip
_DURATION = re.compile(r"^[+-]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h|d|w))+$")
_BASE64 = re.compile(r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")
_FORMATS: dict[str, Callable[[str], bool]] = {
    "duration": lambda text: bool(_DURATION.match(text)),
    "byte": lambda text: bool(_BASE64.match(text)),
}
_STANDARD_FORMATS = {"date", "date-time", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"}


class SchemaValidator:
    """Finds all faults of objects under one structural schema."""

    def __init__(self, schema: Object) -> None:
        """Compile `schema`.

        Raises:
            ValueError: If the schema is not valid, for example for a malformed pattern.
        """
        self._schema = schema
        self._validator = jsonschema_rs.Draft202012Validator(
            _translate(schema),
            validate_formats=True,
            formats=_FORMATS,
            pattern_options=jsonschema_rs.RegexOptions(),
        )

    def faults(self, body: Any) -> list[FieldError]:
        """All faults of `body`, in order of their fields."""
        found = [_explain(error) for error in self._validator.iter_errors(body)]
        found += duplicates(body, self._schema, ())
        return sorted(found, key=lambda fault: (fault.field, fault.text))


def _translate(schema: Object) -> Object:
    """The JSON Schema 2020-12 that means the same as a structural schema."""
    result: Object = {name: schema[name] for name in _KEPT if name in schema}
    result |= _types(schema)
    result |= _bounds(schema)
    if schema.get("format") in _STANDARD_FORMATS or schema.get("format") in _FORMATS:
        result["format"] = schema["format"]
    if "properties" in schema:
        result["properties"] = {k: _translate(v) for k, v in schema["properties"].items()}
    for name in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(name), dict):
            result[name] = _translate(schema[name])
    for name in ("allOf", "anyOf", "oneOf"):
        if name in schema:
            result[name] = [_translate(part) for part in schema[name]]
    return result


def _types(schema: Object) -> Object:
    if schema.get("x-kubernetes-int-or-string"):
        types = ["integer", "string"]
    elif "type" in schema:
        types = [schema["type"]]
    else:
        return {}
    if not schema.get("nullable"):
        return {"type": types}
    nullable: Object = {"type": [*types, "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def _bounds(schema: Object) -> Object:
    result: Object = {}
    for name, strict in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if name in schema:
            result[strict if schema.get(strict) else name] = schema[name]
    return result


def _explain(error: jsonschema_rs.ValidationError) -> FieldError:
    field = field_path(error.instance_path)
    kind = error.kind.as_dict()
    name = error.kind.name
    if name == "required":
        missing = f"{field}.{kind['property']}" if field else kind["property"]
        return FieldError(missing, "FieldValueRequired", "Required value")
    if name == "enum":
        options = ", ".join(_quoted(option) for option in kind["options"] if option is not None)
        text = f"Unsupported value: {_quoted(error.instance)}: supported values: {options}"
        return FieldError(field, "FieldValueNotSupported", text)
    if name == "type":
        return _wrong_type(field, kind["types"], error.instance)
    if name == "maxLength":
        text = f"Too long: may not be more than {kind['limit']} bytes"
        return FieldError(field, "FieldValueTooLong", text)
    if name in {"maxItems", "maxProperties"}:
        text = f"Too many: {_size(error.instance)}: must have at most {kind['limit']} items"
        return FieldError(field, "FieldValueTooMany", text)
    shown = _size(error.instance) if name in {"minItems", "minProperties"} else error.instance
    where = field or "<nil>"
    text = f"Invalid value: {_shown(shown)}: {_sentence(name, where, kind, error)}"
    return FieldError(field or "<nil>", "FieldValueInvalid", text)


def _sentence(name: str, field: str, kind: Object, error: jsonschema_rs.ValidationError) -> str:
    limit = kind.get("limit")
    sentences = {
        "maximum": f"{field} in body should be less than or equal to {limit}",
        "minimum": f"{field} in body should be greater than or equal to {limit}",
        "exclusiveMaximum": f"{field} in body should be less than {limit}",
        "exclusiveMinimum": f"{field} in body should be greater than {limit}",
        "minLength": f"{field} in body should be at least {limit} chars long",
        "minItems": f"{field} in body should have at least {limit} items",
        "minProperties": f"{field} in body should have at least {limit} properties",
        "pattern": f"{field} in body should match '{kind.get('pattern')}'",
        "multipleOf": f"{field} in body should be a multiple of {kind.get('multiple_of')}",
        "uniqueItems": f"{field} in body shouldn't contain duplicates",
        "format": f'{field} in body must be of type {kind.get("format")}: "{error.instance}"',
        "anyOf": f'"{field}" must validate at least one schema (anyOf)',
        "oneOf": f'"{field}" must validate one and only one schema (oneOf)',
        "not": f'"{field}" must not validate the schema (not)',
    }
    return sentences.get(name, f"{field} in body is invalid: {error.message}")


def _wrong_type(field: str, types: Sequence[str], value: Any) -> FieldError:
    wanted = ",".join(sorted(kind for kind in types if kind != "null"))
    given = json_type(value)
    where = field or "<nil>"
    text = f'Invalid value: "{given}": {where} in body must be of type {wanted}: "{given}"'
    return FieldError(where, "FieldValueTypeInvalid", text)


def duplicates(value: Any, schema: Object, path: tuple[str | int, ...]) -> list[FieldError]:
    """Repeated items of lists that are declared as sets or maps."""
    found: list[FieldError] = []
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        additional = schema.get("additionalProperties")
        for name, item in value.items():
            child = properties.get(name, additional)
            if isinstance(child, dict) and isinstance(item, dict | list):
                found += duplicates(item, child, (*path, name))
    elif isinstance(value, list):
        found += _repeated(value, schema, path)
        items = schema.get("items") or {}
        for index, item in enumerate(value):
            found += duplicates(item, items, (*path, index))
    return found


def _repeated(value: list[Any], schema: Object, path: tuple[str | int, ...]) -> list[FieldError]:
    kind = schema.get("x-kubernetes-list-type")
    if kind not in {"set", "map"}:
        return []
    keys = schema.get("x-kubernetes-list-map-keys", ())
    seen: set[str] = set()
    found = []
    for index, item in enumerate(value):
        shown = {key: item.get(key) for key in keys} if kind == "map" else item
        identity = json.dumps(shown, sort_keys=True)
        if identity in seen:
            text = f"Duplicate value: {_shown(shown)}"
            found.append(FieldError(field_path((*path, index)), "FieldValueDuplicate", text))
        seen.add(identity)
    return found


class MapKey(str):
    """A key of a map, which a rule's path names as it does a position: `spec.map[key]`."""

    __slots__ = ()


def field_path(parts: Sequence[str | int]) -> str:
    """Kubernetes' way to write a path: `spec.items[0].name`."""
    text = ""
    for part in parts:
        if isinstance(part, (int, MapKey)):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def json_type(value: Any) -> str:
    """The OpenAPI name of a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = {int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def _size(value: Any) -> int:
    return len(value)


def _quoted(value: Any) -> str:
    return json.dumps(value if isinstance(value, str) else str(value), ensure_ascii=False)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
