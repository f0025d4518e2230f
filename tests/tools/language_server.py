"""Prints the path of `yaml-language-server`, installed once by npm outside of the checkout.

Exits 1, saying why, where Node is not there or the packages cannot be had.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from cache import CACHE, cached, install

PACKAGES = Path(__file__).with_name("editor")
NPM = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
PATIENCE_SECONDS = 120


def main() -> None:
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        sys.exit(f"there is no {' and no '.join(missing)} to run yaml-language-server")
    # Other packages are another folder.
    digest = hashlib.sha256((PACKAGES / "package-lock.json").read_bytes()).hexdigest()
    folder = cached(CACHE / "editor" / digest[:12], packages)
    print(folder / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server")


def packages(folder: Path) -> Path:
    """Install the packages."""
    fresh = folder / "packages"
    shutil.copytree(PACKAGES, fresh)
    install("yaml-language-server", NPM, PATIENCE_SECONDS, fresh)
    return fresh


if __name__ == "__main__":
    main()
