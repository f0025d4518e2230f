"""Who runs on this machine, as Linux' /proc tells it.

A process id alone may name another process tomorrow; together with its start time it does not.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


class ProcessId(NamedTuple):
    """A process that cannot be mistaken for a later one with the same pid.

    Attributes:
        pid: Process id.
        start_time: Clock ticks between boot and the start of the process.
    """

    pid: int
    start_time: int


class ProcessStat(NamedTuple):
    """The fields of /proc/<pid>/stat that matter here; see proc(5)."""

    id: ProcessId
    state: str
    parent: int
    session: int
    cpu_seconds: float


def parse_stat(line: str) -> ProcessStat:
    """Return what a line of /proc/<pid>/stat says.

    Raises:
        ValueError: the line is incomplete.
    """
    head, _, tail = line.rpartition(")")
    fields = tail.split()
    if len(fields) < 20:
        raise ValueError("incomplete line of /proc/<pid>/stat")
    process = ProcessId(int(head.split()[0]), int(fields[19]))
    cpu_seconds = (int(fields[11]) + int(fields[12])) / _TICKS
    return ProcessStat(process, fields[0], int(fields[1]), int(fields[3]), cpu_seconds)


def stat(pid: int) -> ProcessStat | None:
    """Return the state of a process, or None when there is none with this pid."""
    try:
        return parse_stat((_PROC / str(pid) / "stat").read_text(errors="replace"))
    except (OSError, ValueError):
        return None


def identify(pid: int) -> ProcessId:
    """Return the identity of a process that is sure to be there: this one, or a child not reaped.

    Raises:
        ProcessLookupError: there is none.
    """
    found = stat(pid)
    if found is None:
        raise ProcessLookupError(f"no process {pid}")
    return found.id


def is_running(process: ProcessId) -> bool:
    """Return whether this very process runs; a zombie does not."""
    found = stat(process.pid)
    return found is not None and found.id == process and found.state not in "ZX"


def session_members(leader: ProcessId) -> list[ProcessStat]:
    """Return the running processes of the session that this process leads or led.

    The id of a session is not given to another one while it has members, so members of a session
    whose leader is gone are still this leader's; none are when another process has its pid.
    """
    current = stat(leader.pid)
    if current is not None and current.id != leader:
        return []
    return [
        found for found in _processes() if found.session == leader.pid and found.state not in "ZX"
    ]


def _processes() -> Iterator[ProcessStat]:
    for name in os.listdir(_PROC):
        if name.isdigit() and (found := stat(int(name))) is not None:
            yield found


def send_signal(process: ProcessId, number: signal.Signals) -> bool:
    """Send a signal to this very process; return whether it was there."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not is_running(process):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def kill_session(leader: ProcessId) -> None:
    """Kill all processes of a session and wait until they are gone, half a second at most.

    Looks again after each round: a member may have forked while the list was read.
    """
    for _ in range(100):
        members = session_members(leader)
        if not members:
            return
        for found in members:
            send_signal(found.id, signal.SIGKILL)
        time.sleep(0.005)


def boot_id() -> str:
    """Return the id of this boot of the machine; start times compare only within one."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
