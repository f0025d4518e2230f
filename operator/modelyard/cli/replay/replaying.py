"""Replays the recorded runs of a commit into a fresh folder; what is recorded is only read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.api.resources import Key
from modelyard.cli import output
from modelyard.cli.connect import running_client
from modelyard.cli.faults import CommandError, writing
from modelyard.cli.layout import Layout, find_project
from modelyard.cli.manifests import project_directory
from modelyard.cli.replay.commit import committed_project
from modelyard.cli.replay.places import Places
from modelyard.cli.replay.process import check_installed
from modelyard.cli.replay.recorded import (
    NotRecorded,
    RecordedSnapshot,
    find_search,
    find_snapshot,
)
from modelyard.cli.replay.report import Report
from modelyard.cli.replay.search import replay_search
from modelyard.cli.replay.snapshot import replay_snapshot
from modelyard.ports.artifacts import StoreUnavailable


@dataclass(frozen=True)
class Request:
    """What is to be replayed.

    Attributes:
        commit: Any name of a commit.
        wanted: Kind, name and namespace of one object; all when unset.
        namespace: Only objects of this namespace; of all when unset.
        directory: Folder of the project.
        into: New or empty folder to replay into and leave; a temporary one when unset.
    """

    commit: str
    wanted: tuple[str, str, str | None] | None
    namespace: str | None
    directory: Path
    into: Path | None


@dataclass(frozen=True)
class Result:
    """The commit by its full name, and what was found of each run."""

    commit: str
    reports: list[Report]


def replay(request: Request) -> Result:
    """Replay the recorded runs of a commit.

    Raises:
        CommandError: nothing can be replayed; the message says why and what to do.
    """
    check_installed()
    start = project_directory(request.directory)
    layout = find_project(start) or Layout(start)
    with _fresh_folder(request.into) as folder, running_client(layout) as client:
        project = committed_project(layout.directory, request.commit, folder / "commit")
        replayer = Replayer(Places(project, layout, client, folder))
        keys = project.objects(request.wanted, request.namespace)
        return Result(project.commit, [replayer.report(key) for key in keys])


@contextmanager
def _fresh_folder(into: Path | None) -> Iterator[Path]:
    if into is None:
        with tempfile.TemporaryDirectory(prefix="modelyard-replay-") as name:
            yield Path(name).resolve()
        return
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise CommandError(f"{into}: not an empty folder; name a new one")
    with writing(into, "name a new folder", "--into"):
        into.mkdir(parents=True, exist_ok=True)
    yield into.resolve()


@dataclass
class Replayer:
    """Replays runs of one commit, each from what is recorded of its own input."""

    places: Places
    snapshots: dict[Key, RecordedSnapshot] = field(default_factory=dict)

    def report(self, key: Key) -> Report:
        """Replay the run of an object and compare."""
        output.say(f"replaying {key}")
        project, recorded = self.places.project, self.places.recorded(key.namespace)
        try:
            if key.kind == "Dataset":
                return replay_snapshot(key, self._snapshot(key), self.places)
            data = self._snapshot(project.dataset_of(key)).record
            return replay_search(key, find_search(key, project, recorded, data), self.places)
        except (NotRecorded, StoreUnavailable) as error:
            return Report(key, "NotCompared", str(error))

    def _snapshot(self, key: Key) -> RecordedSnapshot:
        if key not in self.snapshots:
            recorded = self.places.recorded(key.namespace)
            self.snapshots[key] = find_snapshot(key, self.places.project, recorded)
        return self.snapshots[key]
