"""A body of any length that is scored as it arrives, and answered line by line.

Memory holds the block that is scored, the one that arrives meanwhile, and the lines that the client
has not taken yet: none of these grows. While a block is there nothing more is read, so a client is
slowed down to the pace of the model, and the model to that of a client that does not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import cast

from modelyard_runtimes.serve.answering import unforeseen
from modelyard_runtimes.serve.http import (
    CONTINUE,
    Request,
    RequestError,
    UploadHandler,
    waits_for_leave,
)
from modelyard_runtimes.serve.stream import Answer, Lines, Stream

BLOCK = 2 * 1024 * 1024
"""Bytes from which on a body is scored."""
LEAST_BYTES = 16 * 1024
"""What must arrive of a body in the time that a whole request has elsewhere."""
RETRY_SECONDS = b"5"


class Places:
    """How many bodies a process scores at a time: one, which keeps a processor busy."""

    def __init__(self) -> None:
        """Start with the place free."""
        self._taken = False

    def take(self) -> None:
        """Take the place.

        Raises:
            RequestError: another one has it.
        """
        if self._taken:
            raise RequestError(
                429,
                "the server scores another batch, and one at a time; send the request again later",
                (b"retry-after", RETRY_SECONDS),
            )
        self._taken = True

    def give_back(self) -> None:
        """Give the place back."""
        self._taken = False


class Upload:
    """The last request of a connection, whose body is scored while it arrives.

    Attributes:
        request: The request.
        whole: Whether its body has arrived.
    """

    def __init__(
        self,
        request: Request,
        transport: asyncio.Transport,
        places: Places,
        ended: Callable[[RequestError | None], None],
        *,
        chunked: bool,
    ) -> None:
        """Wait for the turn of the request; until then nothing of it is answered.

        Args:
            request: The request, whose headers are here.
            transport: Its connection.
            places: Who is let in.
            ended: Called once when all is sent, or with the refusal that is to be.
            chunked: Whether the client knows chunks, as from HTTP/1.1 on.
        """
        self.request = request
        self.whole = False
        self._transport = transport
        self._places = places
        self._ended = ended
        self._chunked = chunked
        self._parts: list[bytes] = []
        self._size = 0
        self._arrived = 0
        self._noted = 0
        self._since = 0.0
        """When the time began in which `LEAST_BYTES` must arrive."""
        self._news = asyncio.Event()
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._reads = False
        self._refusal: RequestError | None = None
        self._running: asyncio.Task[None] | None = None
        self._lines: Lines | None = None
        self._over = False

    def begin(self) -> None:
        """Take the turn."""
        try:
            if self._refusal is not None:
                raise self._refusal
            self._places.take()
        except RequestError as error:
            self._over = True
            self._ended(error)
            return
        application = self.request.route.application
        request_id = application.request_id(self.request.headers.get(b"x-request-id"))
        self._stream = Stream(self.request, request_id, self._transport, chunked=self._chunked)
        self._running = asyncio.get_running_loop().create_task(self._run(request_id))
        if self._chunked and not self._arrived and waits_for_leave(self.request.headers):
            self._transport.write(CONTINUE)
        self._pace()

    def take(self, part: bytes) -> None:
        """Take a part of the body."""
        if self.whole or self._over:
            return
        self._parts.append(part)
        self._size += len(part)
        self._arrived += len(part)
        if self._size >= BLOCK:
            self._news.set()
            self._pace()

    def complete(self) -> None:
        """Take that the body has arrived."""
        self.whole = True
        self._news.set()
        self._pace()

    def fail(self, error: RequestError) -> None:
        """End it: by this refusal, or where lines are sent already by one that says why."""
        if self._running is None:  # its turn has not come
            self._refusal = error
        elif not self._over:
            self._running.cancel()
            self._end(error)

    def leave(self) -> None:
        """Forget it: nobody is there to be answered."""
        if self._running is not None and not self._over:
            self._running.cancel()
            self._places.give_back()
        self._over = True
        self._parts.clear()

    def stop_sending(self) -> None:
        """Wait for a client that does not read."""
        self._may_send.clear()

    def send_on(self) -> None:
        """Go on."""
        self._may_send.set()

    def expire(self, now: float, seconds: float) -> None:
        """End it where its client sends next to nothing.

        Args:
            now: Present time of the event loop; this is called about once a second.
            seconds: How long it may do so.
        """
        if not self._reads or self._arrived - self._noted >= LEAST_BYTES or not self._since:
            self._since, self._noted = now, self._arrived
        elif now - self._since > seconds:
            message = (
                f"fewer than {LEAST_BYTES >> 10} KiB of the body arrived within {seconds:.0f} s; "
                "send the rows once all of them are there"
            )
            self.fail(RequestError(408, message))

    def _pace(self) -> None:
        """Read as long as there is no block."""
        reads = self._running is not None and not self.whole and self._size < BLOCK
        if reads == self._reads or self._over:
            return
        self._reads = reads
        if reads:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    async def _run(self, request_id: bytes) -> None:
        opened = cast("UploadHandler", self.request.route.upload)
        try:
            async with opened(self.request) as lines:
                self._lines = lines
                async for block in self._blocks():
                    await self._answer(lines, lines.take(block))
                await self._answer(lines, lines.last())
        except RequestError as error:
            self._end(error)
        except Exception as error:
            self._end(unforeseen(error, request_id))
        else:
            self._end(None)

    async def _blocks(self) -> AsyncIterator[bytes]:
        """Yield the body in parts that are worth scoring."""
        while True:
            while self._size < BLOCK and not self.whole:
                self._news.clear()
                await self._news.wait()
            if not self._size:
                return
            block = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            self._pace()
            yield block

    async def _answer(self, lines: Lines, answers: Iterator[Answer]) -> None:
        """Score in the thread that makes large predictions, and send what comes of it."""
        thread = self.request.route.application.thread
        loop = asyncio.get_running_loop()
        while (answer := await loop.run_in_executor(thread, next, answers, None)) is not None:
            await self._may_send.wait()
            self._stream.send(lines, answer)

    def _end(self, error: RequestError | None) -> None:
        """Send what is to be sent last, and say that it is over."""
        if self._over:
            return
        self._over = True
        self._parts.clear()
        self._places.give_back()
        if not self._stream.begun or self._lines is None:
            nothing = RequestError(400, "the body has no rows; send at least one")
            self._ended(error or nothing)
            return
        if error is None:
            self._stream.end()
        else:
            self._stream.break_off(self._lines, error)
        self._ended(None)
