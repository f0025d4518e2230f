"""CustomResourceDefinitions: their own schema, their checks, and the resources they declare."""

import copy
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from modelyard.embedded.apiserver import structural
from modelyard.embedded.apiserver.errors import FieldError, Object
from modelyard.embedded.apiserver.jsonpath import JsonPath
from modelyard.embedded.apiserver.meta_schema import (
    anything,
    array_of,
    boolean,
    integer,
    rooted,
    string,
    struct,
)
from modelyard.embedded.apiserver.resources import Column, Resource, Scale
from modelyard.embedded.apiserver.rules import compile_rules
from modelyard.embedded.apiserver.validation import SchemaValidator

GROUP = "apiextensions.k8s.io"
STORAGE = f"customresourcedefinitions.{GROUP}"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_AGE = Column("Age", "date", JsonPath(".metadata.creationTimestamp").first)
_TYPES = ("object", "array", "string", "integer", "number", "boolean")
_LABEL = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")


def resources(crd: Object) -> list[Resource]:
    """The resources that a CustomResourceDefinition declares, one for each served version."""
    return [_resource(crd, version) for version in crd["spec"]["versions"] if version["served"]]


def storage_name(crd: Object) -> str:
    """The name under which its objects are stored."""
    return f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"


def _resource(crd: Object, version: Object) -> Resource:
    spec, names = crd["spec"], crd["spec"]["names"]
    subresources = version.get("subresources") or {}
    deprecation = ""
    schema = rooted(version["schema"]["openAPIV3Schema"])
    if version.get("deprecated"):
        default = f"{spec['group']}/{version['name']} {names['kind']} is deprecated"
        deprecation = version.get("deprecationWarning") or default
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        kind=names["kind"],
        list_kind=names.get("listKind") or f"{names['kind']}List",
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        schema=schema,
        storage=storage_name(crd),
        columns=tuple(_columns(version)),
        fields={
            declared["jsonPath"].lstrip("."): JsonPath(declared["jsonPath"])
            for declared in version.get("selectableFields") or ()
        },
        status="status" in subresources,
        scale=_scale(subresources.get("scale")),
        custom=True,
        counts_generation=True,
        deprecation=deprecation,
        from_storage=_Reader(schema, _revision(crd)).read,
    )


class _Reader:
    """Shows objects as the present definition has them, without writing them.

    One that was stored under an earlier definition loses the fields that are not declared any more
    and gets the defaults of those that are new; a later write stores it so.
    """

    def __init__(self, schema: Object, since: int) -> None:
        """Read objects under a schema that is in force since a revision."""
        self._schema = schema
        self._since = since

    def read(self, stored: Object) -> Object:
        """Return a stored object as it is served."""
        if _revision(stored) > self._since:
            return stored
        shown = copy.deepcopy(stored)
        structural.prune(shown, self._schema)
        structural.default(shown, self._schema)
        return shown


def _revision(stored: Object) -> int:
    return int(stored["metadata"].get("resourceVersion") or 0)


def _columns(version: Object) -> Iterator[Column]:
    declared = version.get("additionalPrinterColumns")
    if not declared:
        yield _AGE
        return
    for column in declared:
        yield Column(
            column["name"],
            column["type"],
            JsonPath(column["jsonPath"]).first,
            column.get("priority", 0),
            column.get("format", ""),
            column.get("description", ""),
        )


def _scale(declared: Object | None) -> Scale | None:
    if declared is None:
        return None
    return Scale(
        declared["specReplicasPath"],
        declared["statusReplicasPath"],
        declared.get("labelSelectorPath"),
    )


def prepare(crd: Object, old: Object | None) -> None:
    """Complete a CustomResourceDefinition's names and set its status."""
    names = crd["spec"]["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    crd["spec"].setdefault("conversion", {"strategy": "None"})
    if old is None:
        crd["metadata"].setdefault("finalizers", []).append(CLEANUP)
    stored = [version["name"] for version in crd["spec"]["versions"] if version["storage"]]
    before = (old or {}).get("status") or {}
    stored_before = before.get("storedVersions") or []
    crd["status"] = {
        "acceptedNames": dict(names),
        "storedVersions": [*stored_before, *(v for v in stored if v not in stored_before)],
        "conditions": before.get("conditions") or _established(),
    }


def _established() -> list[Object]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    facts = (
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    )
    return [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now,
        }
        for kind, reason, message in facts
    ]


def check(crd: Object, old: Object | None) -> list[FieldError]:
    """The faults of a CustomResourceDefinition that its schema cannot express."""
    return [*_name_faults(crd, old), *_version_faults(crd)]


def _name_faults(crd: Object, old: Object | None) -> Iterator[FieldError]:
    spec, name = crd["spec"], crd["metadata"]["name"]
    expected = storage_name(crd)
    if name != expected:
        text = f'must be spec.names.plural+"."+spec.group, that is "{expected}"'
        yield _fault("metadata.name", name, text)
    if "." not in spec["group"]:
        yield _fault("spec.group", spec["group"], "should be a domain with at least one dot")
    if not _LABEL.match(spec["names"]["plural"]):
        yield _fault("spec.names.plural", spec["names"]["plural"], "must be a DNS-1035 label")
    if old is None:
        return
    for field in ("group", "scope"):
        if spec[field] != old["spec"][field]:
            yield _fault(f"spec.{field}", spec[field], "field is immutable")


def _version_faults(crd: Object) -> Iterator[FieldError]:
    versions = crd["spec"]["versions"]
    if sum(1 for version in versions if version["storage"]) != 1:
        text = "must have exactly one version marked as storage version"
        yield _fault("spec.versions", len(versions), text)
    for index, version in enumerate(versions):
        where = f"spec.versions[{index}]"
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            field = f"{where}.schema.openAPIV3Schema"
            yield FieldError(field, "FieldValueRequired", "Required value: schemas are required")
            continue
        faults = list(_structure_faults(schema, f"{where}.schema.openAPIV3Schema"))
        yield from faults or _compile_faults(version, schema, where)


def _structure_faults(schema: Any, where: str) -> Iterator[FieldError]:
    """Where a schema is not structural: every node needs a type."""
    if not isinstance(schema, dict):
        yield _fault(where, str(schema), "must be a schema object")
        return
    free = (
        "x-kubernetes-preserve-unknown-fields" in schema or "x-kubernetes-int-or-string" in schema
    )
    if schema.get("type") not in _TYPES and not (free and not schema.get("type")):
        field = f"{where}.type"
        yield FieldError(field, "FieldValueRequired", "Required value: must not be empty")
    if "$ref" in schema:
        yield FieldError(f"{where}.$ref", "FieldValueForbidden", "Forbidden: $ref is not supported")
    if schema.get("type") == "array" and "items" not in schema:
        text = "Required value: must be specified"
        yield FieldError(f"{where}.items", "FieldValueRequired", text)
    yield from _list_faults(schema, where)
    for name, child in (schema.get("properties") or {}).items():
        yield from _structure_faults(child, f"{where}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        if name in schema and not isinstance(schema[name], bool):
            yield from _structure_faults(schema[name], f"{where}.{name}")


def _list_faults(schema: Object, where: str) -> Iterator[FieldError]:
    if schema.get("x-kubernetes-list-type") != "map":
        return
    keys = schema.get("x-kubernetes-list-map-keys")
    field = f"{where}.x-kubernetes-list-map-keys"
    if not keys:
        yield FieldError(field, "FieldValueRequired", "Required value: a map list needs keys")
        return
    items = schema.get("items") or {}
    for key in keys:
        declared = (items.get("properties") or {}).get(key)
        required = key in items.get("required", ())
        if declared is None or not (required or "default" in declared):
            yield _fault(field, key, "must be a property of the items, required or with a default")


def _compile_faults(version: Object, schema: Object, where: str) -> Iterator[FieldError]:
    """Patterns, CEL rules and JSONPaths that do not compile."""
    field = f"{where}.schema.openAPIV3Schema"
    try:
        SchemaValidator(schema)
        compile_rules(schema)
    except ValueError as error:
        yield _fault(field, "object", str(error).splitlines()[0])
    for section in ("additionalPrinterColumns", "selectableFields"):
        for index, declared in enumerate(version.get(section) or ()):
            try:
                JsonPath(declared["jsonPath"])
            except ValueError as error:
                yield _fault(
                    f"{where}.{section}[{index}].jsonPath", declared["jsonPath"], str(error)
                )


def _fault(field: str, value: object, text: str) -> FieldError:
    return FieldError(field, "FieldValueInvalid", f'Invalid value: "{value}": {text}')


def _strings(description: str) -> Object:
    return array_of(string(), description)


_NAMES = struct(
    {
        "kind": string("The kind of its objects."),
        "plural": string("The name in URLs."),
        "singular": string("The name of one."),
        "listKind": string("The kind of its lists."),
        "shortNames": _strings("Short names for the command line."),
        "categories": _strings("Groups of resources that it belongs to."),
    },
    "The names of the resource.",
    required=["kind", "plural"],
)
_COLUMN = struct(
    {
        "name": string("The heading."),
        "type": string("An OpenAPI type, or `date`."),
        "format": string("A hint for clients."),
        "description": string("What the column shows."),
        "priority": integer("Above 0: shown in wide output only."),
        "jsonPath": string("Where the value is."),
    },
    "A column of `kubectl get`.",
    required=["name", "type", "jsonPath"],
)
_VERSION = struct(
    {
        "name": string("The version, for example `v1alpha1`."),
        "served": boolean("Whether the API serves it."),
        "storage": boolean("Whether objects are stored in it."),
        "deprecated": boolean("Whether clients are warned."),
        "deprecationWarning": string("The warning."),
        "schema": struct({"openAPIV3Schema": anything("A structural schema.")}, "The schema."),
        "subresources": struct(
            {
                "status": anything("Has a status subresource."),
                "scale": struct(
                    {
                        "specReplicasPath": string("Where the desired number is."),
                        "statusReplicasPath": string("Where the observed number is."),
                        "labelSelectorPath": string("Where the pods' selector is."),
                    },
                    "Has a scale subresource.",
                    required=["specReplicasPath", "statusReplicasPath"],
                ),
            },
            "Subresources.",
        ),
        "additionalPrinterColumns": array_of(_COLUMN, "Columns of `kubectl get`."),
        "selectableFields": array_of(
            struct({"jsonPath": string("Where the field is.")}, "A field.", required=["jsonPath"]),
            "Fields that field selectors may name.",
        ),
    },
    "One version of the resource.",
    required=["name", "served", "storage"],
)
_CRD_SCHEMA = struct(
    {
        "spec": struct(
            {
                "group": string("The API group."),
                "scope": string("`Namespaced` or `Cluster`.", enum=["Namespaced", "Cluster"]),
                "names": _NAMES,
                "versions": array_of(_VERSION, "The versions."),
                "conversion": struct(
                    {"strategy": string("`None`: versions differ in name only.", enum=["None"])},
                    "How versions are converted.",
                ),
                "preserveUnknownFields": boolean("Always false."),
            },
            "What is declared.",
            required=["group", "names", "scope", "versions"],
        ),
        "status": anything("Whether it is accepted."),
    },
    "Declares a resource that the server then serves.",
    required=["spec"],
)
CRD_RESOURCE = Resource(
    group=GROUP,
    version="v1",
    plural="customresourcedefinitions",
    singular="customresourcedefinition",
    kind="CustomResourceDefinition",
    namespaced=False,
    schema=rooted(_CRD_SCHEMA),
    storage=STORAGE,
    short_names=("crd", "crds"),
    status=True,
    counts_generation=True,
    prepare=prepare,
    check=check,
    columns=(Column("Created At", "string", JsonPath(".metadata.creationTimestamp").first),),
)
