"""The logs of what runs: one folder for each child object, one file for each of its processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelyard.cli.client import Object
from modelyard.cli.layout import Layout


def files_of(layout: Layout, child: Object) -> list[Path]:
    """Return the logs of a child, oldest first; those of a CronWorkflow's Workflows are its own."""
    metadata = child["metadata"]
    folder = layout.logs / metadata["namespace"]
    own = [*folder.glob(f"{metadata['name']}/*.log")]
    if child["kind"] == "CronWorkflow":
        own += folder.glob(f"{metadata['name']}-*/*.log")
    return sorted(own, key=lambda path: (path.stat().st_mtime_ns, path.name))


def of_process(layout: Layout, name: str) -> list[Path]:
    """Return the logs of a part of the plane, for example `operator`."""
    found = [*layout.logs.glob(f"{name}.log*"), *layout.logs.glob(f"{name}/*.log")]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def processes(layout: Layout) -> list[str]:
    """Return the parts of the plane that have logs."""
    return sorted({path.name.partition(".log")[0] for path in layout.logs.glob("*.log*")})


def tail(path: Path, lines: int) -> Iterator[str]:
    """Yield the last lines of a file."""
    text = path.read_text(encoding="utf-8", errors="replace")
    yield from text.splitlines()[-lines:]
