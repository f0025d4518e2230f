"""What npm installs from a lock file: once, into the cache outside of the checkout."""

from __future__ import annotations

import hashlib
import shutil
import sys
from functools import partial
from pathlib import Path

from cache import CACHE, cached, install

NPM = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
PATIENCE_SECONDS = 120


def installed(what: str, wanted: Path) -> Path:
    """Return where packages lie; end this program, saying why, where they cannot be had.

    Args:
        what: What is run of them.
        wanted: A folder that names them. Other packages are another folder of the cache.
    """
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        sys.exit(f"there is no {' and no '.join(missing)} to run {what}")
    digest = hashlib.sha256((wanted / "package-lock.json").read_bytes()).hexdigest()
    return cached(CACHE / wanted.name / digest[:12], partial(_packages, what, wanted))


def _packages(what: str, wanted: Path, folder: Path) -> Path:
    fresh = folder / "packages"
    shutil.copytree(wanted, fresh)
    install(what, NPM, PATIENCE_SECONDS, fresh)
    return fresh
