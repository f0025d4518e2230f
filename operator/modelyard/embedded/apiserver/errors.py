"""Errors as Kubernetes reports them: an HTTP code, a reason and a `Status` object."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as decoded from JSON."""


@dataclass(frozen=True)
class FieldError:
    """One fault of one field, worded as Kubernetes words it.

    Attributes:
        field: The dotted path, for example `spec.size`.
        reason: The machine-readable cause, for example `FieldValueInvalid`.
        text: What follows the path in the message, for example `Required value`.
    """

    field: str
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"

    def cause(self) -> Object:
        """The entry for `details.causes` of a Status."""
        return {"reason": self.reason, "message": self.text, "field": self.field}


class ApiError(Exception):
    """A request that cannot be served, with what the client is told.

    Attributes:
        code: The HTTP status code.
        reason: Kubernetes' machine-readable reason, for example `NotFound`.
        message: What a person reads.
        details: The `details` of the Status object.
    """

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Object:
        """The `Status` object that the client gets."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def qualified(plural: str, group: str) -> str:
    """The way messages name a resource: `configmaps`, `widgets.example.org`."""
    return f"{plural}.{group}" if group else plural


def _details(name: str, group: str, plural: str, **more: Any) -> Object:
    details: Object = {"name": name, "kind": plural, **more}
    if group:
        details["group"] = group
    return details


def not_found(group: str, plural: str, name: str) -> ApiError:
    """No object of that name."""
    message = f'{qualified(plural, group)} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(name, group, plural))


def no_such_path() -> ApiError:
    """No such resource or path at all."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(group: str, plural: str, name: str) -> ApiError:
    """An object of that name is there."""
    message = f'{qualified(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(name, group, plural))


def conflict(group: str, plural: str, name: str, why: str) -> ApiError:
    """The object is not the one the client has seen."""
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(name, group, plural))


STALE = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def invalid(group: str, kind: str, name: str, faults: Sequence[FieldError]) -> ApiError:
    """The object breaks its schema or its rules."""
    texts = [str(fault) for fault in faults]
    body = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    message = f'{qualified(kind, group)} "{name}" is invalid: {body}'
    details = _details(name, group, kind, causes=[fault.cause() for fault in faults])
    return ApiError(422, "Invalid", message, details)


def bad_request(message: str) -> ApiError:
    """The request itself is malformed."""
    return ApiError(400, "BadRequest", message)


def forbidden(message: str) -> ApiError:
    """The request is understood and refused."""
    return ApiError(403, "Forbidden", message)


def unauthorized() -> ApiError:
    """No valid token."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> ApiError:
    """The resource exists but not that verb."""
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def not_acceptable(offered: str) -> ApiError:
    """The client accepts no media type that can be served."""
    message = f"only the following media types are accepted: {offered}"
    return ApiError(406, "NotAcceptable", message)


def unsupported_media_type(given: str, supported: Sequence[str]) -> ApiError:
    """The body's media type is not understood."""
    message = (
        f"the body of the request was in an unknown format ({given or 'no content type'}) - "
        f"accepted media types include: {', '.join(supported)}"
    )
    return ApiError(415, "UnsupportedMediaType", message)


def expired(message: str) -> ApiError:
    """History that far back is gone: the client must list anew."""
    return ApiError(410, "Expired", message)
