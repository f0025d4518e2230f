"""Reads the newest logged requests from the payload folder of a Deployment.

Nothing here needs NumPy: most looks end here, with nothing new.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from modelyard_runtimes.payloads import OPEN_FOR, chunk_start
from modelyard_runtimes.store import Store

SLACK = timedelta(seconds=30)
"""Time a server may need to write what it holds."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Window:
    """The newest rows of one model, oldest first.

    Attributes:
        rows: Values by feature.
        times: When each row was answered: RFC 3339, UTC, microseconds, so that texts sort by time.
    """

    rows: Sequence[Row]
    times: Sequence[str]

    def since(self, time: str) -> Window:
        """Return the rows that are newer than a time."""
        start = sum(1 for other in self.times if other <= time)
        return Window(self.rows[start:], self.times[start:])


class PayloadFolder:
    """The chunks of one Deployment as they are now."""

    def __init__(self, store: Store, uri: str) -> None:
        """List the chunks.

        Args:
            store: Store that holds the folder.
            uri: URI of the folder, below the store's root.
        """
        self._store = store
        keys = store.list(uri.removeprefix(store.uri).strip("/"))
        dated = [(start, key) for key in keys if (start := chunk_start(key)) is not None]
        self._chunks = sorted(dated, reverse=True)

    def fingerprint(self, now: datetime) -> str:
        """Return a text that differs once a row was added: names, and sizes of what may grow."""
        growing = [
            f"{key}:{len(self._read(key))}"
            for start, key in self._chunks
            if start > now - OPEN_FOR - SLACK
        ]
        newest = self._chunks[0][1] if self._chunks else ""
        return "|".join([newest, *growing])

    def newest(self, model_digest: str, max_rows: int) -> Window:
        """Return the newest rows that a model answered, at most `max_rows`."""
        found: list[tuple[str, Row]] = []
        enough_before: datetime | None = None
        for start, key in self._chunks:
            # A chunk of another server that started a little earlier may hold newer rows.
            if enough_before is not None and start < enough_before - OPEN_FOR - SLACK:
                break
            found.extend(self._rows(key, model_digest))
            if enough_before is None and len(found) >= max_rows:
                enough_before = start
        found.sort(key=lambda row: row[0])
        found = found[-max_rows:]
        return Window([row for _, row in found], [time for time, _ in found])

    def _rows(self, key: str, model_digest: str) -> Iterator[tuple[str, Row]]:
        for line in self._read(key).splitlines(keepends=True):
            if not line.endswith(b"\n"):
                return  # the server is writing this line, or was killed while it did
            record = json.loads(line)
            if record["modelDigest"] == model_digest:
                yield from ((record["time"], row) for row in record["instances"])

    def _read(self, key: str) -> bytes:
        try:
            return self._store.read_bytes(key)
        except FileNotFoundError:
            return b""  # the oldest chunks are removed at any time
