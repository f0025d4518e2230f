"""Events: stored once, served as `v1` and as `events.k8s.io/v1`."""

from typing import Any

from modelyard.embedded.apiserver.errors import Object
from modelyard.embedded.apiserver.jsonpath import JsonPath
from modelyard.embedded.apiserver.meta_schema import anything, integer, string, struct, time
from modelyard.embedded.apiserver.resources import Column

STORAGE = "events"
_TO_REPORTED = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_TO_CORE = {new: old for old, new in _TO_REPORTED.items()}


def to_core(body: Object) -> Object:
    """An `events.k8s.io/v1` event as `v1` spells it."""
    return {**{_TO_CORE.get(k, k): v for k, v in body.items()}, "apiVersion": "v1"}


def to_reported(body: Object) -> Object:
    """A `v1` event as `events.k8s.io/v1` spells it."""
    renamed = {_TO_REPORTED.get(k, k): v for k, v in body.items()}
    return {**renamed, "apiVersion": "events.k8s.io/v1"}


def last_seen(event: Object) -> str | None:
    """When a stored event was last observed (RFC 3339)."""
    series = event.get("series") or {}
    moments = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return next((str(moment) for moment in moments if moment), None)


def _object(item: Object) -> str:
    about = item.get("involvedObject") or item.get("regarding") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _source(item: Object) -> str:
    source = item.get("source") or item.get("deprecatedSource") or {}
    component = item.get("reportingComponent") or item.get("reportingController")
    return source.get("component") or component or ""


def _seen(item: Object) -> str | None:
    return last_seen(to_core(item))


def _first_seen(item: Object) -> str | None:
    core: Object = to_core(item)
    first: str | None = core.get("firstTimestamp") or core["metadata"].get("creationTimestamp")
    return first


_COLUMNS = (
    Column("Last Seen", "date", _seen),
    Column("Type", "string", lambda item: item.get("type")),
    Column("Reason", "string", lambda item: item.get("reason")),
    Column("Object", "string", _object),
    Column("Source", "string", _source, 1),
    Column("Message", "string", lambda item: (to_core(item).get("message") or "").strip()),
    Column("First Seen", "date", _first_seen, 1),
    Column("Count", "integer", lambda item: to_core(item).get("count") or 1, 1),
)
_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _fields(reference: str, component: str, more: dict[str, str]) -> dict[str, JsonPath]:
    fields = {f"{reference}.{part}": JsonPath(f".{reference}.{part}") for part in _REFERENCE}
    fields |= {name: JsonPath(f".{name}") for name in ("reason", "type", component)}
    return fields | {name: JsonPath(source) for name, source in more.items()}


def _properties(names: dict[str, str]) -> Object:
    def name(core: str) -> str:
        return names.get(core, core)

    moment = time("When it happened.")
    return {
        name("involvedObject"): anything("The object that the event is about."),
        name("message"): string("What happened, for people."),
        name("source"): anything("Who reported it, in the old form."),
        name("firstTimestamp"): moment,
        name("lastTimestamp"): moment,
        name("count"): integer("How often it happened."),
        name("reportingComponent"): string("Who reported it."),
        "reportingInstance": string("Which instance of the reporter."),
        "reason": string("Why, as one CamelCase word."),
        "type": string("`Normal` or `Warning`."),
        "action": string("What was done or failed."),
        "eventTime": moment,
        "series": {**anything("How often it happened lately."), "nullable": True},
        "related": {**anything("Another object concerned."), "nullable": True},
    }


CORE_SCHEMA = struct(_properties({}), "A report of something that happened to an object.")
SCHEMA = struct(_properties(_TO_REPORTED), "A report of something that happened to an object.")
CORE: dict[str, Any] = {
    "storage": STORAGE,
    "short_names": ("ev",),
    "columns": _COLUMNS,
    "fields": _fields("involvedObject", "reportingComponent", {"source": ".source.component"}),
}
REPORTED: dict[str, Any] = {
    "storage": STORAGE,
    "short_names": ("ev",),
    "columns": _COLUMNS,
    "fields": _fields("regarding", "reportingController", {}),
    "to_storage": to_core,
    "from_storage": to_reported,
}
