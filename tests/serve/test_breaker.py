"""The circuit breaker: closed, open for a while, then tried once."""

from __future__ import annotations

import pytest
from modelyard.api.traffic import Breaker
from modelyard_runtimes.serve.breaker import CircuitBreaker

DECLARED = Breaker(consecutive_failures=3, open_for="30s")


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(DECLARED, clock)


def fail(breaker: CircuitBreaker, times: int = 3) -> list[bool]:
    """Fail so many calls; return which of them opened the breaker."""
    opened = []
    for _ in range(times):
        assert breaker.take() == 0
        opened.append(breaker.failed())
    return opened


def test_as_many_failures_in_a_row_as_declared_open_it(breaker: CircuitBreaker) -> None:
    assert fail(breaker) == [False, False, True]
    assert breaker.take() == pytest.approx(30)


def test_an_answer_between_failures_starts_the_count_anew(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.succeeded()
    assert fail(breaker, 2) == [False, False]
    assert breaker.take() == 0


def test_a_fault_of_the_caller_tells_nothing(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.undecided()
    assert fail(breaker, 1) == [True]


def test_whoever_comes_while_it_is_open_is_told_how_long(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail(breaker)
    clock.now += 10
    assert breaker.take() == pytest.approx(20)


def test_after_its_time_one_call_is_let_through_and_an_answer_closes_it(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail(breaker)
    clock.now += 30
    assert breaker.take() == 0
    assert breaker.take() > 0
    breaker.succeeded()
    assert [breaker.take() for _ in range(5)] == [0] * 5
    assert fail(breaker) == [False, False, True]


def test_another_failure_opens_it_for_as_long_again(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += 30
    assert fail(breaker, 1) == [False]
    assert breaker.take() == pytest.approx(30)
    clock.now += 30
    assert breaker.take() == 0


def test_the_next_call_is_tried_when_the_first_told_nothing(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail(breaker)
    clock.now += 30
    assert breaker.take() == 0
    breaker.undecided()
    assert breaker.take() == 0


def test_a_call_that_never_comes_back_keeps_it_open_only_once_more(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail(breaker)
    clock.now += 30
    assert breaker.take() == 0
    clock.now += 30
    assert breaker.take() == 0


def test_one_that_is_not_declared_never_opens(clock: Clock) -> None:
    assert not any(fail(CircuitBreaker(None, clock), 100))
