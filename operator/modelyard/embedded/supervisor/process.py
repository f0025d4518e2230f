"""The processes of a plane, and the files in its state directory that tell of them.

<state>/.gitignore          keeps the whole directory out of git
<state>/kubeconfig          how to reach the API server
<state>/processes.json      what the supervisor is to run
<state>/plane.json          what it runs
<state>/supervisor.lock     held by the supervisor while it lives
<state>/logs/<name>.log     output of each process; logs/<namespace>/ those of runs
<state>/apiserver/, standins/, artifacts/
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Process:
    """A process that the supervisor keeps running.

    Attributes:
        name: Names it in plane.json and its log, `logs/<name>.log`.
        command: Program and arguments.
        environment: Variables on top of the supervisor's own.
        ready: A file that exists once the process after it may start; None not to wait.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the process as JSON."""
        return {**asdict(self), "ready": str(self.ready) if self.ready else None}

    @staticmethod
    def from_json(document: dict[str, Any]) -> Process:
        """Return the process of a JSON document."""
        ready = document["ready"]
        return Process(
            name=document["name"],
            command=document["command"],
            environment=document["environment"],
            ready=Path(ready) if ready else None,
        )


@dataclass(frozen=True)
class Layout:
    """Where things are in a state directory."""

    state_dir: Path

    @property
    def kubeconfig(self) -> Path:
        """Return the kubeconfig that users and processes are given."""
        return self.state_dir / "kubeconfig"

    @property
    def processes(self) -> Path:
        """Return the list of processes to run."""
        return self.state_dir / "processes.json"

    @property
    def plane(self) -> Path:
        """Return the description of the running plane."""
        return self.state_dir / "plane.json"

    @property
    def lock(self) -> Path:
        """Return the file that is locked while a supervisor lives."""
        return self.state_dir / "supervisor.lock"

    def log(self, name: str) -> Path:
        """Return the log of a process."""
        return self.state_dir / "logs" / f"{name}.log"

    @property
    def apiserver(self) -> Path:
        """Return the data directory of the API server."""
        return self.state_dir / "apiserver"

    def prepare(self) -> None:
        """Make the directories, the .gitignore, and the link to the API server's kubeconfig."""
        self.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("apiserver", "logs", "artifacts", "standins"):
            (self.state_dir / name).mkdir(exist_ok=True)
        (self.state_dir / ".gitignore").write_text("*\n")
        if not self.kubeconfig.is_symlink():
            self.kubeconfig.unlink(missing_ok=True)
            self.kubeconfig.symlink_to(Path("apiserver") / "kubeconfig")


def core_processes(state_dir: Path, allowed_modules: Sequence[str]) -> tuple[Process, Process]:
    """Return the API server and the stand-ins of a plane."""
    layout = Layout(state_dir)
    stand_ins = [sys.executable, "-m", "modelyard.embedded.standins"]
    stand_ins += ["--kubeconfig", str(layout.kubeconfig), "--state-dir", str(state_dir)]
    for pattern in allowed_modules:
        stand_ins += ["--allow-module", pattern]
    api_server = [sys.executable, "-m", "modelyard.embedded.apiserver"]
    api_server += ["--data-dir", str(layout.apiserver), "--port", "0"]
    return (
        Process("apiserver", api_server, ready=layout.apiserver / "kubeconfig"),
        Process("standins", stand_ins, ready=state_dir / "standins" / "ready"),
    )


def write_json(path: Path, document: Any) -> None:
    """Write a JSON file, for its owner only, so that a reader sees all of it or the former one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2, sort_keys=True)
    temporary.replace(path)
