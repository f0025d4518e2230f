"""Which form of an answer a client wants: objects, a table, or bare metadata."""

import re
from dataclasses import dataclass

from modelyard.embedded.apiserver import tables
from modelyard.embedded.apiserver.errors import Object, not_acceptable
from modelyard.embedded.apiserver.resources import Resource

_OFFERED = "application/json"
_PARAMETER = re.compile(r";\s*(\w+)=([^;,\s]+)")


@dataclass(frozen=True)
class View:
    """A form of answers.

    Attributes:
        kind: `Table`, `PartialObjectMetadata` or empty for the objects themselves.
        include: What the rows of a table hold: `None`, `Metadata` or `Object`.
    """

    kind: str = ""
    include: str = "Metadata"

    def one(self, resource: Resource, item: Object) -> Object:
        """One object in this form."""
        if self.kind == "Table":
            metadata = {"resourceVersion": item["metadata"].get("resourceVersion", "")}
            return tables.table(resource, [item], self.include, metadata)
        return tables.partial(item) if self.kind else item

    def many(self, resource: Resource, items: list[Object], metadata: Object) -> Object:
        """A list of objects in this form."""
        if self.kind == "Table":
            return tables.table(resource, items, self.include, metadata)
        if self.kind:
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": [tables.partial(item) for item in items],
            }
        return {
            "kind": resource.objects_list_kind,
            "apiVersion": resource.api_version,
            "metadata": metadata,
            "items": items,
        }

    def event(self, resource: Resource, event: Object) -> Object:
        """A watch event in this form."""
        if event["type"] == "ERROR" or not self.kind:
            return event
        if event["type"] == "BOOKMARK" and self.kind == "Table":
            metadata = event["object"]["metadata"]
            return {**event, "object": tables.table(resource, [], self.include, metadata)}
        return {**event, "object": self.one(resource, event["object"])}


def view_of(accept: str, include: str) -> View:
    """The view that an Accept header asks for.

    Args:
        accept: The header, in order of preference.
        include: The `includeObject` of the query.

    Raises:
        ApiError: 406 if nothing of it can be served.
    """
    for part in accept.split(",") if accept else ["*/*"]:
        media_type = part.split(";")[0].strip()
        if media_type not in {_OFFERED, "application/*", "*/*"}:
            continue
        parameters = dict(_PARAMETER.findall(part))
        kind = parameters.get("as", "").removesuffix("List")
        if kind in {"", "Table", "PartialObjectMetadata"}:
            return View(kind, include or "Metadata")
    raise not_acceptable(_OFFERED)


def discovery_version(accept: str) -> str | None:
    """The version of aggregated discovery that a client asks for, or None for the old form."""
    for part in accept.split(","):
        parameters = dict(_PARAMETER.findall(part))
        if parameters.get("as") == "APIGroupDiscoveryList":
            return str(parameters.get("v", "v2"))
    return None
