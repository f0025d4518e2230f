"""One answer for all reconciles that ask the same while they wait for their turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from modelyard.api.resources import Resource
from modelyard.ports.cluster import Manifest, Reader

KEPT_SECONDS = 2.0
"""How long an answer is kept for those who were woken before it was asked for."""

AnswerT = TypeVar("AnswerT")
Question = tuple[Resource, str, str | None]
"""Resource, namespace, and name of an object; None asks for all."""


@dataclass(frozen=True)
class Asked:
    """A question with the moment when it was put, and its answer or the wait for it."""

    at: float
    answer: asyncio.Task[Any]


@dataclass(frozen=True)
class SharedReads:
    """Reads what was not read since a moment, and gives the answer to all who ask the same.

    The moment is the one when a reconcile was woken. An answer that was asked for after it holds
    all that had happened by then, whatever the watches lag: the reconcile might as well have asked
    itself. Where many wait for their turn, the questions become few; where none waits, each asks.
    """

    reader: Reader
    asked: dict[Question, Asked] = field(default_factory=dict)

    def since(self, moment: float) -> Reader:
        """Return a reader whose answers were asked for after a moment of the monotonic clock."""
        return _Since(self, moment)

    async def share(
        self, question: Question, moment: float, ask: Callable[[], Coroutine[Any, Any, AnswerT]]
    ) -> AnswerT:
        """Return the answer to a question, asking it only if nobody did since a moment."""
        known = self.asked.get(question)
        if known is None or known.at <= moment:
            known = Asked(time.monotonic(), asyncio.create_task(ask()))
            self.asked[question] = known
            known.answer.add_done_callback(partial(self._forget_failed, question))
            loop = asyncio.get_running_loop()
            loop.call_later(KEPT_SECONDS, self._forget, question, known.answer)
        # A worker that is stopped must not take the answer from those who wait with it.
        return cast("AnswerT", await asyncio.shield(known.answer))

    def _forget_failed(self, question: Question, answer: asyncio.Task[Any]) -> None:
        if answer.cancelled() or answer.exception() is not None:
            self._forget(question, answer)

    def _forget(self, question: Question, answer: asyncio.Task[Any]) -> None:
        known = self.asked.get(question)
        if known is not None and known.answer is answer:
            del self.asked[question]


@dataclass(frozen=True)
class _Since:
    shared: SharedReads
    moment: float

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        ask = partial(self.shared.reader.get, resource, namespace, name)
        return await self.shared.share((resource, namespace, name), self.moment, ask)

    async def list_objects(self, resource: Resource, namespace: str) -> list[Manifest]:
        ask = partial(self.shared.reader.list_objects, resource, namespace)
        return await self.shared.share((resource, namespace, None), self.moment, ask)
