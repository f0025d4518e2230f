"""When answers go out, and in what order."""

from __future__ import annotations

import asyncio
from typing import Any

from modelyard_runtimes.serve.outbox import MAX_WAIT_SECONDS, Outbox


class Line(asyncio.Transport):
    """A connection that writes to a record that it shares with others."""

    def __init__(self, sent: list[bytes]) -> None:
        super().__init__()
        self.sent = sent
        self.closing = False
        self.broken = False
        self.aborted = False

    def write(self, data: Any) -> None:
        if self.broken:
            raise RuntimeError("it takes nothing more")
        self.sent.append(data)

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closing


class Clock:
    """Tells the time that it is set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_answers_of_one_turn_go_out_together_in_the_order_in_which_they_were_made() -> None:
    sent: list[bytes] = []
    outbox, first, second = Outbox(asyncio.get_running_loop()), Line(sent), Line(sent)
    for line, answer in ((first, b"1"), (second, b"2"), (first, b"3")):
        outbox.put(line, answer)
    assert sent == []
    await asyncio.sleep(0)

    assert sent == [b"1", b"2", b"3"]


async def test_every_turn_sends_what_it_was_left() -> None:
    sent: list[bytes] = []
    outbox, line = Outbox(asyncio.get_running_loop()), Line(sent)
    for answer in (b"1", b"2"):
        outbox.put(line, answer)
        await asyncio.sleep(0)

    assert sent == [b"1", b"2"]


async def test_answers_that_take_long_to_make_do_not_wait_for_each_other() -> None:
    sent: list[bytes] = []
    clock = Clock()
    outbox, line = Outbox(asyncio.get_running_loop(), clock), Line(sent)
    outbox.put(line, b"1")
    clock.now = MAX_WAIT_SECONDS / 2
    outbox.put(line, b"2")
    assert sent == []
    clock.now = MAX_WAIT_SECONDS * 2
    outbox.put(line, b"3")
    assert sent == [b"1", b"2", b"3"]
    outbox.put(line, b"4")  # a new wait
    assert sent == [b"1", b"2", b"3"]
    await asyncio.sleep(0)

    assert sent == [b"1", b"2", b"3", b"4"]


async def test_a_client_that_has_left_keeps_no_other_from_its_answer() -> None:
    sent: list[bytes] = []
    outbox, gone, other = Outbox(asyncio.get_running_loop()), Line(sent), Line(sent)
    outbox.put(gone, b"1")
    outbox.put(other, b"2")
    gone.closing = True
    await asyncio.sleep(0)

    assert sent == [b"2"]


async def test_a_connection_that_takes_nothing_more_is_the_only_one_to_end() -> None:
    sent: list[bytes] = []
    outbox, broken, other = Outbox(asyncio.get_running_loop()), Line(sent), Line(sent)
    broken.broken = True
    outbox.put(broken, b"1")
    outbox.put(other, b"2")
    await asyncio.sleep(0)

    assert sent == [b"2"]
    assert (broken.aborted, other.aborted) == (True, False)
