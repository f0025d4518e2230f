"""What the server knows of one resource: its names, schema, columns and habits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from modelyard.embedded.apiserver.errors import FieldError, Object, qualified
from modelyard.embedded.apiserver.jsonpath import JsonPath
from modelyard.embedded.apiserver.rules import RuleTree, compile_rules
from modelyard.embedded.apiserver.validation import SchemaValidator

ALL_VERBS = (
    "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`.

    Attributes:
        name: The heading.
        type: An OpenAPI type; `date` shows as an age.
        cell: Finds the value in an object; None leaves the cell empty.
        priority: Above 0, shown by `-o wide` only.
    """

    name: str
    type: str
    cell: Callable[[Object], Any]
    priority: int = 0
    format: str = ""
    description: str = ""


@dataclass(frozen=True)
class Scale:
    """Where the scale subresource finds its numbers, as JSONPaths."""

    replicas: str
    ready: str
    selector: str | None = None


def unchanged(body: Object) -> Object:
    """The conversion of resources whose served and stored forms are the same."""
    return body


def no_preparation(body: Object, old: Object | None) -> None:
    """For resources whose server sets no fields of its own."""


def no_rules(body: Object, old: Object | None) -> list[FieldError]:
    """For resources whose schema says everything."""
    return []


@dataclass(frozen=True)
class Resource:
    """One resource in one version, built in or declared by a CustomResourceDefinition.

    Attributes:
        storage: The name under which all versions of it are stored.
        schema: A structural OpenAPI v3 schema of the whole object.
        columns: The columns of its Table, without the name.
        fields: Field selectors beyond metadata.name and metadata.namespace.
        custom: Whether it is declared by a CustomResourceDefinition.
        counts_generation: Whether a change of the desired state advances metadata.generation.
        prepare: Sets server-owned fields before validation.
        check: Faults that a schema cannot express.
        to_storage: Converts from the served to the stored form.
        from_storage: Converts from the stored to the served form.
    """

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    schema: Object
    storage: str
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    columns: tuple[Column, ...] = ()
    fields: Mapping[str, JsonPath] = field(default_factory=dict)
    status: bool = False
    scale: Scale | None = None
    custom: bool = False
    counts_generation: bool = False
    deprecation: str = ""
    prepare: Callable[[Object, Object | None], None] = no_preparation
    check: Callable[[Object, Object | None], list[FieldError]] = no_rules
    to_storage: Callable[[Object], Object] = unchanged
    from_storage: Callable[[Object], Object] = unchanged

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified_name(self) -> str:
        """The way messages name it."""
        return qualified(self.plural, self.group)

    @property
    def objects_list_kind(self) -> str:
        """The `kind` of its lists."""
        return self.list_kind or f"{self.kind}List"

    @cached_property
    def validator(self) -> SchemaValidator:
        """Checks objects against the schema."""
        return SchemaValidator(self.schema)

    @cached_property
    def rules(self) -> RuleTree | None:
        """The CEL rules of the schema, or None if it has none."""
        return compile_rules(self.schema)

    def serve(self, stored: Object) -> Object:
        """An object as this version of the resource shows it."""
        converted = self.from_storage(stored)
        if converted.get("apiVersion") == self.api_version and converted.get("kind") == self.kind:
            return converted
        return {**converted, "apiVersion": self.api_version, "kind": self.kind}
