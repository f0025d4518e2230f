"""What is on disk about each process that the stand-ins started: enough to go on after any crash.

    <state>/standins/processes/<uid>/<n>.json   the intent: who it is for, when, its log
                                     <n>.pid    written once by the process, before it starts
                                     <n>.ready  READY=1, written by a server that can answer
                                     <n>.stop   why it was told to stop
                                     <n>.exit   its exit code, the last word
    <state>/logs/<namespace>/<name>/<n>.log     its output

A process runs under a shell of five lines that claims `<n>.pid` exclusively, runs the command and
writes `<n>.exit`. So an intent becomes at most one process, however often the stand-ins die between
writing it and hearing of the process, and its exit code survives them.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.embedded.procfs import (
    ProcessId,
    boot_id,
    is_running,
    kill_session,
    parse_stat,
)

KILLED = 137
"""Exit code of a process killed by SIGKILL, and of one whose fate is unknown."""

CANNOT_START = 126
"""Exit code of a process that the kernel refused to start."""

INTERRUPTED = "interrupted"
"""Stop reason of a process that never started or was stopped with the whole plane."""

KEEPER = """
set -C
read -r stat </proc/$$/stat
(echo "$stat" >"$0.pid") 2>/dev/null || exit 75
set +C
trap : TERM INT HUP
"$@"
code=$?
echo "$code" >"$0.tmp" && mv -f "$0.tmp" "$0.exit"
"""
"""The shell around a process: `sh -c KEEPER <path without suffix> <command...>`.

Its traps do nothing but keep it alive through a SIGTERM until the command has ended; a child does
not inherit them.
"""


@dataclass(frozen=True)
class Owner:
    """The object a process runs for."""

    uid: str
    kind: str
    namespace: str
    name: str


@dataclass
class Attempt:
    """One process, running or over.

    Attributes:
        owner: The object it runs for.
        number: Counts the owner's processes from 0.
        started_at: Seconds since the epoch.
        log: File of its output.
        labels: What the reconciler wants to find again, as JSON.
        process: The shell around it; None until it is known.
        exit_code: As a shell reports it (128 + signal); None while it runs.
        finished_at: Seconds since the epoch; None while it runs.
    """

    owner: Owner
    number: int
    started_at: float
    log: Path
    base: Path
    labels: dict[str, Any] = field(default_factory=dict)
    boot: str = ""
    process: ProcessId | None = None
    exit_code: int | None = None
    finished_at: float | None = None

    @property
    def running(self) -> bool:
        """Return whether its end is not yet known."""
        return self.exit_code is None

    @property
    def ready(self) -> bool:
        """Return whether the server has said that it can answer."""
        return self._file("ready").exists() and "READY=1" in self._file("ready").read_text()

    @property
    def ready_file(self) -> Path:
        """Return the file that a server writes its readiness to."""
        return self._file("ready")

    @property
    def stop_reason(self) -> str | None:
        """Return why it was told to stop, or None."""
        try:
            return self._file("stop").read_text()
        except FileNotFoundError:
            return None

    def tail(self, limit: int = 2000) -> str:
        """Return the last characters of its output, at most `limit`, in whole lines."""
        try:
            with self.log.open("rb") as file:
                file.seek(0, os.SEEK_END)
                start = max(0, file.tell() - limit)
                file.seek(start)
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return (text.partition("\n")[2] if start else text).strip()

    def save(self) -> None:
        """Write the intent, before the process starts."""
        self.base.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        document = {
            "owner": vars(self.owner),
            "startedAt": self.started_at,
            "log": str(self.log),
            "labels": self.labels,
            "boot": self.boot,
        }
        write_atomically(self._file("json"), json.dumps(document))

    def mark_stopped(self, reason: str) -> None:
        """Remember why it is told to stop; the first reason stays."""
        if self.stop_reason is None:
            write_atomically(self._file("stop"), reason)

    def find_process(self) -> ProcessId | None:
        """Return the shell around it, or None when it never started and never will.

        Claims the pid file when the shell has not: a late shell then gives up.
        """
        path = self._file("pid")
        try:
            with path.open("x") as file:
                file.write("never started")
        except FileExistsError:
            self.process = _read_process(path)
        return self.process

    def is_alive(self) -> bool:
        """Return whether its shell runs."""
        return self.boot == boot_id() and self.process is not None and is_running(self.process)

    def finish(self, unknown: int = KILLED) -> None:
        """Kill what is left of its session and settle the exit code, `unknown` if it left none."""
        if self.process is not None and self.boot == boot_id():
            kill_session(self.process)
        path = self._file("exit")
        if not path.exists():
            write_atomically(path, f"{unknown}\n")
        self.exit_code = int(path.read_text())
        self.finished_at = path.stat().st_mtime

    def remove(self) -> None:
        """Delete its files and its log."""
        for suffix in ("json", "pid", "ready", "stop", "tmp", "exit"):
            self._file(suffix).unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)

    def _file(self, suffix: str) -> Path:
        return self.base.with_name(f"{self.base.name}.{suffix}")


def _read_process(path: Path) -> ProcessId | None:
    # The shell creates the file and then writes it: the line may be a moment away.
    for _ in range(100):
        text = path.read_text()
        if text:
            break
        time.sleep(0.01)
    try:
        return parse_stat(text).id
    except ValueError:
        return None


def counted(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts that count as tries: not those interrupted."""
    return [
        attempt
        for attempt in attempts
        if attempt.running or attempt.exit_code == 0 or attempt.stop_reason != INTERRUPTED
    ]


def new_attempt(
    state_dir: Path, owner: Owner, number: int, labels: dict[str, Any], now: float
) -> Attempt:
    """Return an attempt with its log file made and its intent saved."""
    attempt = Attempt(
        owner=owner,
        number=number,
        started_at=now,
        log=_new_log(log_directory(state_dir, owner.namespace, owner.name), number),
        base=processes_directory(state_dir) / owner.uid / str(number),
        labels=labels,
        boot=boot_id(),
    )
    attempt.save()
    return attempt


def _new_log(directory: Path, number: int) -> Path:
    """Make the log file `<number>.log`, or the next number an earlier object has not taken."""
    directory.mkdir(parents=True, exist_ok=True)
    while True:
        path = directory / f"{number}.log"
        try:
            path.touch(exist_ok=False, mode=0o600)
        except FileExistsError:
            number += 1
        else:
            return path


def load_attempts(state_dir: Path) -> Iterator[Attempt]:
    """Yield all attempts on disk, those of an owner by number, as the disk knows them."""
    intents = processes_directory(state_dir).glob("*/*.json")
    for path in sorted(intents, key=lambda path: (path.parent.name, int(path.stem))):
        document = json.loads(path.read_text())
        attempt = Attempt(
            owner=Owner(**document["owner"]),
            number=int(path.stem),
            started_at=document["startedAt"],
            log=Path(document["log"]),
            base=path.with_suffix(""),
            labels=document["labels"],
            boot=document["boot"],
        )
        attempt.find_process()
        if attempt._file("exit").exists():
            attempt.finish()
        yield attempt


def remove_owner(state_dir: Path, owner: Owner) -> None:
    """Delete what is left of an owner's folders; logs of another owner of that name stay."""
    shutil.rmtree(processes_directory(state_dir) / owner.uid, ignore_errors=True)
    directory = log_directory(state_dir, owner.namespace, owner.name)
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def kill_all(state_dir: Path) -> None:
    """Kill every process that is still on record; for when no stand-ins are left to do it."""
    for attempt in load_attempts(state_dir):
        if attempt.running:
            attempt.mark_stopped(INTERRUPTED)
            attempt.finish()


def log_directory(state_dir: Path, namespace: str, name: str) -> Path:
    """Return the folder of the logs of an object's processes."""
    return state_dir / "logs" / namespace / name


def processes_directory(state_dir: Path) -> Path:
    """Return the folder of the records of processes."""
    return state_dir / "standins" / "processes"


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or what was there before."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)
