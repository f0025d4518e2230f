"""The stand-in for the HorizontalPodAutoscaler: counts servers by the CPU that they use.

The rule is Kubernetes': as many as bring the use to its target, up at once, down only to the most
that was wanted in the last while, nothing for a tenth more or less. The pace is that of one
machine, whose memory others want back soon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

SYNC_SECONDS = 2.0
"""How often the use is read."""
DOWN_SECONDS = 10.0
"""How long fewer must be wanted until there are fewer."""
TOLERANCE = 0.1


@dataclass(frozen=True)
class Scaling:
    """How many servers there may be, and how many processors each should use on average."""

    fewest: int
    most: int
    target: float


@dataclass(frozen=True)
class _Look:
    """What was found at one time: CPU seconds by server, and what was wanted up to then."""

    time: float
    used: Mapping[int, float]
    replicas: int
    wanted: tuple[tuple[float, int], ...] = ()


class Autoscaler:
    """Remembers the last look at each service; after a restart it begins with the fewest."""

    def __init__(self) -> None:
        self._looks: dict[str, _Look] = {}

    def replicas(self, uid: str, scaling: Scaling, used: Mapping[int, float], now: float) -> int:
        """Return how many servers a service should have now.

        Args:
            uid: The service's.
            scaling: Its limits and target.
            used: CPU seconds that its servers have used since they started.
            now: Seconds of a clock.
        """
        before = self._looks.get(uid)
        if before is None:
            self._looks[uid] = _Look(now, used, scaling.fewest)
            return scaling.fewest
        if now - before.time >= SYNC_SECONDS:
            before = self._looks[uid] = _next(before, scaling, used, now)
        return min(max(before.replicas, scaling.fewest), scaling.most)

    def forget(self, uid: str) -> None:
        """Forget a service that is gone, or does not scale."""
        self._looks.pop(uid, None)


def _next(before: _Look, scaling: Scaling, used: Mapping[int, float], now: float) -> _Look:
    seconds = now - before.time
    rates = [max(used[one] - before.used[one], 0) / seconds for one in used if one in before.used]
    wanted = _wanted(before.replicas, rates, scaling)
    recent = [entry for entry in before.wanted if entry[0] > now - DOWN_SECONDS]
    replicas = max(wanted, *(count for _, count in recent), 0)
    return _Look(now, used, replicas, (*recent, (now, wanted)))


def _wanted(replicas: int, rates: list[float], scaling: Scaling) -> int:
    share = sum(rates) / (len(rates) * scaling.target) if rates else 1.0
    wanted = replicas if abs(share - 1) <= TOLERANCE else math.ceil(share * len(rates))
    return min(max(wanted, scaling.fewest), scaling.most)
