"""Which commit the files of a directory come from, asked of git."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

UNVERSIONED = "unversioned"
_DIRTY = "-dirty"


@dataclass(frozen=True)
class Checkout:
    """The state of a git working tree at one moment."""

    root: Path
    head: str
    changed: frozenset[Path]
    """Absolute paths of files, and folders of untracked files, that differ from the commit."""

    def revision(self, paths: list[Path]) -> str:
        """Return the commit, with `-dirty` when one of the paths differs from it."""
        if any(self._differs(path) for path in paths):
            return self.head + _DIRTY
        return self.head

    def _differs(self, path: Path) -> bool:
        return any(
            path == changed or changed in path.parents or path in changed.parents
            for changed in self.changed
        )

    def path_of(self, path: Path) -> str:
        """Return a path within the repository, with slashes."""
        return path.relative_to(self.root).as_posix()


def is_settled(revision: str) -> bool:
    """Return whether a recorded revision names a commit that holds exactly what was applied."""
    return bool(revision) and revision != UNVERSIONED and not revision.endswith(_DIRTY)


def checkout(directory: Path) -> Checkout | None:
    """Return the working tree that holds a directory; None outside git and before a commit."""
    top = _git(directory, "rev-parse", "--show-toplevel")
    head = _git(directory, "rev-parse", "--verify", "--quiet", "HEAD")
    if top is None or head is None:
        return None
    root = Path(top.strip())
    status = _git(root, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
    entries = [entry[3:] for entry in (status or "").split("\0") if entry]
    ignored = _git(directory, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--",
                   "*.yaml", "*.yml")  # fmt: skip
    hidden = [entry for entry in (ignored or "").split("\0") if entry]
    changed = {root / entry for entry in entries} | {directory / entry for entry in hidden}
    return Checkout(root, head.strip(), frozenset(changed))


def resolve(directory: Path, commit: str) -> str | None:
    """Return the full name of a commit that a person named; None when there is none."""
    if commit.startswith("-"):
        return None
    found = _git(directory, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    return found.strip() if found else None


def export(root: Path, commit: str, into: Path) -> bool:
    """Write all files of a commit as a checkout would; the working tree and its index stay."""
    into.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="modelyard-") as index:
        variables = {"GIT_INDEX_FILE": str(Path(index, "index"))}
        read = _git(root, "read-tree", commit, variables=variables)
        prefix = f"--prefix={into.resolve()}/"
        written = _git(root, "checkout-index", "--all", prefix, variables=variables)
    return read is not None and written is not None


def head_signature(directory: Path) -> tuple[tuple[int, int], ...]:
    """Return what changes whenever HEAD moves: times and sizes of git's own records of it."""
    located = _git(directory, "rev-parse", "--git-path", "HEAD", "--git-path", "logs/HEAD")
    return signature_of([directory / line for line in (located or "").splitlines()])


def signature_of(paths: list[Path]) -> tuple[tuple[int, int], ...]:
    """Return modification time and size of each path that exists."""
    signature = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        signature.append((status.st_mtime_ns, status.st_size))
    return tuple(signature)


def _git(
    directory: Path, *arguments: str, variables: Mapping[str, str] | None = None
) -> str | None:
    """Return what git prints, or None when it fails or is not installed."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", **(variables or {})}
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            env=environment,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else None
