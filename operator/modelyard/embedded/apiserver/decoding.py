"""Request bodies: JSON, YAML and protobuf, with the duplicate fields that JSON tolerates."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from modelyard.embedded.apiserver import protobuf
from modelyard.embedded.apiserver.errors import bad_request, unsupported_media_type

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
BODIES = (JSON, YAML, PROTOBUF)
PATCHES = (MERGE_PATCH, JSON_PATCH, STRATEGIC_PATCH, APPLY_PATCH)


@dataclass(frozen=True)
class Body:
    """A decoded body.

    Attributes:
        value: What it holds.
        duplicates: Paths of fields that it gives twice.
        media_type: How it was encoded; of a patch, which kind of patch it is.
    """

    value: Any
    duplicates: tuple[str, ...] = ()
    media_type: str = JSON


def decode(data: bytes, media_type: str, accepted: tuple[str, ...]) -> Body:
    """Decode a request body.

    Raises:
        ApiError: 415 if the media type is not in `accepted`, 400 if the body is malformed.
    """
    kind = media_type.split(";", maxsplit=1)[0].strip() or JSON
    if kind not in accepted:
        raise unsupported_media_type(kind, accepted)
    if kind == PROTOBUF or data.startswith(protobuf.MAGIC):
        return Body(protobuf.decode(data), media_type=kind)
    if kind in {YAML, APPLY_PATCH} and not data.lstrip().startswith(b"{"):
        return Body(_yaml(data), media_type=kind)
    value, duplicates = _json(data)
    return Body(value, duplicates, kind)


def _json(data: bytes) -> tuple[Any, tuple[str, ...]]:
    """Decode JSON, noting duplicate fields."""
    repeated: dict[int, list[str]] = {}

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            names = [name for name, _ in pairs]
            repeated[id(result)] = sorted({name for name in names if names.count(name) > 1})
        return result

    try:
        value = json.loads(data, object_pairs_hook=collect)
    except ValueError as error:
        raise bad_request(f"the body is not valid JSON: {error}") from None
    return value, tuple(_locate(value, repeated)) if repeated else ()


def _locate(value: Any, repeated: dict[int, list[str]], path: str = "") -> list[str]:
    found: list[str] = []
    if isinstance(value, dict):
        prefix = f"{path}." if path else ""
        found += [prefix + name for name in repeated.get(id(value), ())]
        for name, item in value.items():
            found += _locate(item, repeated, prefix + name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _locate(item, repeated, f"{path}[{index}]")
    return found


def _yaml(data: bytes) -> Any:
    import yaml  # noqa: PLC0415 - only few clients send YAML; a server without them stays small

    try:
        return yaml.load(data, _yaml_loader())  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise bad_request(f"the body is not valid YAML: {error}") from None


@lru_cache(maxsize=1)
def _yaml_loader() -> Any:
    """YAML's safe loader, with timestamps left as strings as JSON has no others."""
    import yaml  # noqa: PLC0415 - see above

    class JsonLoader(yaml.SafeLoader):
        """Builds only what JSON can hold."""

    JsonLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return JsonLoader
