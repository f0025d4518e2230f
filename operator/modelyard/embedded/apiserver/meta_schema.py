"""Structural schemas of the metadata that all objects share."""

from modelyard.embedded.apiserver.errors import Object


def string(description: str = "", **more: object) -> Object:
    """A string field."""
    return {"type": "string", "description": description, **more}


def integer(description: str = "", **more: object) -> Object:
    """An integer field."""
    return {"type": "integer", "description": description, **more}


def boolean(description: str = "") -> Object:
    """A boolean field."""
    return {"type": "boolean", "description": description}


def map_of(value: Object, description: str = "") -> Object:
    """A map from strings to `value`."""
    return {"type": "object", "additionalProperties": value, "description": description}


def struct(properties: Object, description: str = "", **more: object) -> Object:
    """An object with fixed fields."""
    return {"type": "object", "properties": properties, "description": description, **more}


def array_of(items: Object, description: str = "", **more: object) -> Object:
    """A list, atomic unless `x-kubernetes-list-type` says otherwise."""
    return {"type": "array", "items": items, "description": description, **more}


def anything(description: str = "") -> Object:
    """An object of which the server knows nothing."""
    return {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "description": description,
    }


def time(description: str = "") -> Object:
    """A timestamp."""
    return {"type": "string", "format": "date-time", "nullable": True, "description": description}


OWNER_REFERENCE = struct(
    {
        "apiVersion": string("API version of the owner."),
        "kind": string("Kind of the owner."),
        "name": string("Name of the owner."),
        "uid": string("UID of the owner."),
        "controller": boolean("Whether this owner manages the object."),
        "blockOwnerDeletion": boolean(
            "Whether the owner, deleted in the foreground, waits until this object is gone."
        ),
    },
    "An object that this one depends on; when all owners are gone it is deleted.",
    required=["apiVersion", "kind", "name", "uid"],
    **{"x-kubernetes-map-type": "atomic"},
)

OBJECT_META = struct(
    {
        "name": string("Name, unique within its namespace. Cannot be changed."),
        "generateName": string("Prefix of a name that the server makes unique."),
        "namespace": string("The namespace that the object lives in."),
        "selfLink": string("Deprecated; never set."),
        "uid": string("Identifier that no other object ever has. Set by the server."),
        "resourceVersion": string(
            "Opaque version of the stored object, for optimistic concurrency and watches."
        ),
        "generation": integer("Counts changes of the desired state. Set by the server."),
        "creationTimestamp": time("When the object was created. Set by the server."),
        "deletionTimestamp": time("When deletion was asked for. Set by the server."),
        "deletionGracePeriodSeconds": integer("Seconds granted for a graceful end."),
        "labels": map_of(string(), "Keys and values to organise and select objects by."),
        "annotations": map_of(string(), "Keys and values that tools attach to the object."),
        "ownerReferences": array_of(
            OWNER_REFERENCE,
            "The objects that this one depends on.",
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"]},
        ),
        "finalizers": array_of(
            string(),
            "Names that must all be taken away before a deleted object goes.",
            **{"x-kubernetes-list-type": "set"},
        ),
        "managedFields": array_of(
            anything("Which fields one manager owns."), "Who owns which fields."
        ),
    },
    "Standard metadata of every object.",
)

_ROOT = {
    "apiVersion": string("The versioned schema of this representation of an object."),
    "kind": string("The REST resource that this object represents."),
    "metadata": OBJECT_META,
}


def rooted(schema: Object) -> Object:
    """The schema of a whole object: `schema` with complete metadata."""
    return {
        **schema,
        "type": "object",
        "properties": {**schema.get("properties", {}), **_ROOT},
    }
