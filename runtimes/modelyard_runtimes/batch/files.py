"""The files behind the input, in the order of their names, without reading them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.api.dataset import Source
from modelyard.api.records import SNAPSHOT_FILE
from modelyard.api.runs import BatchConfig
from modelyard.api.runtime import StoreConfig

from modelyard_runtimes.dataset.formats import is_hidden
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import Store, StoreError, StoreUnavailable, open_store
from modelyard_runtimes.store.files import version_of

SOURCE_CREDENTIALS = "SOURCE_AWS"


@dataclass(frozen=True)
class InputFile:
    """One file of the input.

    Attributes:
        name: Its name within the source.
        version: Changes whenever the file does.
        local: Returns where it lies on this machine; brings it there first if need be.
    """

    name: str
    version: str
    local: Callable[[], Path]


def input_files(
    config: BatchConfig, store: Store, environ: Mapping[str, str]
) -> Sequence[InputFile]:
    """Return the files of the input; none for a bundled data set.

    Raises:
        RunFailure: nothing lies there, or it cannot be reached.
    """
    source = config.batch.input.source
    if source is None:
        return [_snapshot(config, store)]
    if source.builtin is not None:
        return []
    try:
        found = (
            _local(Path(source.path))
            if source.path is not None
            else _in_bucket(source, config.source_store, environ)
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"{field_of(source)}: nothing lies there; correct it"
        raise RunFailure("UnreadableSource", message) from error
    except StoreError as error:
        raise RunFailure(
            "UnreadableSource",
            f"spec.batch.input.source.uri: {error}; check the connection that its connectionRef "
            "names",
            retryable=isinstance(error, StoreUnavailable),
        ) from error
    except OSError as error:
        message = f"{field_of(source)}: {error.strerror}; let the runtime read it"
        raise RunFailure("UnreadableSource", message) from error
    if not found:
        message = f"{field_of(source)}: no file to read there; add one"
        raise RunFailure("EmptySource", message)
    return found


def field_of(source: Source | None) -> str:
    """Return the path of the field that says where the rows come from, with its value."""
    if source is None:
        return "spec.batch.input.datasetRef"
    for name in ("path", "uri", "builtin"):
        if getattr(source, name) is not None:
            return f"spec.batch.input.source.{name} ({getattr(source, name)})"
    return "spec.batch.input.source"


def _snapshot(config: BatchConfig, store: Store) -> InputFile:
    if config.snapshot_uri is None or config.snapshot_digest is None:
        raise RunFailure("InternalError", "the configuration names neither source nor snapshot")
    reader = store.open_artifact(config.snapshot_uri, config.snapshot_digest)
    return InputFile(SNAPSHOT_FILE, config.snapshot_digest, lambda: reader.path(SNAPSHOT_FILE))


def _local(path: Path) -> list[InputFile]:
    if not path.is_dir():
        return [_local_file(path.name, path)]
    below = (
        (Path(root, name).relative_to(path).as_posix(), Path(root, name))
        for root, _, names in os.walk(path, onerror=_raise)
        for name in names
    )
    return [_local_file(name, file) for name, file in sorted(below) if not is_hidden(name)]


def _local_file(name: str, path: Path) -> InputFile:
    return InputFile(name, version_of(path), lambda: path)


def _raise(error: OSError) -> None:
    raise error


def _in_bucket(
    source: Source, config: StoreConfig | None, environ: Mapping[str, str]
) -> list[InputFile]:
    uri = (source.uri or "").rstrip("/")
    folder, _, last = uri.rpartition("/")
    reach = config or StoreConfig(uri=uri)
    store = open_store(reach.model_copy(update={"uri": uri}), environ, SOURCE_CREDENTIALS)
    keys = [key for key in store.list("") if not key.endswith("/") and not is_hidden(key)]
    if not keys:
        return [_bucket_file(store, folder, last)]
    return [_bucket_file(store, uri, key) for key in keys]


def _bucket_file(store: Store, folder: str, key: str) -> InputFile:
    version = store.version(f"{folder}/{key}")
    return InputFile(key, version, lambda: store.local_folder(folder, [key]) / key)
