"""The files behind the path of a source, and their digest.

The digest is an annotation of the object, so an edit of the data asks for a new run, and a
`git revert` of the data finds the old one again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from modelyard.cli.manifests import Manifest

_CHUNK = 1 << 20


PATH_FIELDS = {
    "Dataset": ("spec", "source", "path"),
    "Deployment": ("spec", "batch", "input", "source", "path"),
}
"""The field that says which files an object reads, by its kind."""


def source_path(manifest: Manifest, directory: Path) -> Path | None:
    """Return the absolute path an object reads, None where it reads none."""
    if not manifest.ours or manifest.key.kind not in PATH_FIELDS:
        return None
    path = manifest.get(*PATH_FIELDS[manifest.key.kind])
    return Path(os.path.normpath(directory / path)) if isinstance(path, str) and path else None


class SourceDigests:
    """Digests of source files; a file is read again only when its time or size changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], str]] = {}

    def digest(self, source: Path) -> str:
        """Return `sha256:<hex>` over the ordered relative names and contents of the files.

        Raises:
            OSError: a file cannot be read, or there is none.
        """
        whole = hashlib.sha256()
        for file in source_files(source):
            name = file.relative_to(source).as_posix() if file != source else file.name
            whole.update(f"{name}\0{self._file_digest(file)}\n".encode())
        return f"sha256:{whole.hexdigest()}"

    def _file_digest(self, file: Path) -> str:
        status = file.stat()
        signature = (status.st_mtime_ns, status.st_size)
        known = self._known.get(file)
        if known is not None and known[0] == signature:
            return known[1]
        content = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                content.update(chunk)
        self._known[file] = (signature, content.hexdigest())
        return content.hexdigest()


def source_files(source: Path) -> list[Path]:
    """Return the files of a source in the order of their relative names, hidden ones left out.

    Raises:
        FileNotFoundError: there is no such file or directory.
    """
    if source.is_dir():
        return sorted(_walk(source), key=lambda file: file.relative_to(source).as_posix())
    if not source.exists():
        raise FileNotFoundError(source)
    return [source]


def _walk(source: Path) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(source):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        yield from (Path(folder, name) for name in files if not name.startswith("."))
