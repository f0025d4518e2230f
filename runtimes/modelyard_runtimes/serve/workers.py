"""Several server processes on one socket: a parent forks them, restarts and ends them.

The parent forks before anything heavy is loaded, and never answers a request itself. All workers
accept on the same socket. A worker that dies is replaced; one that dies before it was ever ready
ends the whole server, since the next would die of the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

from modelyard_runtimes.entry import log
from modelyard_runtimes.serve.sockets import NOTIFY_VARIABLE, READY, notify_ready

RESTART_SECONDS = 1.0


class Workers:
    """The worker processes of one parent."""

    def __init__(self, count: int, work: Callable[[], None]) -> None:
        """Prepare, starting nothing.

        Args:
            count: Number of workers.
            work: Serves until it is told to end; runs in each worker.
        """
        self._count = count
        self._work = work
        self._running: set[int] = set()
        self._stopping = False
        self._first_end = 0
        self._ready_reader, self._ready_writer = os.pipe()

    def run(self) -> int:
        """Run until told to end; return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for _ in range(self._count):
            self._start()
        if not self._all_ready():
            self._stop(signal.SIGTERM, None)
            self._wait()
            return self._first_end or 1
        notify_ready()
        while self._running:
            self._reap()
            if not self._stopping and len(self._running) < self._count:
                log.error("a worker ended; starting another")
                time.sleep(RESTART_SECONDS)
                if not self._stopping:
                    self._start()
        return 0

    def _start(self) -> None:
        process = os.fork()
        if process:
            self._running.add(process)
            if self._stopping:  # told to end while it was being started
                _terminate(process)
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.environ[NOTIFY_VARIABLE] = str(self._ready_writer)
        status = 1
        try:
            self._work()
            status = 0
        except SystemExit as end:
            log.error("worker: %s", end.code)
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            log.exception("worker")
        finally:
            os._exit(status)

    def _all_ready(self) -> bool:
        """Return whether all workers became ready; false when one ended before."""
        os.set_blocking(self._ready_reader, False)
        told = b""
        while told.count(READY) < self._count and not self._stopping:
            try:
                told += os.read(self._ready_reader, 4096)
            except BlockingIOError:
                time.sleep(0.02)
            process, status = os.waitpid(-1, os.WNOHANG)
            if process:
                self._running.discard(process)
                self._first_end = max(os.waitstatus_to_exitcode(status), 0)
                return False
        return not self._stopping

    def _reap(self) -> None:
        process, _ = os.waitpid(-1, 0)
        self._running.discard(process)

    def _wait(self) -> None:
        while self._running:
            self._reap()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        for process in list(self._running):
            _terminate(process)


def _terminate(process: int) -> None:
    """Ask a worker to end; it may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
