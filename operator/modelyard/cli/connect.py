"""Which API server a command talks to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelyard.cli.client import Client, default_kubeconfig
from modelyard.cli.faults import CommandError
from modelyard.cli.layout import Layout, find_project


@dataclass(frozen=True)
class Connection:
    """An API server and, where it is a project's own, the project."""

    client: Client
    layout: Layout | None


@contextmanager
def connect(kubeconfig: Path | None, directory: Path) -> Iterator[Connection]:
    """Open a connection to the API server that is asked.

    It is the one of `kubeconfig` where given, else that of the project in or around `directory`,
    else the one kubectl would use.

    Raises:
        CommandError: none of them is there.
    """
    layout = find_project(directory)
    path = kubeconfig or _kubeconfig(layout, directory)
    if not path.is_file():
        raise CommandError(f"{path}: no such kubeconfig")
    own = layout is not None and layout.kubeconfig.resolve() == path.resolve()
    with closing(Client(path)) as client:
        yield Connection(client, layout if own else None)


def _kubeconfig(layout: Layout | None, directory: Path) -> Path:
    if layout is not None and layout.kubeconfig.is_file():
        return layout.kubeconfig
    usual = default_kubeconfig()
    if usual is None:
        raise CommandError(
            f"no plane in {directory.resolve()} or above, and no kubeconfig; "
            "start one with `modelyard up DIR`, or name one with -C DIR or --kubeconfig FILE"
        )
    return usual


@contextmanager
def running_client(layout: Layout) -> Iterator[Client | None]:
    """Open a connection to a project's own API server; None when it does not answer."""
    with closing(Client(layout.kubeconfig)) as client:
        yield client if layout.kubeconfig.is_file() and client.is_ready() else None
