"""Looks at this machine and a project, and says what is missing and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from modelyard.cli import connect, settle
from modelyard.cli.faults import CommandError
from modelyard.cli.layout import Layout, find_project

LEAST_MEMORY_GIB = 2
LEAST_DISK_GIB = 1
_GIB = 1 << 30


@dataclass(frozen=True)
class Check:
    """One thing looked at: Good, Note (works without) or Bad (does not work)."""

    name: str
    verdict: str
    message: str

    def to_json(self) -> dict[str, str]:
        """Return the JSON form."""
        return asdict(self)


def examine(directory: Path) -> Iterator[Check]:
    """Yield every check of the machine, the installation and the project."""
    yield from _machine(directory)
    yield from _installation()
    layout = find_project(directory)
    if layout is None:
        yield Check("plane", "Note", "none was started here; `modelyard up DIR` starts one")
    else:
        yield from _project(layout)


def _machine(directory: Path) -> Iterator[Check]:
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Check("python", "Good" if fits else "Bad", f"{platform.python_version()}, 3.11 to 3.13")
    linux = platform.system() == "Linux"
    yield Check("system", "Good" if linux else "Bad", f"{platform.platform()}; Linux is needed")
    yield Check("cpu", "Good", f"{len(os.sched_getaffinity(0))} usable cores")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
    enough = "Good" if memory >= LEAST_MEMORY_GIB else "Bad"
    yield Check("memory", enough, f"{memory:.1f} GiB; at least {LEAST_MEMORY_GIB}")
    free = shutil.disk_usage(directory).free / _GIB
    enough = "Good" if free >= LEAST_DISK_GIB else "Bad"
    yield Check("disk", enough, f"{free:.1f} GiB free at {directory.resolve()}")
    try:
        with socket.create_server(("127.0.0.1", 0)):
            yield Check("ports", "Good", "ports of 127.0.0.1 can be opened")
    except OSError as error:
        yield Check("ports", "Bad", f"no port of 127.0.0.1 can be opened: {error}")
    for tool, purpose in (("git", "records commits"), ("kubectl", "works on the plane")):
        path = shutil.which(tool)
        yield Check(tool, "Good" if path else "Note", path or f"not on PATH; it {purpose}")


_OPTIONAL = {
    "lightgbm": "the learner LightGBM",
    "xgboost": "the learner XGBoost",
    "catboost": "the learner CatBoost",
    "torch": "the learner TorchMLP",
    "ray": "the backend Ray",
}


def _installation() -> Iterator[Check]:
    for name, extra in (("modelyard", "operator,embedded,cli"), ("modelyard-runtimes", "train")):
        try:
            yield Check(name, "Good", version(name))
        except PackageNotFoundError:
            yield Check(name, "Bad", f"not installed; pip install '{name}[{extra}]'")
    for module, purpose in _OPTIONAL.items():
        there = find_spec(module) is not None
        yield Check(module, "Good" if there else "Note",
                    "installed" if there else f"not installed; needed for {purpose}")  # fmt: skip


def _project(layout: Layout) -> Iterator[Check]:
    from modelyard.cli import plane

    running = plane.running(layout)
    if running is None:
        yield Check("plane", "Note", f"not running; `modelyard up {layout.directory}` starts it")
        return
    for process in running.processes():
        now = f"pid {process.id.pid}" if process.id else "waits to be started"
        verdict = "Good" if process.running else "Bad"
        yield Check(
            f"process {process.name}",
            verdict,
            f"{now}, started again {process.restarts} times; log {process.log}",
        )
    with connect.running_client(layout) as client:
        if client is None:
            yield Check("api server", "Bad", f"does not answer; see {layout.logs}")
            return
        yield Check("api server", "Good", client.server())
        try:
            views = settle.read(client, None)
        except CommandError as error:
            yield Check("kinds", "Bad", str(error))
            return
    late = [str(view.key) for view in views if view.state != "Ready"]
    found = f"{len(views) - len(late)} of {len(views)} Ready"
    yield Check("objects", "Note" if late else "Good", "; ".join([found, *late[:5]]))
