"""The stand-in for the HorizontalPodAutoscaler and for KEDA: counts servers by their load.

The load is the CPU that they use, or the requests that they answer. The rule is Kubernetes': as
many as bring it to its target, up at once, down only to the most that was wanted in the last while,
nothing for a tenth more or less; and none only where no request came. The pace is that of one
machine, whose memory others want back soon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SYNC_SECONDS = 2.0
"""How often the load is read."""
DOWN_SECONDS = 10.0
"""How long fewer must be wanted until there are fewer."""
TOLERANCE = 0.1


@dataclass(frozen=True)
class Scaling:
    """How many servers there may be, and how much each should do on average.

    Attributes:
        fewest: How many there are without any load.
        most: How many there are at most.
        target: Processors that each should use, or requests that it should answer a second.
        measure: Which of both.
    """

    fewest: int
    most: int
    target: float
    measure: Literal["cpu", "requests"] = "cpu"


@dataclass(frozen=True)
class Load:
    """What servers have done since they started.

    Attributes:
        servers: How many serve.
        done: CPU seconds by server, or the requests that all of them have answered under one
            number; nothing where nobody said.
    """

    servers: int
    done: Mapping[int, float]


NO_LOAD = Load(0, {})


@dataclass(frozen=True)
class _Look:
    """What was found at one time, and what was wanted up to then."""

    time: float
    done: Mapping[int, float]
    replicas: int
    wanted: tuple[tuple[float, int], ...] = ()


class Autoscaler:
    """Remembers the last look at each service; after a restart it begins with what runs."""

    def __init__(self) -> None:
        self._looks: dict[str, _Look] = {}

    def is_due(self, uid: str, now: float) -> bool:
        """Return whether the load of a service is to be read."""
        before = self._looks.get(uid)
        return before is None or now - before.time >= SYNC_SECONDS

    def replicas(self, uid: str, scaling: Scaling, load: Load, now: float) -> int:
        """Return how many servers a service should have now.

        Args:
            uid: The service's.
            scaling: Its limits and target.
            load: What its servers have done; looked at when that is due.
            now: Seconds of a clock.
        """
        before = self._looks.get(uid)
        if before is None:
            count = _within(load.servers, scaling)
            before = self._looks[uid] = _Look(now, load.done, count, ((now, count),))
        elif self.is_due(uid, now):
            before = self._looks[uid] = _next(before, scaling, load, now)
        return _within(before.replicas, scaling)

    def wake(self, uid: str, now: float) -> None:
        """Want a server for a service that is asked for and has none, and give it time."""
        self._looks[uid] = _Look(now, {}, 1, ((now, 1),))

    def forget(self, uid: str) -> None:
        """Forget a service that is gone, or does not scale."""
        self._looks.pop(uid, None)


def _next(before: _Look, scaling: Scaling, load: Load, now: float) -> _Look:
    seconds = now - before.time
    both = [one for one in load.done if one in before.done]
    rates = [max(load.done[one] - before.done[one], 0) / seconds for one in both]
    servers = len(rates) if scaling.measure == "cpu" else max(load.servers, 1)
    wanted = _within(_wanted(before.replicas, rates, servers, scaling.target), scaling)
    recent = [entry for entry in before.wanted if entry[0] > now - DOWN_SECONDS]
    replicas = max(wanted, *(count for _, count in recent), 0)
    return _Look(now, load.done, replicas, (*recent, (now, wanted)))


def _wanted(replicas: int, rates: list[float], servers: int, target: float) -> int:
    share = sum(rates) / (servers * target) if rates else 1.0
    return replicas if abs(share - 1) <= TOLERANCE else math.ceil(share * servers)


def _within(count: int, scaling: Scaling) -> int:
    return min(max(count, scaling.fewest), scaling.most)
