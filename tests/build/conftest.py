"""Finds the source of Go modules: other people's CRDs are read from there, never copied."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


@functools.cache
def go_module(module: str, version: str) -> Path:
    """Return the folder of a module; skip the test where Go or the module is not to be had."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed to fetch a module's source")
    with tempfile.TemporaryDirectory() as nowhere:
        done = subprocess.run(
            ["go", "mod", "download", "-json", f"{module}@{version}"],
            cwd=nowhere,
            capture_output=True,
            text=True,
            check=False,
        )
    found = json.loads(done.stdout or "{}")
    if "Dir" not in found:
        pytest.skip(f"{module}@{version} cannot be fetched: {found.get('Error') or done.stderr}")
    return Path(found["Dir"])
