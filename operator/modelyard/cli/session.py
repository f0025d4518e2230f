"""One `modelyard up`: validate, start or find the plane, wait for the follower, show, stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from modelyard.cli import manifests, output, plane, settle, state, validate, viewer
from modelyard.cli.client import Client
from modelyard.cli.faults import CommandError, Exit
from modelyard.cli.layout import Layout, read_json
from modelyard.cli.manifests import Tree
from modelyard.cli.output import Format
from modelyard.cli.settle import Settled

APPLY_SECONDS = 90.0
VIEW_SECONDS = 0.5
_STARTED = "Ctrl-C stops everything"
_WATCHED = "Ctrl-C ends this view of a plane that ran before; `modelyard down` stops it"
STARTING_SECONDS = 3.0
"""A supervisor that was just started may take this long to be found."""


@dataclass(frozen=True)
class Mode:
    """How `up` was asked to behave."""

    wait: bool
    detach: bool
    timeout: float
    opa_url: str | None
    format: Format


def up(directory: Path, mode: Mode) -> Exit:
    """Run `modelyard up`.

    Raises:
        CommandError: the plane does not start, or the tree cannot be applied.
    """
    layout = Layout(validate.judge_or_fail(directory).tree.directory)
    with (
        _interruptible(),
        _plane(layout, mode) as at_the_end,
        closing(Client(layout.kubeconfig)) as client,
    ):
        tree = _applied(layout)
        output.say(f"kubeconfig: {layout.kubeconfig}")
        if mode.detach and not mode.wait:
            views = settle.read(client, tree.namespaces())
            _show(Settled(True, "applied", tuple(views)), layout, mode)
            return Exit.OK
        exit_status = _watch(client, tree, layout, mode)
        if not mode.wait:
            output.say(f"following the directory; {at_the_end}")
            _follow(client, layout)
        return exit_status


def _watch(client: Client, tree: Tree, layout: Layout, mode: Mode) -> Exit:
    keys = [manifest.key for manifest in tree.manifests if manifest.ours]
    timeout = mode.timeout if mode.wait else float("inf")
    with viewer.Viewer(layout) as watching:
        settled = settle.wait(client, keys, timeout, watching)
    _show(settled, layout, mode)
    if not settled.ready:
        output.say(settled.message)
    return Exit.OK if settled.ready else Exit.FAILED


def _follow(client: Client, layout: Layout) -> None:
    """Show changes until interrupted."""
    said: list[str] = []
    with viewer.Viewer(layout) as watching:
        while True:
            found = state.unapplied(layout)
            for reason in found:
                if reason not in said:
                    output.say(f"not applied: {reason}")
            said = found
            tree = manifests.load(layout.directory)
            try:
                watching(settle.read(client, tree.namespaces()))
            except CommandError as error:
                output.say(str(error))
            time.sleep(VIEW_SECONDS)


@contextmanager
def _plane(layout: Layout, mode: Mode) -> Iterator[str]:
    """Have a plane; afterwards stop it when this `up` started it and was not asked to leave it."""
    found = plane.running(layout)
    stays = mode.detach or found is not None
    try:
        if found is None:
            try:
                plane.start(layout, mode.opa_url)
            except CommandError:
                # Nothing of ours is left: what may run there, another `up` started just before.
                stays = True
                raise
        yield _WATCHED if stays else _STARTED
    finally:
        if not stays:
            output.say("stopping")
            _stop(layout)


def _stop(layout: Layout) -> None:
    """Stop the plane, deaf to a second Ctrl-C; one that is only just starting is waited for."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        deadline = time.monotonic() + STARTING_SECONDS
        while (found := plane.running(layout)) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        if found is not None:
            found.stop()
    finally:
        signal.signal(signal.SIGINT, before)


def _applied(layout: Layout) -> Tree:
    """Wait until the follower has applied the tree as it is now, and return that tree.

    Raises:
        CommandError: an object was refused, or nothing was applied in time.
    """
    deadline = time.monotonic() + APPLY_SECONDS
    while time.monotonic() < deadline:
        tree = manifests.load(layout.directory)
        done = read_json(layout.follower)
        if done.get("digest") == tree.digest():
            failed = [result for result in done["results"] if result["action"] == "Failed"]
            if not failed:
                return tree
            deadline = min(deadline, time.monotonic() + settle.GRACE_SECONDS)
        time.sleep(0.2)
    cause = "\n".join(state.unapplied(layout)) or f"nothing was applied in {APPLY_SECONDS:.0f} s"
    raise CommandError(f"{cause}\nsee {layout.logs}")


def _show(settled: Settled, layout: Layout, mode: Mode) -> None:
    views = list(settled.views)
    if mode.format is Format.JSON:
        output.show_json(
            {
                "directory": str(layout.directory),
                "kubeconfig": str(layout.kubeconfig),
                "revision": read_json(layout.follower).get("revision"),
                "ready": settled.ready,
                "message": settled.message,
                **state.document(views),
            }
        )
        return
    console = output.stdout()
    for part in viewer.summary(views, layout):
        console.print(part, markup=False) if isinstance(part, str) else console.print(part)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let signals end `up` with everything stopped; a shell may have let Ctrl-C be ignored."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
