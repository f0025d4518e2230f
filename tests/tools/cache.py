"""What tests use that takes long to make: made once, into a cache outside of the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelyard"


def cached(path: Path, make: Callable[[Path], Path]) -> Path:
    """Return a path of the cache, made where it is not there.

    Args:
        path: Where it lies, with its version: another version is another path.
        make: Makes it within an empty folder and returns where; it is moved into place at once.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="making-") as folder:
        fresh = make(Path(folder))
        try:
            fresh.replace(path)
        except OSError:
            if not path.exists():  # else another run was quicker
                raise
    return path


def install(what: str, command: Sequence[str | Path], patience: float, cwd: Path) -> None:
    """Run an installer; end this program, saying why, where it fails or takes too long.

    Args:
        what: What is installed.
        command: The installer and its arguments.
        patience: Seconds that it may take.
        cwd: Where it runs.
    """
    try:
        subprocess.run(
            command, cwd=cwd, capture_output=True, check=True, text=True, timeout=patience
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"{what} was not installed in {patience:.0f} s")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{what} cannot be installed: {error.stderr.strip()[-300:]}")
