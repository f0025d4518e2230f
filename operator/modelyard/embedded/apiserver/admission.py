"""What happens to an object between a client's request and the store: all but the writing."""

import re
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from modelyard.embedded.apiserver import structural
from modelyard.embedded.apiserver.errors import (
    STALE,
    ApiError,
    FieldError,
    Object,
    bad_request,
    conflict,
    invalid,
)
from modelyard.embedded.apiserver.fieldsets import FieldPath
from modelyard.embedded.apiserver.ownership import Manager, Scope
from modelyard.embedded.apiserver.resources import Resource

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
_QUALIFIED = re.compile(r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-\w.]*[A-Za-z0-9])?$")
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_SYSTEM_METADATA = (
    "name", "namespace", "uid", "creationTimestamp", "generation", "deletionTimestamp",
    "deletionGracePeriodSeconds", "resourceVersion",
)  # fmt: skip
_BLOCKING = frozenset(
    f"FieldValue{fault}"
    for fault in ("NotSupported", "Required", "TooLong", "TooMany", "TypeInvalid")
)
"""Faults of shape under which rules are not evaluated: they could not rely on what they read."""
_UNCHECKED = FieldError(
    "<nil>",
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)


@dataclass
class WriteRequest:
    """How a client wants something written.

    Attributes:
        manager: The field manager.
        subresource: `status` or `scale`, or empty for the object itself.
        dry_run: Whether to go through everything but the writing.
        validation: What to do about unknown and duplicate fields: Strict, Warn or Ignore.
        force: Whether an apply takes fields that others own.
        warnings: Filled with what the client should be warned of.
    """

    manager: str
    subresource: str = ""
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False
    warnings: list[str] = field(default_factory=list)


def now() -> str:
    """The time as Kubernetes stamps it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def conform(
    resource: Resource, body: Any, duplicates: Iterable[str], request: WriteRequest
) -> Object:
    """Check a body's identity, drop unknown fields and fill in defaults, in place.

    Raises:
        ApiError: 400 if it is no such object, or has unknown fields under strict validation.
    """
    check_kind(resource, body)
    unknown = structural.prune(body, resource.schema)
    faults = [f'unknown field "{path}"' for path in unknown]
    faults += [f'duplicate field "{path}"' for path in duplicates]
    if faults and request.validation == "Strict":
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a'
            f" {resource.kind}: strict decoding error: {', '.join(faults)}"
        )
    if request.validation == "Warn":
        request.warnings += faults
    if resource.deprecation and request.validation != "Ignore":
        request.warnings.append(resource.deprecation)
    structural.default(body, resource.schema)
    result: Object = body
    return result


def check_kind(resource: Resource, body: Any) -> None:
    """Refuse a body that is not an object of the resource; supply what JSON may omit.

    Raises:
        ApiError: 400.
    """
    if not isinstance(body, dict) or not isinstance(body.setdefault("metadata", {}), dict):
        raise bad_request(f"the body must be an object of kind {resource.kind}")
    kind = body.setdefault("kind", resource.kind)
    version = body.setdefault("apiVersion", resource.api_version)
    if (kind, version) != (resource.kind, resource.api_version):
        raise bad_request(
            f"the object provided ({version}, {kind}) does not match the API"
            f" ({resource.api_version}, {resource.kind})"
        )


def name_new(resource: Resource, namespace: str, body: Object) -> None:
    """Give a new object its name, namespace, uid and the like, in place.

    Raises:
        ApiError: 400 if the body contradicts the request.
    """
    metadata = body["metadata"]
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    claimed = metadata.get("namespace") or namespace
    if claimed != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the"
            f" request ({claimed} != {namespace})"
        )
    if not metadata.get("name") and metadata.get("generateName"):
        ending = "".join(secrets.choice(_SUFFIX) for _ in range(5))
        metadata["name"] = metadata["generateName"][:58] + ending
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        metadata.pop(name, None)
    if namespace:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = now()
    if resource.counts_generation:
        metadata["generation"] = 1


def carry_over(resource: Resource, live: Object, body: Object) -> None:
    """Put back the metadata that only the server sets, in place.

    Raises:
        ApiError: 409 if the client has not seen the live object, 400 if it names another.
    """
    given, kept = body["metadata"], live["metadata"]
    name = kept["name"]
    if given.get("name", name) != name:
        raise bad_request(
            f"the name of the object ({given['name']}) does not match the name on the URL ({name})"
        )
    if given.get("namespace") and given["namespace"] != kept.get("namespace"):
        raise bad_request("the namespace of the object does not match the namespace on the URL")
    if given.get("uid") and given["uid"] != kept["uid"]:
        why = (
            f"Precondition failed: UID in precondition: {given['uid']},"
            f" UID in object meta: {kept['uid']}"
        )
        raise conflict(resource.group, resource.plural, name, why)
    version = given.get("resourceVersion")
    if version and version != kept["resourceVersion"]:
        raise conflict(resource.group, resource.plural, name, STALE)
    for field_name in _SYSTEM_METADATA:
        if field_name in kept:
            given[field_name] = kept[field_name]
        else:
            given.pop(field_name, None)


def restrict(resource: Resource, live: Object, body: Object, subresource: str) -> Object:
    """What of a body a request may change: the status, or all but the status."""
    if subresource == "status":
        kept = {name: value for name, value in live.items() if name != "status"}
        return {**kept, "status": body["status"]} if "status" in body else kept
    if resource.status:
        rest = {name: value for name, value in body.items() if name != "status"}
        if "status" in live:
            return {**rest, "status": live["status"]}
        structural.default(rest, resource.schema)
        return rest
    return body


def scope_of(resource: Resource, subresource: str) -> Scope:
    """Which fields a request to a subresource can own."""
    if subresource == "status":
        return lambda path: path[0] == "f:status"
    if resource.status:
        return lambda path: path[0] != "f:status"
    return _whole


def _whole(path: FieldPath) -> bool:
    return True


def manager_of(resource: Resource, request: WriteRequest, operation: str) -> Manager:
    """Who writes, as managedFields records it."""
    return Manager(request.manager, operation, resource.api_version, request.subresource)


def advance_generation(resource: Resource, live: Object, body: Object) -> None:
    """Count a change of the desired state, in place."""
    if not resource.counts_generation:
        return
    ignored = {"metadata", "status"} if resource.status else {"metadata"}
    before = {name: value for name, value in live.items() if name not in ignored}
    after = {name: value for name, value in body.items() if name not in ignored}
    if before != after:
        body["metadata"]["generation"] = live["metadata"].get("generation", 0) + 1


def check_schema(resource: Resource, body: Object, old: Object | None) -> None:
    """Refuse what is not shaped as the schema says.

    Faults of an update in values that it does not touch are forgiven, so that a stricter schema
    does not lock existing objects (Kubernetes calls it ratcheting).

    Raises:
        ApiError: 422 listing every fault.
    """
    shape = _new(resource.validator.faults(body), body, old)
    faults = [*_metadata_faults(body, old), *shape]
    if faults:
        faults += _rule_faults(resource, shape, body, old)
        raise invalid(resource.group, resource.kind, body["metadata"].get("name") or "", faults)


def complete(resource: Resource, body: Object, old: Object | None) -> None:
    """Set what the server sets by itself, in place, and refuse what breaks a rule.

    Raises:
        ApiError: 422 listing every fault.
    """
    resource.prepare(body, old)
    faults = resource.check(body, old)
    if resource.rules is not None:
        faults += _new(resource.rules.faults(body, old), body, old)
    if faults:
        raise invalid(resource.group, resource.kind, body["metadata"]["name"], faults)


def _rule_faults(
    resource: Resource, shape: list[FieldError], body: Object, old: Object | None
) -> list[FieldError]:
    """The faults under rules of a body with faults of shape, as far as rules can be asked."""
    if resource.rules is None:
        return []
    if any(fault.reason in _BLOCKING for fault in shape):
        return [_UNCHECKED]
    return _new(resource.rules.faults(body, old), body, old)


def _new(found: Iterable[FieldError], body: Object, old: Object | None) -> list[FieldError]:
    if old is None:
        return list(found)
    return [fault for fault in found if _touched(fault.field, body, old)]


def _touched(path: str, body: Any, old: Any) -> bool:
    """Whether the value at a path, or its nearest present parent, differs from before."""
    for part in re.findall(r"[^.\[\]]+", path):
        child, before = _step(body, part), _step(old, part)
        if child is None or before is None:
            break
        body, old = child, before
    return bool(body != old)


def _step(value: Any, part: str) -> Any:
    if isinstance(value, list) and part.isdigit() and int(part) < len(value):
        return value[int(part)]
    return value.get(part) if isinstance(value, dict) else None


def _metadata_faults(body: Object, old: Object | None) -> list[FieldError]:
    metadata = body["metadata"]
    faults: list[FieldError] = []
    if old is None:
        faults += _name_faults(metadata.get("name") or "")
    else:
        faults += _finalizer_faults(metadata, old["metadata"])
    for section in ("labels", "annotations"):
        entries = metadata.get(section)
        for key, value in (entries if isinstance(entries, dict) else {}).items():
            faults += _key_faults(f"metadata.{section}", key)
            if section == "labels" and isinstance(value, str):
                faults += _label_faults(value)
    return faults


def _name_faults(name: str) -> list[FieldError]:
    if not name:
        text = "Required value: name or generateName is required"
        return [FieldError("metadata.name", "FieldValueRequired", text)]
    if len(name) <= 253 and _NAME.match(name):
        return []
    text = (
        f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case'
        " alphanumeric characters, '-' or '.', and must start and end with an alphanumeric"
        " character (e.g. 'example.com')"
    )
    return [FieldError("metadata.name", "FieldValueInvalid", text)]


def _finalizer_faults(metadata: Object, before: Object) -> list[FieldError]:
    if "deletionTimestamp" not in before:
        return []
    known = set(before.get("finalizers") or ())
    added = [name for name in metadata.get("finalizers") or () if name not in known]
    if not added:
        return []
    text = (
        "Forbidden: no new finalizers can be added if the object is being deleted,"
        f" found new finalizers {added}"
    )
    return [FieldError("metadata.finalizers", "FieldValueForbidden", text)]


def _key_faults(field_name: str, key: str) -> list[FieldError]:
    name = key.rsplit("/", 1)[-1]
    if _QUALIFIED.match(key) and len(name) <= 63 and len(key) <= 317:
        return []
    text = (
        f'Invalid value: "{key}": name part must consist of alphanumeric characters, "-", "_"'
        ' or ".", after an optional DNS prefix and "/"'
    )
    return [FieldError(field_name, "FieldValueInvalid", text)]


def _label_faults(value: str) -> list[FieldError]:
    if len(value) <= 63 and _LABEL_VALUE.match(value):
        return []
    text = (
        f'Invalid value: "{value}": a valid label must be an empty string or consist of'
        " alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
        " character, of at most 63 characters"
    )
    return [FieldError("metadata.labels", "FieldValueInvalid", text)]


def precondition_failed(resource: Resource, name: str, what: str) -> ApiError:
    """A deletion that meant another state of the object."""
    return conflict(resource.group, resource.plural, name, f"Precondition failed: {what}")
