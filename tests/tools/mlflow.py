"""Prints the path of `mlflow`, installed once in an environment of its own outside the checkout.

Exits 1, saying why, where the packages cannot be had.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cache import CACHE, cached, install

VERSION = "3.17.2"
PATIENCE_SECONDS = 180


def environment(folder: Path) -> Path:
    """Make an environment that may be moved, with MLflow in it."""
    uv = Path(sys.executable).with_name("uv")
    fresh = folder / "environment"
    make = [uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, fresh]
    fill = [uv, "pip", "install", "--quiet", "--system-certs", "--python", fresh / "bin/python"]
    for command in (make, [*fill, f"mlflow=={VERSION}"]):
        install("mlflow", command, PATIENCE_SECONDS, folder)
    return fresh


if __name__ == "__main__":
    print(cached(CACHE / f"mlflow-{VERSION}", environment) / "bin" / "mlflow")
