"""Prints the path of the `helm` binary, built once with Go into a cache outside of the checkout.

Exits 1, saying why, where it is not built and cannot be.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "v3.22.0"
KUBERNETES = "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36"
"""What `helm template` takes a cluster for; without it, one that is older than our chart allows."""


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    binary = cache / "modelyard" / "bin" / f"helm-{VERSION}"
    if not binary.exists():
        if shutil.which("go") is None:
            sys.exit(f"helm is not built and Go is not installed to build it into {binary.parent}")
        build(binary)
    print(binary)


def build(binary: Path) -> None:
    """Build with `go install`, about four CPU minutes, and move the result into place at once."""
    building = binary.parent / f"building-{os.getpid()}"
    building.mkdir(parents=True)
    try:
        done = subprocess.run(
            [
                *("nice", "-n", "10", "go", "install", "-trimpath"),
                *("-ldflags", f"-s -w {KUBERNETES}", f"helm.sh/helm/v3/cmd/helm@{VERSION}"),
            ],
            env={**os.environ, "GOBIN": str(building), "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"helm cannot be built here: {done.stderr.strip()[-500:]}")
        (building / "helm").replace(binary)
    finally:
        shutil.rmtree(building)


if __name__ == "__main__":
    main()
