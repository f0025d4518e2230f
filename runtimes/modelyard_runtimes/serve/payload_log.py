"""Logs a sample of the requests for Monitors, off the request path, after privacy actions.

One JSON line a request:

    {"id", "time", "modelVersion", "modelDigest",
     "instances": [{feature: value}], "predictions": [as in V1]}

Columns that the Dataset drops, and those that seem to hold personal data and have no declared
action, never get here; masked and hashed ones only as what the action leaves of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import orjson
from modelyard.api.privacy import PrivacyAction

from modelyard_runtimes import privacy
from modelyard_runtimes.entry import log
from modelyard_runtimes.model.format import ModelDocument
from modelyard_runtimes.model.rows import Rows
from modelyard_runtimes.serve.chunks import ChunkWriter
from modelyard_runtimes.serve.metrics import Metrics
from modelyard_runtimes.serve.substitute import Substitute

FLUSH_SECONDS = 0.5
MAX_PENDING_ROWS = 20_000
"""Rows that wait to be written; what comes beyond is dropped and counted."""
FLUSH_ROWS = MAX_PENDING_ROWS // 4
"""Rows that are written before the half second is over: a fast server has more than may wait."""
MAX_ROWS_OF_A_REQUEST = 1_000
"""Rows of one request that are logged, evenly spread; the others are dropped and counted."""


class Payload(NamedTuple):
    """A request that was answered.

    Attributes:
        request_id: Decides, by its hash, whether the request is in the sample.
        names: Names of the features that the client sent.
        rows: Their values by row.
        predictions: One for each row.
        substitute: What made them instead of the model that serves.
    """

    request_id: bytes
    names: Sequence[str]
    rows: Rows
    predictions: list[Any]
    substitute: Substitute | None


class PayloadLog(Protocol):
    """Takes requests to be logged."""

    def offer(self, payload: Payload) -> None:
        """Take a request, or leave it; returns at once."""

    async def run(self) -> None:
        """Write what was taken, until `stop` is called; then write the rest."""

    def stop(self) -> None:
        """Make `run` end."""


class NoPayloadLog:
    """Logs nothing."""

    def offer(self, payload: Payload) -> None:
        """Leave the request."""

    async def run(self) -> None:
        """Return at once."""

    def stop(self) -> None:
        """Do nothing."""


class PrivacyView:
    """What may be seen of the columns of a model."""

    def __init__(self, model: ModelDocument, key: bytes) -> None:
        """Choose the columns.

        Args:
            model: Says what action each column has, and which are never logged.
            key: Key of the action Hash; when it is empty, columns with Hash are not seen at all.
        """
        self._key = key
        self._actions: dict[str, PrivacyAction] = {}
        for feature in model.features:
            action = model.privacy.get(feature.name, "Allow")
            hidden = action == "Drop" or (action == "Hash" and not key)
            if feature.name not in model.never_logged and not hidden:
                self._actions[feature.name] = action
        every = [self._actions.get(feature.name) for feature in model.features]
        self._all_allowed = every == ["Allow"] * len(every)

    def of(self, names: Sequence[str], rows: Rows) -> tuple[Sequence[str], Rows]:
        """Return what may be seen of rows, and the names of what it is."""
        if self._all_allowed:
            return names, rows
        seen = [
            (position, self._actions[name])
            for position, name in enumerate(names)
            if name in self._actions
        ]
        return (
            [names[position] for position, _ in seen],
            [
                [privacy.apply(action, row[position], self._key) for position, action in seen]
                for row in rows
            ],
        )


class SampledPayloadLog:
    """Writes a sample of the requests to chunks.

    A line is made at once, by whoever answers the request: a thread that made thousands of them
    twice a second would keep the interpreter's lock from all requests meanwhile.
    """

    def __init__(
        self,
        writer: ChunkWriter,
        metrics: Metrics,
        view: PrivacyView,
        sample_percent: int,
        served: Mapping[str, str],
    ) -> None:
        """Start empty.

        Args:
            writer: Where lines go.
            metrics: Where rows are counted.
            view: What may be seen of the columns.
            sample_percent: Share of the requests that is logged.
            served: `modelVersion` and `modelDigest`, which stand in every line that the model
                that serves has answered.
        """
        self._writer = writer
        self._metrics = metrics
        self._view = view
        self._sample_percent = sample_percent
        self._served = _fields(served)
        self._pending = bytearray()  # one block of memory, where a list would need a new one a line
        self._pending_rows = 0
        self._lock = threading.Lock()  # requests come from the event loop and from a thread
        self._writing = threading.Lock()
        self._stopping = asyncio.Event()
        self._due = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failing = False

    def offer(self, payload: Payload) -> None:
        """Take a request that is in the sample, unless too many rows wait."""
        percent = self._sample_percent
        if percent < 100 and zlib.crc32(payload.request_id) % 100 >= percent:
            return
        count = len(payload.rows)
        step = -(-count // MAX_ROWS_OF_A_REQUEST)
        if step > 1:
            payload = payload._replace(
                rows=payload.rows[::step], predictions=payload.predictions[::step]
            )
        kept = len(payload.rows)
        if self._pending_rows + kept > MAX_PENDING_ROWS:
            kept = 0
        else:
            self._take(payload)
        if count > kept:
            self._metrics.payload_rows_dropped.inc(count - kept)
        if self._stopping.is_set():  # it was in flight when its model left
            self._flush()

    def _take(self, payload: Payload) -> None:
        try:
            line = self._line(payload)
        except Exception as error:
            self._failed(len(payload.rows), error)
            return
        with self._lock:
            self._pending += line
            before = self._pending_rows
            after = self._pending_rows = before + len(payload.rows)
        if before < FLUSH_ROWS <= after and self._loop is not None:
            self._loop.call_soon_threadsafe(self._due.set)

    def _failed(self, rows: int, error: Exception) -> None:
        """Count and tell that rows could not be logged, which must never stop serving."""
        self._metrics.payload_rows_failed.inc(rows)
        if not self._failing:
            log.error("payloads cannot be logged: %s", type(error).__name__)
        self._failing = True

    async def run(self) -> None:
        """Write what was taken every half second, or sooner where it is much, until `stop`.

        Then write the rest.
        """
        self._loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._due.wait()
            self._due.clear()
            if self._pending_rows:
                await asyncio.to_thread(self._flush)
        if self._pending_rows:  # it came while the rest was written
            await asyncio.to_thread(self._flush)

    def stop(self) -> None:
        """Make `run` end."""
        self._stopping.set()
        self._due.set()

    def _flush(self) -> None:
        with self._writing:
            with self._lock:
                pending, self._pending = self._pending, bytearray()
                rows, self._pending_rows = self._pending_rows, 0
            if not pending:
                return
            try:
                self._writer.write(bytes(pending), datetime.now(UTC))
            except Exception as error:
                self._failed(rows, error)
            else:
                self._metrics.payload_rows_written.inc(rows)
                self._failing = False

    def _line(self, payload: Payload) -> bytes:
        names, rows = self._view.of(payload.names, payload.rows)
        substitute = payload.substitute
        return b'{"id":%b,"time":%b,%b,"instances":%b,"predictions":%b}\n' % (
            orjson.dumps(payload.request_id.decode()),
            orjson.dumps(datetime.now(UTC)),
            self._served if substitute is None else _fields(substitute.to_json()),
            orjson.dumps([dict(zip(names, row, strict=True)) for row in rows]),
            orjson.dumps(payload.predictions),
        )


def _fields(answered: Mapping[str, str]) -> bytes:
    """Return the fields of a line that say who answered."""
    return orjson.dumps(dict(answered))[1:-1]
