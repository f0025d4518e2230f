"""Starts, finds and stops what runs on this machine for one project."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime

from modelyard.api.meta import GROUP
from modelyard.api.resources import OURS
from modelyard.cli.faults import CommandError
from modelyard.cli.layout import Layout
from modelyard.embedded.plane import Plane, PlaneError, Process, attach
from modelyard.embedded.plane import start as start_plane
from modelyard.embedded.standins.requests import IDLE_QUERY, METRICS_URL
from modelyard.judge.ended import without_servers

OPERATOR = "operator"
FOLLOWER = "follower"


def running(layout: Layout) -> Plane | None:
    """Return the project's plane when it runs."""
    return attach(layout.state)


def start(layout: Layout, opa_url: str | None = None) -> Plane:
    """Start the API server, the stand-ins, the operator and the follower of a project.

    Raises:
        CommandError: it does not come up; the message names the log.
    """
    try:
        layout.store.mkdir(parents=True, exist_ok=True)
        layout.follower.unlink(missing_ok=True)
        _withdraw_readiness(layout)
        operator = [_operator(layout, opa_url)]
        return start_plane(layout.state, operator, early=[_follower(layout)])
    except (OSError, PlaneError) as error:
        raise CommandError(f"{error}\nsee {layout.logs}") from error


def _withdraw_readiness(layout: Layout) -> None:
    """Have no Deployment claim to serve before its servers answer: they ended with their plane."""
    from modelyard.embedded.apiserver.offline import amend
    from modelyard.embedded.apiserver.server import FolderInUseError

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # An API server that outlived its plane is ended by the next one; nobody can change what it has.
    with contextlib.suppress(FolderInUseError):
        amend(
            layout.state / "apiserver",
            f"{OURS['Deployment'].plural}.{GROUP}",
            lambda deployment: without_servers(deployment, now),
        )


def _operator(layout: Layout, opa_url: str | None) -> Process:
    command = [
        sys.executable, "-m", "modelyard.plane", "--kubeconfig", str(layout.kubeconfig),
        "--artifact-store", layout.store.as_uri(),
        "--prometheus-url", METRICS_URL, "--idle-requests-query", IDLE_QUERY,
    ]  # fmt: skip
    return Process(OPERATOR, [*command, "--opa-url", opa_url] if opa_url else command)


def _follower(layout: Layout) -> Process:
    command = [
        sys.executable, "-m", "modelyard.cli.follower", str(layout.directory),
        "--kubeconfig", str(layout.kubeconfig),
    ]  # fmt: skip
    return Process(FOLLOWER, command)
