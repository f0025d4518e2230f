"""Prints the path of `yaml-language-server`, installed once by npm outside of the checkout.

Exits 1, saying why, where Node is not there or the packages cannot be had.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

PACKAGES = Path(__file__).with_name("editor")
NPM = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
PATIENCE_SECONDS = 120


def main() -> None:
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        sys.exit(f"there is no {' and no '.join(missing)} to run yaml-language-server")
    folder = path_of()
    if not folder.exists():
        install(folder)
    print(folder / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server")


def path_of() -> Path:
    """Return where the packages lie once they are installed: others are another folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256((PACKAGES / "package-lock.json").read_bytes()).hexdigest()
    return cache / "modelyard" / "editor" / digest[:12]


def install(folder: Path) -> None:
    """Install beside where they shall lie, and move them into place at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="installing-") as name:
        fresh = Path(name) / "packages"
        shutil.copytree(PACKAGES, fresh)
        try:
            subprocess.run(
                NPM, cwd=fresh, capture_output=True, check=True, text=True, timeout=PATIENCE_SECONDS
            )
        except subprocess.TimeoutExpired:
            sys.exit(f"npm did not install yaml-language-server in {PATIENCE_SECONDS} s")
        except subprocess.CalledProcessError as error:
            sys.exit(f"npm could not install yaml-language-server: {error.stderr.strip()[-300:]}")
        with suppress(OSError):  # another run may have been quicker
            fresh.replace(folder)


if __name__ == "__main__":
    main()
