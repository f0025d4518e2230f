"""Where a project keeps what runs: everything lies under `.modelyard` in its directory."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE = ".modelyard"


@dataclass(frozen=True)
class Layout:
    """The paths of one project."""

    directory: Path

    @property
    def state(self) -> Path:
        """State of the plane: database, logs, artifacts."""
        return self.directory / STATE

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the project's API server."""
        return self.state / "kubeconfig"

    @property
    def store(self) -> Path:
        """Root of the artifact store."""
        return self.state / "artifacts"

    @property
    def logs(self) -> Path:
        """Logs of everything that runs."""
        return self.state / "logs"

    @property
    def follower(self) -> Path:
        """What the follower did last."""
        return self.state / "follower.json"


def find_project(start: Path) -> Layout | None:
    """Return the project whose directory is `start` or above it, None outside a project."""
    for directory in (start.resolve(), *start.resolve().parents):
        if (directory / STATE).is_dir():
            return Layout(directory)
    return None


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace a JSON file so that readers see the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=2)
    Path(name).replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return the document in a JSON file, an empty one when there is none."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document
