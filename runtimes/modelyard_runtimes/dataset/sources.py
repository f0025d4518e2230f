"""Finds and reads the files behind spec.source, in the order of their names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from modelyard.api.dataset import ColumnType, Source
from modelyard.api.runs import DatasetConfig
from modelyard.api.runtime import StoreConfig

from modelyard_runtimes.dataset.builtin import read_builtin
from modelyard_runtimes.dataset.formats import is_hidden, read_file
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import StoreError, StoreUnavailable, open_store
from modelyard_runtimes.tables.rows import ReadFile

SOURCE_CREDENTIALS = "SOURCE_AWS"


class SourceRows(NamedTuple):
    """All that a source holds.

    Attributes:
        files: What was read from each file, ordered by name.
        ignored: A sentence about each file that was not read.
        types: Column types that the source itself declares.
    """

    files: list[ReadFile]
    ignored: list[str]
    types: dict[str, ColumnType]


def read_source(config: DatasetConfig, environ: Mapping[str, str]) -> SourceRows:
    """Return the rows behind `config.spec.source`.

    Raises:
        RunFailure: the source is not there, cannot be opened, or holds no file.
    """
    source = config.spec.source
    if source.builtin is not None:
        table = read_builtin(source.builtin)
        return SourceRows([table.file], [], table.types)
    ignored: list[str] = []
    named = (
        _local_files(Path(source.path), ignored)
        if source.path is not None
        else _bucket_files(config, environ, ignored)
    )
    files = [read for name, data in named for read in read_file(name, data, source)]
    if not files:
        raise RunFailure(
            "EmptySource",
            f"{field_of(source)}: no file to read there; add one. {' '.join(ignored)}",
        )
    return SourceRows(files, ignored, {})


def field_of(source: Source) -> str:
    """Return the path of the field that says where the rows come from, with its value."""
    if source.path is not None:
        return f"spec.source.path ({source.path})"
    return f"spec.source.uri ({source.uri})" if source.uri else "spec.source.builtin"


def _local_files(path: Path, ignored: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of a file, or of all files below a directory."""
    try:
        if path.is_dir():
            for file in _below(path):
                name = file.relative_to(path).as_posix()
                if _is_wanted(name, ignored):
                    yield name, file.read_bytes()
        else:
            yield path.name, path.read_bytes()
    except OSError as error:
        raise RunFailure(
            "UnreadableSource",
            f"spec.source.path ({path}): {error.strerror}: {error.filename}; "
            "correct the path, or let the runtime read it",
        ) from error


def _below(folder: Path) -> list[Path]:
    found = [
        Path(root) / name
        for root, _, names in os.walk(folder, onerror=_raise)
        for name in names
        if (Path(root) / name).is_file()
    ]
    return sorted(found, key=lambda file: file.relative_to(folder).as_posix())


def _raise(error: OSError) -> None:
    raise error


def _is_wanted(name: str, ignored: list[str]) -> bool:
    if is_hidden(name):
        ignored.append(f"{name}: hidden, not read.")
        return False
    return True


def _bucket_files(
    config: DatasetConfig, environ: Mapping[str, str], ignored: list[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of an object, or of all objects below a prefix."""
    uri = (config.spec.source.uri or "").rstrip("/")
    reach = config.source_store or StoreConfig(uri=uri)
    try:
        store = open_store(reach.model_copy(update={"uri": uri}), environ, SOURCE_CREDENTIALS)
        keys = store.list("")
        for key in keys:
            if not key.endswith("/") and _is_wanted(key, ignored):
                yield key, store.read_bytes(key)
        if not keys:
            yield uri.rsplit("/", 1)[-1], store.read_bytes(uri)
    except FileNotFoundError as error:
        message = f"spec.source.uri ({uri}): nothing lies there; correct it"
        raise RunFailure("UnreadableSource", message) from error
    except StoreError as error:
        raise RunFailure(
            "UnreadableSource",
            f"spec.source.uri: {error}; check the connection that spec.source.connectionRef names",
            retryable=isinstance(error, StoreUnavailable),
        ) from error
