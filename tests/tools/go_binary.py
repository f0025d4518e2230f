"""Go programs that tests use: built once, into a cache outside of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cache import CACHE, cached


def path_of(name: str) -> Path:
    """Return where a program lies once it is built."""
    return CACHE / "bin" / name


def built(name: str, build: Callable[[Path], Path]) -> Path:
    """Return the path of a program; end this one, saying why, where it is not built and cannot be.

    Args:
        name: Name with the version: another version is another file.
        build: Builds it within an empty folder and returns where; it is moved into place at once.
    """
    path = path_of(name)
    if not path.exists() and shutil.which("go") is None:
        sys.exit(f"{path} is not built and Go is not installed to build it")
    return cached(path, build)


def go(*arguments: str, cwd: Path, **environment: str) -> None:
    """Run Go without haste and without C; end this program with its complaint when it fails."""
    done = subprocess.run(
        ["nice", "-n", "10", "go", *arguments],
        cwd=cwd,
        env={**os.environ, "CGO_ENABLED": "0", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"go {arguments[0]} failed: {done.stderr.strip()[-500:]}")
