"""Prints the path of `mlflow`, installed once in an environment of its own outside the checkout.

Exits 1, saying why, where the packages cannot be had.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

VERSION = "3.17.2"
PATIENCE_SECONDS = 180


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelyard"
    folder = cache / f"mlflow-{VERSION}"
    if not folder.exists():
        install(folder)
    print(folder / "bin" / "mlflow")


def install(folder: Path) -> None:
    """Install beside where it shall lie, and move it into place at once."""
    uv = str(Path(sys.executable).with_name("uv"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="installing-") as name:
        fresh = Path(name) / "environment"
        python = fresh / "bin" / "python"
        make = [uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(fresh)]
        fill = [uv, "pip", "install", "--quiet", "--system-certs", "--python", str(python)]
        for command in (make, [*fill, f"mlflow=={VERSION}"]):
            try:
                subprocess.run(
                    command, capture_output=True, check=True, text=True, timeout=PATIENCE_SECONDS
                )
            except subprocess.TimeoutExpired:
                sys.exit(f"mlflow was not installed in {PATIENCE_SECONDS} s")
            except subprocess.CalledProcessError as error:
                sys.exit(f"mlflow cannot be installed: {error.stderr.strip()[-300:]}")
        with suppress(OSError):  # another run may have been quicker
            fresh.replace(folder)


if __name__ == "__main__":
    main()
