"""Which of several candidates are worth a choice, and which is chosen by the declared rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from modelyard.api.experiment import Constraints, Objective

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.train.measure import Measurement


@dataclass(frozen=True)
class Point:
    """One candidate as the objectives see it.

    Attributes:
        name: Number of the trial, or `ensemble`.
        loss: Out-of-fold value of the metric, its sign turned where more is better.
        measured: What was measured of its packed model.
    """

    name: str
    loss: float
    measured: Measurement

    def losses(self, objectives: Sequence[Objective]) -> tuple[float, ...]:
        """Return what each objective wants small."""
        found = {
            "Metric": self.loss,
            "Latency": self.measured.latency_ms_p95,
            "ModelSize": self.measured.model_mb,
        }
        return tuple(found[objective.type] for objective in objectives)


def front(points: Sequence[Point], objectives: Sequence[Objective]) -> list[Point]:
    """Return the points that no other is as good as in all objectives and better in one."""
    losses = [point.losses(objectives) for point in points]
    return [
        point
        for point, own in zip(points, losses, strict=True)
        if not any(_dominates(other, own) for other in losses)
    ]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def feasible(points: Sequence[Point], constraints: Constraints) -> list[Point]:
    """Return the points that keep every limit.

    Raises:
        RunFailure: none does; names the one that is nearest.
    """
    kept = [point for point in points if _excess(point, constraints) <= 1]
    if kept:
        return kept
    nearest = min(points, key=lambda point: _excess(point, constraints))
    told = "; ".join(
        f"spec.constraints.{field} is {limit:g}, it has {value:.3g}"
        for field, limit, value in _limits(nearest, constraints)
        if value > limit
    )
    raise RunFailure(
        "NoFeasibleModel",
        f"none of {len(points)} candidates keeps spec.constraints; the nearest is {nearest.name}: "
        f"{told}. Raise the limit, or declare smaller models by spec.search.space or "
        "spec.ensemble",
    )


def _limits(point: Point, constraints: Constraints) -> list[tuple[str, float, float]]:
    """Return the name of each declared limit, the limit, and what the point has."""
    declared = (
        ("latencyMsP95", constraints.latency_ms_p95, point.measured.latency_ms_p95),
        ("maxModelMB", constraints.max_model_mb, point.measured.model_mb),
    )
    return [(field, limit, value) for field, limit, value in declared if limit is not None]


def _excess(point: Point, constraints: Constraints) -> float:
    """Return the greatest ratio of a value to its limit."""
    return max((value / limit for _, limit, value in _limits(point, constraints)), default=0.0)


def choose(points: Sequence[Point], objectives: Sequence[Objective], rule: str) -> Point:
    """Return the point of a front that a rule picks; of equals the first."""
    losses = np.array([point.losses(objectives) for point in points])
    low, high = losses.min(axis=0), losses.max(axis=0)
    shares = (losses - low) / np.where(high > low, high - low, 1.0)
    weights = np.array([objective.weight for objective in objectives])
    return points[_RULES[rule](shares, weights)]


_RULES: Mapping[str, Callable[..., int]] = {
    "Weighted": lambda shares, weights: int(np.argmin(shares @ weights)),
    "ClosestToIdeal": lambda shares, weights: int(
        np.argmin(np.linalg.norm(shares * weights, axis=1))
    ),
    "Lexicographic": lambda shares, weights: int(np.lexsort(shares.T[::-1])[0]),
}
