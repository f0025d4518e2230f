#!/usr/bin/env python3
"""Assembles the files of an image: `images/assemble.py operator|runtime|ray DIRECTORY`.

DIRECTORY becomes the layer to put on a Python 3.11 base: the locked dependencies and our own
packages under /opt/modelyard. The Dockerfiles beside this script add it with `COPY`; without
Docker any tool that makes an image of a directory does, with the settings that `--settings`
prints. Needs uv, and a package index.
"""

from __future__ import annotations

import argparse
import compileall
import json
import py_compile
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PLACE = "opt/modelyard"
PYTHON = "3.11"
PLATFORM = "x86_64-manylinux_2_36"
"""That of Debian 12, on which the base image stands."""
TESTED = ("numpy", "pandas", "pyarrow", "scipy", "sklearn")
"""Packages whose large `tests` folders nothing imports."""
USER = 65532
ENVIRONMENT = {
    "PYTHONPATH": f"/{PLACE}",
    "PATH": f"/{PLACE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "LD_LIBRARY_PATH": f"/{PLACE}/lib",
    "USER": "modelyard",  # whoever asks who runs need not find the user in /etc/passwd
    "HOME": "/tmp",  # noqa: S108 - the one place that a container may write to
}
RUNTIMES = ("dataset", "train", "serve", "monitor", "batch", "evidently")
IMAGES = {
    "operator": ("modelyard", ("operator",)),
    "runtime": ("modelyard-runtimes", RUNTIMES),
    "ray": ("modelyard-runtimes", (*RUNTIMES, "ray")),
}
"""The package and extras of each image. The one with Ray runs all that the other does."""


def main() -> None:
    """Assemble what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", choices=IMAGES)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--settings", action="store_true", help="print user and environment")
    options = parser.parse_args()
    if options.settings:
        print(json.dumps({"user": USER, "environment": ENVIRONMENT}, indent=2))
        return
    if options.directory is None:
        parser.error("name the directory to assemble")
    assemble(*IMAGES[options.image], options.directory)


def assemble(package: str, extras: tuple[str, ...], root: Path) -> None:
    """Put the locked dependencies and our packages into a new directory."""
    if root.exists() and any(root.iterdir()):
        sys.exit(f"{root} is not empty; name a new directory")
    target = root / PLACE
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(locked(package, extras))
        install(target, "--only-binary", ":all:", "--require-hashes", "-r", str(requirements))
    ours = [str(REPOSITORY)]
    if package != "modelyard":
        ours.append(str(REPOSITORY / "runtimes"))
    install(target, *ours)
    share_openmp(target)
    tidy(target)


def locked(package: str, extras: tuple[str, ...]) -> str:
    """Return the requirements of a package as uv.lock pins them, with hashes."""
    command = [uv(), "export", "--frozen", "--quiet", "--no-dev", "--no-emit-workspace"]
    command += ["--package", package, *(word for extra in extras for word in ("--extra", extra))]
    return subprocess.run(
        command, cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout


def install(target: Path, *what: str) -> None:
    """Install for the image's Python and machine, whatever runs here."""
    command = [uv(), "pip", "install", "--quiet", "--no-deps", "--system-certs"]
    command += ["--target", str(target), "--python-version", PYTHON, "--python-platform", PLATFORM]
    subprocess.run([*command, *what], check=True)


def tidy(target: Path) -> None:
    """Let scripts find the image's Python, and compile what a read-only root cannot."""
    for script in (target / "bin").glob("*"):
        head, _, rest = script.read_bytes().partition(b"\n")
        if head.startswith(b"#!") and b"python" in head:
            script.write_bytes(b"#!/usr/bin/env python3\n" + rest)
    unused = [*target.rglob("__pycache__")]
    unused += [folder for name in TESTED for folder in (target / name).rglob("tests")]
    for folder in unused:
        shutil.rmtree(folder, ignore_errors=True)
    if f"{sys.version_info.major}.{sys.version_info.minor}" == PYTHON:
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(
            target, quiet=2, stripdir=target.parent.parent, invalidation_mode=mode
        )


def share_openmp(target: Path) -> None:
    """Let LightGBM find the OpenMP runtime that scikit-learn brings along, so there is one."""
    for library in (target / "scikit_learn.libs").glob("libgomp*"):
        (target / "lib").mkdir()
        (target / "lib/libgomp.so.1").symlink_to(f"../scikit_learn.libs/{library.name}")


def uv() -> str:
    """Return the path of uv: the one of .venv, or of the PATH."""
    beside = REPOSITORY / ".venv/bin/uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    return found or sys.exit("uv is missing; run make setup")


if __name__ == "__main__":
    main()
