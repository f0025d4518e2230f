"""Wires the stand-ins together and runs them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from modelyard.embedded.client import Client
from modelyard.embedded.standins.activator import Activator
from modelyard.embedded.standins.context import Context
from modelyard.embedded.standins.controller import Controller
from modelyard.embedded.standins.crds import crds
from modelyard.embedded.standins.cronworkflows import CronWorkflows
from modelyard.embedded.standins.inferenceservices import InferenceServices
from modelyard.embedded.standins.processes import ProcessTable
from modelyard.embedded.standins.rayjobs import RayJobs
from modelyard.embedded.standins.sockets import ServingSockets
from modelyard.embedded.standins.workflows import Workflows


class AlreadyRunning(Exception):
    """Other stand-ins run on this state directory."""


def ready_file(state_dir: Path) -> Path:
    """Return the file that is there once kinds are installed and all objects looked at."""
    return state_dir / "standins" / "ready"


async def run(kubeconfig: Path, state_dir: Path, allowed_modules: Sequence[str]) -> None:
    """Run the stand-ins until cancelled, then stop everything they run.

    Raises:
        AlreadyRunning: others run on this state directory.
    """
    state_dir = state_dir.resolve()
    with _lock(state_dir / "standins"):
        ready_file(state_dir).unlink(missing_ok=True)
        async with Client(kubeconfig) as client:
            controller = Controller(client)
            processes = ProcessTable(state_dir, controller.wake)
            sockets = ServingSockets(state_dir)
            activator = Activator(controller.wake)
            context = Context(client, processes, sockets, activator, allowed_modules)
            processes.adopt()
            try:
                await controller.install(crds())
                await controller.run(
                    context,
                    [
                        Workflows(context),
                        CronWorkflows(context),
                        RayJobs(context),
                        InferenceServices(context),
                    ],
                    ready_file(state_dir).touch,
                )
            finally:
                await processes.stop_all()
                processes.close()
                activator.close()
                sockets.close()


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Hold the directory's lock; the kernel lets go of it with the process."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyRunning(f"other stand-ins run on {directory}") from error
        yield
