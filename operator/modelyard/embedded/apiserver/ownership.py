"""Who owns which fields: `metadata.managedFields`, updates and server-side apply."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from modelyard.embedded.apiserver import fieldsets
from modelyard.embedded.apiserver.errors import ApiError, Object
from modelyard.embedded.apiserver.fieldsets import FieldPath, FieldSet

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SERVER_OWNED = {
    "f:name", "f:generateName", "f:namespace", "f:selfLink", "f:uid", "f:resourceVersion",
    "f:generation", "f:creationTimestamp", "f:deletionTimestamp", "f:deletionGracePeriodSeconds",
    "f:managedFields",
}  # fmt: skip

Scope = Callable[[FieldPath], bool]
"""Which fields a request may touch: those of the status or all others, for example."""


@dataclass(frozen=True)
class Manager:
    """Someone who owns fields, as managedFields tells managers apart."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def label(self) -> str:
        """How conflict messages call it."""
        text = json.dumps(self.name)
        if self.subresource:
            text += f" with subresource {json.dumps(self.subresource)}"
        if self.operation == "Update":
            text += f" using {self.api_version}"
        return text


@dataclass
class Share:
    """What a manager owns, and since when."""

    fields: FieldSet = field(default_factory=set)
    time: str = ""


Owners = dict[Manager, Share]


def read(entries: Iterable[Object] | None) -> Owners:
    """The owners that a `managedFields` list records."""
    owners: Owners = {}
    for entry in entries or ():
        manager = Manager(
            entry.get("manager", ""),
            entry.get("operation", "Update"),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        )
        fields = fieldsets.decode(entry.get("fieldsV1") or {})
        owners[manager] = Share(fields, entry.get("time") or "")
    return owners


def write(owners: Owners) -> list[Object]:
    """The `managedFields` list that records the owners."""
    ordered = sorted(
        (item for item in owners.items() if item[1].fields),
        key=lambda item: (item[0].operation, item[1].time, item[0].name),
    )
    entries: list[Object] = []
    for manager, share in ordered:
        entry: Object = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": fieldsets.encode(share.fields),
        }
        if share.time:
            entry["time"] = share.time
        if manager.subresource:
            entry["subresource"] = manager.subresource
        entries.append(entry)
    return entries


def after_update(
    owners: Owners, manager: Manager, change: fieldsets.Difference, scope: Scope, now: str
) -> Owners:
    """The owners after a write that is not an apply: the writer takes what it changed."""
    touched = _owned_part(change.added | change.modified, scope)
    result = _release(owners, touched | change.removed, keeper=manager, now=now)
    mine = result.get(manager, Share()).fields
    _assign(result, manager, (mine | touched) - change.removed, now)
    return result


@dataclass(frozen=True)
class Application:
    """A configuration that a manager applies.

    Attributes:
        config: What the manager declares, complete.
        schema: The schema of the object.
        force: Whether to take fields that others own.
        now: The time of the request.
    """

    manager: Manager
    config: Object
    schema: Object
    scope: Scope
    force: bool
    now: str

    def to(self, live: Object, owners: Owners) -> tuple[Object, Owners]:
        """Lay the configuration over a live object.

        Returns:
            The merged object without the fields that the manager gave up, and the new owners.

        Raises:
            ApiError: 409 if a field to change is someone else's.
        """
        mine = _owned_part(fieldsets.fields_of(self.config, self.schema), self.scope)
        before = owners.get(self.manager, Share()).fields
        claimed = {**owners, self.manager: Share(mine, owners.get(self.manager, Share()).time)}
        kept = fieldsets.closure(path for share in claimed.values() for path in share.fields)
        merged = fieldsets.merge(live, self.config, self.schema)
        given_up = {path for path in fieldsets.closure(before) - kept if _ownable(path)}
        merged = fieldsets.remove(merged, given_up, self.schema)
        change = fieldsets.compare(live, merged, self.schema)
        touched = _owned_part(change.added | change.modified, self.scope)
        self._refuse_conflicts(live, owners, touched)
        result = _release(owners, touched | change.removed, keeper=self.manager, now=self.now)
        _assign(result, self.manager, mine, self.now)
        return merged, result

    def _refuse_conflicts(self, live: Object, owners: Owners, touched: FieldSet) -> None:
        if self.force:
            return
        allowed = self._left_by_client_side_apply(live)
        conflicts = [
            (manager.label(), path)
            for manager, share in owners.items()
            if manager != self.manager
            for path in sorted((share.fields & touched) - allowed)
        ]
        if conflicts:
            raise _conflict(conflicts)

    def _left_by_client_side_apply(self, live: Object) -> FieldSet:
        """Fields that kubectl itself applied before it moved to server-side apply."""
        annotations = live.get("metadata", {}).get("annotations") or {}
        if self.manager.name != "kubectl" or LAST_APPLIED not in annotations:
            return set()
        applied = json.loads(annotations[LAST_APPLIED])
        return fieldsets.fields_of(applied, self.schema) | {
            ("f:metadata", "f:annotations", f"f:{LAST_APPLIED}")
        }


def before_first_apply(live: Object, schema: Object, scope: Scope, api_version: str) -> Owners:
    """The owners of an object that has no record of any."""
    manager = Manager("before-first-apply", "Update", api_version)
    return {manager: Share(_owned_part(fieldsets.fields_of(live, schema), scope))}


def _owned_part(fields: FieldSet, scope: Scope) -> FieldSet:
    return {path for path in fields if _ownable(path) and scope(path)}


def _ownable(path: FieldPath) -> bool:
    if path[0] == "f:metadata":
        return len(path) > 1 and path[1] not in _SERVER_OWNED
    return path[0] not in {"f:apiVersion", "f:kind"}


def _release(owners: Owners, fields: FieldSet, keeper: Manager, now: str) -> Owners:
    """The owners, all but `keeper` having lost `fields`."""
    result: Owners = {}
    for manager, share in owners.items():
        left = share.fields if manager == keeper else share.fields - fields
        if left:
            result[manager] = Share(left, share.time if left == share.fields else now)
    return result


def _assign(owners: Owners, manager: Manager, fields: FieldSet, now: str) -> None:
    current = owners.get(manager)
    if current is not None and current.fields == fields:
        return
    owners.pop(manager, None)
    if fields:
        owners[manager] = Share(fields, now)


def _conflict(conflicts: list[tuple[str, FieldPath]]) -> ApiError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {label}",
            "field": fieldsets.describe(path),
        }
        for label, path in conflicts
    ]
    if len(conflicts) == 1:
        label, path = conflicts[0]
        text = f"1 conflict: conflict with {label}: {fieldsets.describe(path)}"
    else:
        grouped: dict[str, list[str]] = {}
        for label, path in conflicts:
            grouped.setdefault(label, []).append(fieldsets.describe(path))
        parts = [
            f"conflicts with {label}:\n" + "\n".join(f"- {path}" for path in paths)
            for label, paths in sorted(grouped.items())
        ]
        text = f"{len(conflicts)} conflicts: " + "\n".join(parts)
    details: dict[str, Any] = {"causes": causes}
    return ApiError(409, "Conflict", f"Apply failed with {text}", details)
