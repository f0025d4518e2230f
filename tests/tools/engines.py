"""Runs the contract of search engines with AutoGluon, in an environment of its own.

The environment lies under .cache/engines and is made of uv.lock, as images are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "engines"
EXTRAS = ("train", "autogluon", "flaml")
PLUGINS = ("pytest", "pytest-asyncio", "pytest-timeout")


def main() -> int:
    """Return the exit status of the tests."""
    uv = str(Path(sys.executable).parent / "uv")
    python = str(FOLDER / "bin" / "python")
    requirements = FOLDER / "requirements.txt"
    made = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(FOLDER)]
    subprocess.run(made, check=True)
    export = [uv, "export", "--frozen", "--quiet", "--no-dev", "--no-emit-workspace"]
    export += ["--no-hashes", "--package", "modelyard-runtimes", "--output-file", str(requirements)]
    export += [word for extra in EXTRAS for word in ("--extra", extra)]
    subprocess.run(export, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    install = [uv, "pip", "install", "--quiet", "--system-certs", "--python", python]
    subprocess.run([*install, "-r", str(requirements), *PLUGINS], cwd=ROOT, check=True)
    paths = os.pathsep.join(str(ROOT / part) for part in ("operator", "runtimes"))
    return subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", "tests/train/test_engines.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
