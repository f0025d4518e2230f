"""plane.json: what a supervisor runs at the moment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.embedded.procfs import ProcessId, boot_id, is_running
from modelyard.embedded.supervisor.process import Layout, write_json


@dataclass(frozen=True)
class ProcessState:
    """One process of a plane.

    Attributes:
        name: Its name.
        id: Its pid and start time; None while it waits to be started, first or again.
        restarts: How often it has been started again.
        log: File of its output.
    """

    name: str
    id: ProcessId | None
    restarts: int
    log: Path

    @property
    def running(self) -> bool:
        """Return whether it runs."""
        return self.id is not None and is_running(self.id)


@dataclass(frozen=True)
class PlaneRecord:
    """A supervisor and its processes, in the order they start."""

    supervisor: ProcessId
    processes: tuple[ProcessState, ...]


def write_record(layout: Layout, record: PlaneRecord) -> None:
    """Write plane.json."""
    document: dict[str, Any] = {
        "boot": boot_id(),
        "pid": record.supervisor.pid,
        "startTime": record.supervisor.start_time,
        "kubeconfig": str(layout.kubeconfig),
        "processes": [
            {
                "name": process.name,
                "pid": process.id.pid if process.id else None,
                "startTime": process.id.start_time if process.id else None,
                "restarts": process.restarts,
                "log": str(process.log),
            }
            for process in record.processes
        ],
    }
    write_json(layout.plane, document)


def read_record(layout: Layout) -> PlaneRecord | None:
    """Return what plane.json says, or None when there is none of this boot of the machine."""
    try:
        document = json.loads(layout.plane.read_text())
    except (OSError, ValueError):
        return None
    if document["boot"] != boot_id():
        return None
    return PlaneRecord(
        supervisor=ProcessId(document["pid"], document["startTime"]),
        processes=tuple(
            ProcessState(
                name=one["name"],
                id=ProcessId(one["pid"], one["startTime"]) if one["pid"] else None,
                restarts=one["restarts"],
                log=Path(one["log"]),
            )
            for one in document["processes"]
        ),
    )
