"""Keeps an API server in step with a directory: `python -m modelyard.cli.follower DIR`.

It watches the directory, the data its Datasets read, and git's HEAD. Within two seconds of a change
the tree is applied and what vanished from it is pruned. A tree with a fault prunes nothing; its
sound files are applied. What somebody deleted from the API server by hand comes back within
seconds; a field changed by hand stays until its file changes. What was done last stands in
`.modelyard/follower.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import watchfiles

from modelyard.api.crd import crds
from modelyard.api.resources import OURS, Key
from modelyard.cli import apply, manifests, revision, sources, validate
from modelyard.cli.apply import Result
from modelyard.cli.client import Client, key_of, our_objects
from modelyard.cli.faults import CommandError
from modelyard.cli.layout import STATE, Layout, write_json
from modelyard.cli.manifests import Tree
from modelyard.cli.sources import SourceDigests
from modelyard.cli.validate import Judgement

log = logging.getLogger("modelyard.follower")

TICK_MILLISECONDS = 1000
DEBOUNCE_MILLISECONDS = 300
LOOK_SECONDS = 5.0
"""How often it is looked whether all that was applied is still there."""


class Follower:
    """Applies a directory again and again."""

    def __init__(self, layout: Layout, client: Client) -> None:
        """Follow `layout.directory` into the API server of `client`."""
        self._layout = layout
        self._client = client
        self._digests = SourceDigests()
        self._stop = threading.Event()
        self._seen: tuple[tuple[int, int], ...] = ()
        self._applied = False
        self._installed = False
        self._said: set[str] = set()
        self._sources: list[Path] = []
        self._there: set[Key] = set()
        self._looked = time.monotonic()

    def stop(self) -> None:
        """End `run` soon."""
        self._stop.set()

    def run(self) -> None:
        """Apply now and at every change, until stopped."""
        while not self._stop.is_set():
            self.apply_once()
            for _ in self._wakes():
                if self._applied and self._seen == self._signature() and not self._lost():
                    continue
                outside = self._outside
                self.apply_once()
                if outside != self._outside:
                    break

    def apply_once(self) -> None:
        """Judge and apply the directory as it is now; what cannot be done is tried again later."""
        self._seen = self._signature()
        judgement = validate.judge(self._layout.directory)
        self._sources = _sources(judgement.tree)
        origin = apply.origin_of(self._layout.directory, self._digests)
        try:
            self._install_kinds()
            results = apply.apply_tree(judgement, origin, self._client)
        except CommandError as error:
            self._applied = False
            self._say([str(error)], logging.WARNING)
            return
        self._applied = not any(result.action == "Failed" for result in results)
        self._there = {
            result.key
            for result in results
            if result.key.kind in OURS and result.action != "Pruned"
        }
        self._report(judgement, results)
        write_json(
            self._layout.follower,
            {
                "digest": judgement.tree.digest(),
                "revision": origin.checkout.head if origin.checkout else revision.UNVERSIONED,
                "faults": [fault.to_json() for fault in judgement.faults],
                "results": [result.to_json() for result in results],
            },
        )

    def _lost(self) -> bool:
        """Return whether something that was applied is gone; asked now and then only."""
        if time.monotonic() < self._looked + LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        try:
            found = {key_of(body) for body in our_objects(self._client, None)}
        except CommandError:
            return False
        return not self._there <= found

    def _install_kinds(self) -> None:
        """Declare the seven kinds to the API server, once."""
        if self._installed:
            return
        for definition in crds():
            key = Key(definition["kind"], "", definition["metadata"]["name"])
            self._client.apply(definition, key)
        self._installed = True

    def _wakes(self) -> Iterator[None]:
        """Yield soon after every change of a file, and once a second."""
        watched = [self._layout.directory, *(path for path in self._outside if path.exists())]
        for _ in watchfiles.watch(
            *watched,
            watch_filter=self._is_ours,
            debounce=DEBOUNCE_MILLISECONDS,
            stop_event=self._stop,
            rust_timeout=TICK_MILLISECONDS,
            yield_on_timeout=True,
        ):
            yield

    def _signature(self) -> tuple[tuple[int, int], ...]:
        """Return what differs after any change, also one that no watch has reported."""
        files = manifests.yaml_files(self._layout.directory)
        for source in self._sources:
            with contextlib.suppress(OSError):
                files.extend(sources.source_files(source))
        paths = ((hash(str(file)), 0) for file in files)
        head = revision.head_signature(self._layout.directory)
        return (*paths, *revision.signature_of(files), *head)

    @property
    def _outside(self) -> list[Path]:
        """Data of Datasets that lies outside the directory."""
        directory = self._layout.directory
        return [path for path in self._sources if not path.is_relative_to(directory)]

    def _is_ours(self, _change: watchfiles.Change, path: str) -> bool:
        """Return whether a path counts: not state, not hidden, unless it is data outside."""
        try:
            parts = Path(path).relative_to(self._layout.directory).parts
        except ValueError:
            return True
        return STATE not in parts and not any(part.startswith(".") for part in parts)

    def _report(self, judgement: Judgement, results: list[Result]) -> None:
        for result in results:
            if result.action in ("Created", "Configured", "Pruned"):
                log.info("%s %s", result.action, result.key)
        faults = [str(fault) for fault in judgement.faults]
        failed = [f"{r.key}: {r.message}" for r in results if r.action == "Failed"]
        if faults:
            faults.append("nothing is pruned until these faults are mended")
        self._say(faults + failed, logging.ERROR)

    def _say(self, messages: list[str], level: int) -> None:
        """Log each message once, until it is no longer true."""
        for message in messages:
            if message not in self._said:
                log.log(level, "%s", message)
        self._said = set(messages)


def _sources(tree: Tree) -> list[Path]:
    """Return the files and directories that objects read."""
    found = (sources.source_path(manifest, tree.directory) for manifest in tree.manifests)
    return sorted({path for path in found if path is not None})


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m modelyard.cli.follower", description=__doc__)
    parser.add_argument("directory", type=Path, help="directory that is followed")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="where to apply to")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    follower = Follower(Layout(arguments.directory.resolve()), Client(arguments.kubeconfig))

    def stop(_signal: int, _frame: FrameType | None) -> None:
        follower.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    follower.run()


if __name__ == "__main__":
    main()
