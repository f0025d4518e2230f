"""Micro-batching: what waits is predicted together, which costs a model of arrays little more.

It happens on the event loop, between two reads. So while a batch is computed the next one gathers
in the sockets, and is full without anybody waiting where enough rows came meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from modelyard.api.traffic import Batching

from modelyard_runtimes.model.rows import Rows
from modelyard_runtimes.serve.metrics import Metrics
from modelyard_runtimes.serve.predictor import Predictions

PredictRows = Callable[[Rows], Predictions]


class Waiting(NamedTuple):
    """The rows of a request, and who waits for their predictions."""

    rows: Rows
    answer: asyncio.Future[Predictions]


class Batcher:
    """Gathers rows of several requests, and predicts them together."""

    def __init__(
        self, declared: Batching, together: PredictRows, alone: PredictRows, metrics: Metrics
    ) -> None:
        """Start with nobody waiting.

        Args:
            declared: How many rows are gathered, and for how long.
            together: Predicts the rows of several requests, or raises anything.
            alone: Predicts those of one; what it raises is about that one.
            metrics: Where batches are counted.
        """
        self._most_rows = declared.max_size
        self._delay = declared.max_delay_ms / 1000
        self._together = together
        self._alone = alone
        self._metrics = metrics
        self._waiting: list[Waiting] = []
        self._rows = 0
        self._timer: asyncio.Handle | None = None

    async def predict(self, rows: Rows) -> Predictions:
        """Return the predictions of the rows of one request.

        Raises:
            Exception: what they alone would raise.
        """
        loop = asyncio.get_running_loop()
        if self._rows + len(rows) > self._most_rows:
            self._flush()
        waiting = Waiting(rows, loop.create_future())
        self._waiting.append(waiting)
        self._rows += len(rows)
        if self._rows >= self._most_rows:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(self._delay, self._flush)
        return await waiting.answer

    def _flush(self) -> None:
        """Predict all that wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._waiting = self._waiting, []
        rows, self._rows = self._rows, 0
        if not batch:
            return
        self._metrics.batch_rows.observe(rows)
        if len(batch) == 1 or not self._answer_together(batch):
            for waiting in batch:
                self._answer_alone(waiting)

    def _answer_together(self, batch: list[Waiting]) -> bool:
        """Answer all of a batch, or none: where one is faulty, nobody else may notice."""
        try:
            predictions = self._together([row for waiting in batch for row in waiting.rows])
        except Exception:
            return False
        start = 0
        for waiting in batch:
            end = start + len(waiting.rows)
            _answer(waiting, predictions.part(start, end))
            start = end
        return True

    def _answer_alone(self, waiting: Waiting) -> None:
        try:
            predictions = self._alone(waiting.rows)
        except Exception as error:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
        else:
            _answer(waiting, predictions)


def _answer(waiting: Waiting, predictions: Predictions) -> None:
    if not waiting.answer.done():  # nobody waits any more when the server ends
        waiting.answer.set_result(predictions)
