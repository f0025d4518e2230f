"""Prints the path of the `opa` binary, built once with Go into a cache outside of the checkout.

Exits 1, saying why, where it is not built and cannot be.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "v1.22.0"


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    binary = cache / "modelyard" / "bin" / f"opa-{VERSION}"
    if not binary.exists():
        if shutil.which("go") is None:
            sys.exit(f"opa is not built and Go is not installed to build it into {binary.parent}")
        build(binary)
    print(binary)


def build(binary: Path) -> None:
    """Build with `go install`, about four CPU minutes, and move the result into place at once."""
    building = binary.parent / f"building-{os.getpid()}"
    building.mkdir(parents=True)
    try:
        done = subprocess.run(
            ["nice", "-n", "10", "go", "install", f"github.com/open-policy-agent/opa@{VERSION}"],
            env={**os.environ, "GOBIN": str(building), "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"opa cannot be built here: {done.stderr.strip()[-500:]}")
        (building / "opa").replace(binary)
    finally:
        shutil.rmtree(building)


if __name__ == "__main__":
    main()
