"""Runs the tests of an extra that the environment of all other tests lacks, in one of its own.

AutoGluon takes no PyArrow of today, PyTorch comes with gigabytes of libraries for other processors,
and Ray is only in the image of clusters. Each environment lies under .cache and is made of uv.lock,
as images are. What follows the name of the extra is passed to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ("pytest", "pytest-asyncio", "pytest-timeout")


@dataclass(frozen=True)
class Environment:
    """What is installed, and what is tried with it.

    Attributes:
        folder: Where it lies.
        extras: Extras of the runtimes.
        tests: Files of the tests.
    """

    folder: Path
    extras: Sequence[str]
    tests: Sequence[str]

    @property
    def python(self) -> str:
        """The Python of the environment."""
        return str(self.folder / "bin" / "python")

    def make(self) -> None:
        """Install what the lock file says."""
        uv = str(Path(sys.executable).parent / "uv")
        made = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable]
        subprocess.run([*made, str(self.folder)], check=True)
        requirements = self.folder / "requirements.txt"
        export = [uv, "export", "--frozen", "--quiet", "--no-dev", "--no-emit-workspace"]
        export += ["--no-hashes", "--package", "modelyard-runtimes"]
        export += ["--output-file", str(requirements)]
        export += [word for extra in self.extras for word in ("--extra", extra)]
        subprocess.run(export, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        install = [uv, "pip", "install", "--quiet", "--system-certs", "--python", self.python]
        subprocess.run([*install, "-r", str(requirements), *PLUGINS], cwd=ROOT, check=True)

    def test(self, options: Sequence[str]) -> int:
        """Return the exit status of the tests."""
        paths = os.pathsep.join(str(ROOT / part) for part in ("operator", "runtimes"))
        return subprocess.run(
            [self.python, "-m", "pytest", "-p", "no:cacheprovider", *self.tests, *options],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths},
            check=False,
        ).returncode


CACHE = ROOT / ".cache"
ENVIRONMENTS = {
    "autogluon": Environment(
        CACHE / "engines", ("train", "autogluon", "flaml"), ["tests/train/test_engines.py"]
    ),
    "ray": Environment(CACHE / "ray", ("train", "ray"), ["tests/train/test_ray.py"]),
    "torch": Environment(
        CACHE / "torch",
        ("train", "torch"),
        ["tests/train/test_torch_mlp.py", "tests/train/test_population.py"],
    ),
}


def main(name: str, options: Sequence[str]) -> int:
    """Return the exit status of the tests of an extra."""
    environment = ENVIRONMENTS[name]
    environment.make()
    return environment.test(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
