"""Waits for objects: until all are Ready, one needs somebody, or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from modelyard.api.resources import Key
from modelyard.cli.client import Client, Unreachable, our_objects
from modelyard.cli.state import View

GRACE_SECONDS = 4.0
"""An object may look stalled for a moment, while what it refers to is still being applied."""
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Settled:
    """How waiting ended; the message names the objects that are not Ready and why."""

    ready: bool
    message: str
    views: tuple[View, ...]


def read(client: Client, namespaces: list[str] | None) -> list[View]:
    """Return all objects of our kinds in namespaces."""
    return [View(body) for body in our_objects(client, namespaces)]


def wait(
    client: Client,
    keys: Iterable[Key],
    timeout: float,
    watching: Callable[[list[View]], None],
) -> Settled:
    """Wait until the objects settle.

    Args:
        client: The API server.
        keys: The objects that must become Ready.
        timeout: Longest time to wait, in seconds.
        watching: Called with all objects each time they were read.
    """
    wanted = set(keys)
    namespaces = sorted({key.namespace for key in wanted})
    deadline = time.monotonic() + timeout
    stalled_since: float | None = None
    views: list[View] = []
    while True:
        try:
            views = read(client, namespaces)
        except Unreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
            continue
        watching(views)
        mine = {view.key: view for view in views if view.key in wanted}
        if len(mine) == len(wanted) and all(view.state == "Ready" for view in mine.values()):
            return Settled(True, f"all {len(mine)} objects are Ready", tuple(views))
        now = time.monotonic()
        stalled = [view for view in mine.values() if view.needs_somebody]
        stalled_since = (stalled_since or now) if stalled else None
        if stalled_since is not None and now - stalled_since > GRACE_SECONDS:
            return Settled(False, _explain(stalled), tuple(views))
        if now > deadline:
            late = [view for view in mine.values() if view.state != "Ready"]
            missing = [f"{key} is not there" for key in sorted(wanted - mine.keys())]
            text = "\n".join(
                [
                    f"not Ready after {timeout:.0f} s; --timeout waits longer:",
                    _explain(late),
                    *missing,
                ]
            )
            return Settled(False, text, tuple(views))
        time.sleep(POLL_SECONDS)


def _explain(views: list[View]) -> str:
    return "\n".join(f"{view.key}: {view.reason}: {view.message}" for view in views)
