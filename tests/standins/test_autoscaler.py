"""How many servers there should be for the CPU that they use, or the requests that come."""

from __future__ import annotations

import pytest
from modelyard.embedded.standins.autoscaler import (
    DOWN_SECONDS,
    SYNC_SECONDS,
    Autoscaler,
    Load,
    Scaling,
)

SCALING = Scaling(fewest=1, most=4, target=0.5)


class Service:
    """A service whose servers use processors at a rate that the test sets."""

    def __init__(self, scaling: Scaling = SCALING) -> None:
        self.autoscaler, self.scaling = Autoscaler(), scaling
        self.now, self.used = 0.0, {0: 0.0}
        self.replicas = self._look()

    def run(self, seconds: float, *rates: float) -> int:
        """Let the first servers use so much for a time; return how many there should be then."""
        for _ in range(round(seconds / SYNC_SECONDS)):
            self.now += SYNC_SECONDS
            for server, rate in enumerate(rates):
                self.used[server] = self.used.get(server, 0.0) + rate * SYNC_SECONDS
            self.replicas = self._look()
        return self.replicas

    def _look(self) -> int:
        load = Load(len(self.used), dict(self.used))
        return self.autoscaler.replicas("u", self.scaling, load, self.now)


@pytest.mark.parametrize(
    ("rates", "wanted"),
    [
        pytest.param([0.0], 1, id="no load"),
        pytest.param([0.5], 1, id="at its target"),
        pytest.param([0.54], 1, id="within a tenth"),
        pytest.param([0.6], 2, id="beyond a tenth"),
        pytest.param([1.0], 2, id="twice the target"),
        pytest.param([1.0, 0.8], 4, id="the use of all servers counts"),
        pytest.param([9.0], 4, id="no more than the most"),
    ],
)
def test_as_many_are_wanted_as_bring_the_use_to_its_target(rates: list[float], wanted: int) -> None:
    service = Service()
    service.used = {server: 0.0 for server, _ in enumerate(rates)}
    service.autoscaler.forget("u")
    service.run(SYNC_SECONDS, *([0.0] * len(rates)))
    assert service.run(SYNC_SECONDS, *rates) == wanted


def test_after_a_restart_it_begins_with_what_runs() -> None:
    load = Load(3, {0: 9.0, 1: 9.0, 2: 9.0})
    assert Autoscaler().replicas("u", SCALING, load, 0.0) == 3


def test_it_begins_with_the_fewest_and_never_falls_below() -> None:
    service = Service(Scaling(fewest=2, most=4, target=0.5))
    assert service.replicas == 2
    assert service.run(60, 0.0, 0.0) == 2


def test_it_goes_down_only_when_fewer_were_wanted_for_a_while() -> None:
    service = Service()
    assert service.run(SYNC_SECONDS, 1.0) == 2
    assert service.run(DOWN_SECONDS - SYNC_SECONDS, 0.1, 0.1) == 2
    assert service.run(SYNC_SECONDS, 0.1, 0.1) == 1


def test_a_look_too_soon_changes_nothing() -> None:
    service = Service()
    service.run(SYNC_SECONDS, 1.0)
    service.used, service.now = {0: 90.0}, service.now + SYNC_SECONDS / 2
    assert service._look() == 2


def test_a_server_that_was_started_again_uses_nothing_of_the_one_before() -> None:
    service = Service()
    service.run(SYNC_SECONDS, 1.0)
    service.used = {1: 50.0}
    assert service.run(SYNC_SECONDS) == 2, "nothing is known of it yet"


BY_REQUESTS = Scaling(fewest=0, most=4, target=10, measure="requests")


class Answering:
    """A service that as many servers answer as there should be, at a rate that the test sets."""

    def __init__(self, servers: int = 1) -> None:
        self.autoscaler, self.servers = Autoscaler(), servers
        self.now, self.answered = 0.0, 5000.0
        self._look()

    def run(self, seconds: float, rate: float) -> int:
        """Answer so many requests a second for a time; return how many servers there are then."""
        for _ in range(round(seconds / SYNC_SECONDS)):
            self.now += SYNC_SECONDS
            self.answered += rate * SYNC_SECONDS
            self._look()
        return self.servers

    def _look(self) -> None:
        done = {0: self.answered} if self.servers else {}
        load = Load(self.servers, done)
        self.servers = self.autoscaler.replicas("u", BY_REQUESTS, load, self.now)


@pytest.mark.parametrize(
    ("servers", "rate", "wanted"),
    [
        pytest.param(1, 10, 1, id="at its target"),
        pytest.param(1, 10.9, 1, id="within a tenth"),
        pytest.param(1, 12, 2, id="beyond a tenth"),
        pytest.param(3, 32, 3, id="within a tenth of what three should answer"),
        pytest.param(3, 34, 4, id="beyond that"),
        pytest.param(1, 900, 4, id="no more than the most"),
    ],
)
def test_as_many_are_wanted_as_answer_their_share(servers: int, rate: float, wanted: int) -> None:
    assert Answering(servers).run(SYNC_SECONDS, rate) == wanted


def test_few_requests_keep_one_and_none_let_it_go_after_a_while() -> None:
    service = Answering()
    assert service.run(60, 0.5) == 1
    assert service.run(DOWN_SECONDS - SYNC_SECONDS, 0) == 1
    assert service.run(SYNC_SECONDS, 0) == 0
    assert service.run(60, 0) == 0


def test_what_was_woken_has_time_to_answer() -> None:
    service = Answering()
    service.run(60, 0)
    service.autoscaler.wake("u", service.now)
    service._look()
    assert service.servers == 1
    assert service.run(DOWN_SECONDS, 0) == 1
    assert service.run(SYNC_SECONDS, 0) == 0


def test_a_count_that_nobody_tells_changes_nothing() -> None:
    service = Answering(3)
    service.autoscaler.replicas("u", BY_REQUESTS, Load(3, {}), SYNC_SECONDS)
    assert service.autoscaler.replicas("u", BY_REQUESTS, Load(3, {}), 60) == 3


def test_a_count_that_began_again_is_no_load() -> None:
    service = Answering()
    service.answered = 0.0
    assert service.run(SYNC_SECONDS, 1) == 1
