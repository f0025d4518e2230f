"""Starting the server as a process of its own, and stopping it."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class StartError(Exception):
    """The server did not start; the message holds the end of its log."""


@dataclass(frozen=True)
class ServerProcess:
    """A running API server.

    Attributes:
        url: Where it listens, `https://127.0.0.1:<port>`.
        kubeconfig: The kubeconfig for clients.
        data_dir: Where it keeps everything.
        log: Where it writes its log.
        process: The operating system's process.
    """

    url: str
    kubeconfig: Path
    data_dir: Path
    log: Path
    process: subprocess.Popen[str]

    @property
    def token(self) -> str:
        """The bearer token."""
        return (self.data_dir / "token").read_text()

    @property
    def authority(self) -> Path:
        """The PEM file to verify the server's certificate by."""
        return self.data_dir / "ca.crt"

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self.process.poll() is None

    def stop(self, grace: float = 10.0) -> int:
        """End the server in order; after `grace` seconds end it the hard way.

        Returns:
            The exit status, negative for a signal.
        """
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(grace)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End the server at once (SIGKILL). Nothing that it acknowledged is lost."""
        self.process.kill()
        return self.process.wait()


def start(data_dir: Path, port: int = 0, options: Sequence[str] = ()) -> ServerProcess:
    """Start a server and wait until clients can connect.

    Args:
        data_dir: Where it keeps everything; created if need be.
        port: The TCP port; 0 takes the one that the folder had before, or any free one.
        options: More command line options of the server.

    Returns:
        The running server.

    Raises:
        StartError: If it ends before it listens.
    """
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = data_dir / "apiserver.log"
    command = [
        sys.executable, "-m", "modelyard.embedded.apiserver",
        "--data-dir", str(data_dir), "--port", str(port), *options,
    ]  # fmt: skip
    with log.open("a") as sink:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=sink, text=True
        )
    assert process.stdout is not None  # noqa: S101 - asked for above
    with process.stdout:
        line = process.stdout.readline()
    if not line:
        status = process.wait()
        last = log.read_text().strip().splitlines()[-1:]
        raise StartError(f"the API server exited with status {status}: {' '.join(last)} ({log})")
    announced = json.loads(line)
    return ServerProcess(announced["url"], Path(announced["kubeconfig"]), data_dir, log, process)
