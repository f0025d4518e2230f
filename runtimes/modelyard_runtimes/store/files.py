"""A store in a directory: file:///path.

Everything is written in `<root>/.incoming` first, made durable, and then renamed into place, so a
process that is killed at any moment leaves nothing half-written where a reader looks.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modelyard.api.artifacts import MANIFEST, Manifest

from modelyard_runtimes.store.artifact import check_path
from modelyard_runtimes.store.base import FileSource, Store
from modelyard_runtimes.store.errors import StoreError

INCOMING = ".incoming"


def path_of(uri: str) -> Path:
    """Return the local path that a file:// URI names.

    Raises:
        StoreError: it is not an absolute file:// URI of this machine.
    """
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path:
        raise StoreError(f"{uri!r} is not a file:// URI; write file:///absolute/directory")
    return Path(unquote(parts.path))


def version_of(path: Path) -> str:
    """Return a text that changes whenever a file does: its size, and when it was changed.

    Raises:
        FileNotFoundError: there is none.
    """
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def write_file(path: Path, source: FileSource) -> None:
    """Write bytes, or a copy of a file, to a new durable file."""
    make_folder(path.parent)
    with path.open("xb") as stream:
        if isinstance(source, bytes):
            stream.write(source)
        else:
            with source.open("rb") as original:
                shutil.copyfileobj(original, stream, 1 << 20)
        stream.flush()
        os.fsync(stream.fileno())


class FileStore(Store):
    """Records and artifacts in a directory of this machine."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._root = path_of(self.uri)

    def read_bytes(self, location: str) -> bytes:
        """Return the bytes at a location."""
        path = self._path(location)
        try:
            return path.read_bytes()
        except (NotADirectoryError, IsADirectoryError) as error:
            raise FileNotFoundError(f"{location}: no file lies there") from error

    def exists(self, location: str) -> bool:
        """Return whether a file lies at a location."""
        return self._path(location).is_file()

    def version(self, location: str) -> str:
        """Return size and time of change of the file at a location."""
        return version_of(self._path(location))

    def list(self, prefix: str) -> Sequence[str]:
        """Return the sorted keys of all files below a folder."""
        folder = self._path(prefix) if prefix else self._root
        found = (path.relative_to(self._root) for path in folder.rglob("*") if path.is_file())
        return sorted(key.as_posix() for key in found if key.parts[0] != INCOMING)

    def write_record(self, key: str, data: bytes) -> None:
        """Write a file whole or not at all, replacing what was there."""
        target = self._root / check_path(key)
        make_folder(target.parent)
        with self._incoming() as temporary:
            write_file(temporary, data)
            temporary.replace(target)
        sync_folder(target.parent)

    def local_folder(self, uri: str, paths: Iterable[str]) -> Path:
        """Return the folder itself: its files are local already."""
        folder = self._path(uri)
        for path in paths:
            if not (folder / path).is_file():
                raise FileNotFoundError(f"{uri}/{path} is missing from the store")
        return folder

    def _path(self, location: str) -> Path:
        if "://" in location:
            return path_of(location)
        return self._root / check_path(location)

    def _commit(self, key: str, manifest: Manifest, files: Mapping[str, FileSource]) -> None:
        target = self._root / key
        make_folder(target.parent)
        with self._incoming() as temporary:
            temporary.mkdir()
            for path, source in files.items():
                write_file(temporary / path, source)
            write_file(temporary / MANIFEST, manifest.to_bytes())
            for folder in [path for path in temporary.rglob("*") if path.is_dir()]:
                sync_folder(folder)
            sync_folder(temporary)
            if target.exists() and not self.holds(key, manifest):
                self._set_aside(target)
            self._place(temporary, target)
        sync_folder(target.parent)

    def _set_aside(self, target: Path) -> None:
        """Take a folder that is not what its digest says out of sight, at once as a whole."""
        with self._incoming() as temporary:
            target.rename(temporary)

    def _place(self, temporary: Path, target: Path) -> None:
        """Rename a complete folder into place; another process may have been first."""
        try:
            temporary.rename(target)
        except OSError:
            if not (target / MANIFEST).is_file():
                raise

    @contextmanager
    def _incoming(self) -> Iterator[Path]:
        """Yield a new path to write at, and leave nothing there in the end.

        Writers share a lock that the system lets go when they are killed; whoever finds nobody
        holding it removes what killed writers left behind.
        """
        folder = self._root / INCOMING
        make_folder(folder)
        with (folder / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                for leftover in folder.iterdir():
                    if leftover.name != ".lock":
                        remove(leftover)
            fcntl.flock(lock, fcntl.LOCK_SH)
            temporary = folder / uuid.uuid4().hex
            try:
                yield temporary
            finally:
                remove(temporary)


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
