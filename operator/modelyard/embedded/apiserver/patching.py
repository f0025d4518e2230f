"""JSON merge patch, JSON patch and strategic merge patch."""

import copy
from collections.abc import Iterable
from typing import Any

import jsonpatch

from modelyard.embedded.apiserver.errors import ApiError, Object, bad_request

_DIRECTIVE = "$patch"
_ORDER = "$setElementOrder/"
_DELETE_ITEMS = "$deleteFromPrimitiveList/"
_RETAIN = "$retainKeys"


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def json_patch(target: Object, operations: Any) -> Object:
    """Apply a JSON patch (RFC 6902).

    Raises:
        ApiError: 400 if the patch is malformed, 422 if it does not fit the object.
    """
    if not isinstance(operations, list):
        raise bad_request("a JSON patch must be a list of operations")
    try:
        patched: Object = jsonpatch.JsonPatch(operations).apply(copy.deepcopy(target))
    except (jsonpatch.JsonPatchConflict, jsonpatch.JsonPatchTestFailed) as error:
        raise _unfit(error) from None
    except jsonpatch.JsonPointerException as error:
        raise _unfit(error) from None
    except (jsonpatch.InvalidJsonPatch, TypeError) as error:
        raise bad_request(f"invalid JSON patch: {error}") from None
    return patched


def strategic_patch(target: Any, patch: Any, schema: Object | None) -> Any:
    """Apply a strategic merge patch: lists that are maps or sets merge item by item."""
    if not isinstance(patch, dict):
        return patch
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != _DIRECTIVE}
    if directive == "delete":
        return {}
    result = _retained(target, patch)
    for name, value in patch.items():
        if name.startswith(_DELETE_ITEMS):
            field = name.removeprefix(_DELETE_ITEMS)
            result[field] = [item for item in result.get(field) or () if item not in value]
        elif name in {_DIRECTIVE, _RETAIN} or name.startswith(_ORDER):
            continue
        elif value is None:
            result.pop(name, None)
        else:
            result[name] = _strategic_value(result.get(name), value, _field(schema, name))
    return result


def _strategic_value(current: Any, value: Any, schema: Object | None) -> Any:
    if isinstance(value, dict):
        return strategic_patch(current, value, schema)
    if not isinstance(value, list) or not isinstance(current, list):
        return value
    kind = (schema or {}).get("x-kubernetes-list-type")
    if kind == "set":
        return current + [item for item in value if item not in current]
    if kind == "map" and schema is not None:
        return _merge_items(current, value, schema)
    return value


def _merge_items(current: list[Any], patches: Iterable[Any], schema: Object) -> list[Any]:
    keys = schema["x-kubernetes-list-map-keys"]
    items = {tuple(str(item.get(key)) for key in keys): item for item in current}
    for patch in patches:
        identity = tuple(str(patch.get(key)) for key in keys)
        if patch.get(_DIRECTIVE) == "delete":
            items.pop(identity, None)
        else:
            items[identity] = strategic_patch(items.get(identity), patch, schema.get("items"))
    return list(items.values())


def _retained(target: Any, patch: Object) -> Object:
    current = dict(target) if isinstance(target, dict) else {}
    if _RETAIN not in patch:
        return current
    return {name: value for name, value in current.items() if name in patch[_RETAIN]}


def _field(schema: Object | None, name: str) -> Object | None:
    found = (schema or {}).get("properties", {}).get(name)
    return found if isinstance(found, dict) else None


def _unfit(error: Exception) -> ApiError:
    return ApiError(
        422,
        "Invalid",
        f"the server rejected our request due to an error in our request: {error}",
    )
