"""Starts, finds and stops an embedded plane: its API server, its stand-ins, its supervisor.

`start` begins one in the background, `attach` finds the one that runs for a state directory.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from modelyard.embedded.kubeconfig import KubeconfigError, read_kubeconfig
from modelyard.embedded.procfs import ProcessId, identify, is_running, kill_session, send_signal
from modelyard.embedded.supervisor.process import Layout, Process, core_processes, write_json
from modelyard.embedded.supervisor.record import ProcessState, read_record

__all__ = ["Plane", "PlaneError", "Process", "ProcessState", "attach", "start", "sweep"]

START_SECONDS = 60.0
"""How long a plane may take until its API answers, on a busy machine."""
STOP_SECONDS = 90.0
"""How long a plane may take to stop until it is killed."""

_POLL_SECONDS = 0.03


class PlaneError(Exception):
    """A plane did not start or runs already; the message says what to do."""


@dataclass(frozen=True)
class Plane:
    """A running plane."""

    state_dir: Path
    supervisor: ProcessId

    @property
    def kubeconfig(self) -> Path:
        """Return the path of the kubeconfig."""
        return Layout(self.state_dir).kubeconfig

    @property
    def running(self) -> bool:
        """Return whether its supervisor runs."""
        return is_running(self.supervisor)

    def processes(self) -> list[ProcessState]:
        """Return its processes, in the order they were started; empty when it has stopped."""
        record = read_record(Layout(self.state_dir))
        return list(record.processes) if record else []

    def stop(self) -> None:
        """Stop everything that belongs to the plane, runs and model servers too, and wait."""
        processes = self.processes()
        if send_signal(self.supervisor, signal.SIGTERM):
            _wait_for_end(self.supervisor, STOP_SECONDS)
        for process in (self.supervisor, *[one.id for one in processes if one.id]):
            kill_session(process)
        _reap(self.supervisor.pid)
        sweep(self.state_dir)


def start(
    state_dir: Path,
    extra: Sequence[Process] = (),
    allowed_modules: Sequence[str] = (),
    early: Sequence[Process] = (),
) -> Plane:
    """Start a plane in the background and wait until its API answers and its kinds are there.

    Args:
        state_dir: Where it keeps its state; made when missing.
        extra: Processes to run beside the API server and the stand-ins, in this order.
        allowed_modules: Patterns of modules that containers may run; Modelyard's runtimes when
            empty.
        early: Processes that need the API server only, so that they start beside the stand-ins.

    Raises:
        PlaneError: one runs already, or it did not come up; then nothing of it is left.
    """
    state_dir = state_dir.resolve()
    if (running := attach(state_dir)) is not None:
        raise PlaneError(
            f"a plane already runs for {state_dir} (process {running.supervisor.pid}); "
            "use it, or stop it first"
        )
    layout = Layout(state_dir)
    layout.prepare()
    api_server, stand_ins = core_processes(state_dir, allowed_modules)
    processes = [api_server, *early, stand_ins, *extra]
    write_json(layout.processes, [process.to_json() for process in processes])
    (state_dir / "standins" / "ready").unlink(missing_ok=True)
    return _await_start(layout, _spawn_supervisor(layout))


def attach(state_dir: Path) -> Plane | None:
    """Return the plane that runs for a state directory, or None."""
    state_dir = state_dir.resolve()
    record = read_record(Layout(state_dir))
    if record is None or not is_running(record.supervisor):
        return None
    return Plane(state_dir, record.supervisor)


def sweep(state_dir: Path) -> None:
    """Kill runs and model servers that a killed plane has left behind.

    Raises:
        PlaneError: the plane runs.
    """
    from modelyard.embedded.standins.attempts import kill_all  # noqa: PLC0415 - seldom needed

    if attach(state_dir) is not None:
        raise PlaneError(f"the plane of {state_dir} runs; stop it instead")
    kill_all(state_dir.resolve())


def _spawn_supervisor(layout: Layout) -> int:
    """Start the supervisor in a session of its own, so that no terminal's signal reaches it."""
    log = str(layout.log("supervisor"))
    return os.posix_spawn(
        sys.executable,
        [
            *(sys.executable, "-m", "modelyard.embedded.supervisor"),
            *("--state-dir", str(layout.state_dir)),
        ],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _await_start(layout: Layout, pid: int) -> Plane:
    supervisor = identify(pid)
    plane = Plane(layout.state_dir, supervisor)
    ready = layout.state_dir / "standins" / "ready"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not plane.running:
            _reap(pid)
            raise PlaneError(f"the plane did not start:\n{_tail(layout.log('supervisor'))}")
        if attach(layout.state_dir) == plane and ready.exists() and _answers(plane.kubeconfig):
            return plane
        time.sleep(_POLL_SECONDS)
    plane.stop()
    logs = "\n".join(_tail(layout.log(name)) for name in ("supervisor", "apiserver", "standins"))
    raise PlaneError(f"the API did not answer within {START_SECONDS:.0f} s:\n{logs}")


def _reap(pid: int) -> None:
    """Let a supervisor that has ended go, if this process started it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _answers(kubeconfig: Path) -> bool:
    try:
        endpoint = read_kubeconfig(kubeconfig)
        url = urlsplit(endpoint.server)
        connection = HTTPConnection(url.netloc, timeout=5)
        if isinstance(endpoint.tls, ssl.SSLContext):
            connection = HTTPSConnection(url.netloc, timeout=5, context=endpoint.tls)
        with contextlib.closing(connection):
            connection.request("GET", "/readyz", headers=dict(endpoint.headers))
            return connection.getresponse().status == 200
    except (OSError, HTTPException, KubeconfigError):
        return False


def _wait_for_end(process: ProcessId, seconds: float) -> None:
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(seconds * 1000)
    finally:
        os.close(pidfd)


def _tail(log: Path, lines: int = 20) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return f"{log}: no log"
