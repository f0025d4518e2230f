"""How trials are combined, all of it found on their out-of-fold predictions.

Weighted is the best trial of each family, each with the less weight the more surely it trails the
best, or a greedy selection. Voting is the plain mean of the best trial of each family. Stacked
fits a second level on the out-of-fold predictions of all rows, Blended on those of one fold: there
each member predicts by a single fit, on all other folds, as with a part that was held out from all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from modelyard_runtimes.model.format import SecondLevel
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.model.second_level import combined
from modelyard_runtimes.train.greedy import select
from modelyard_runtimes.train.metrics import fold_scores, score, sign
from modelyard_runtimes.train.second_level import fit_second_level
from modelyard_runtimes.train.space import turns
from modelyard_runtimes.train.task import Rows, SearchData

HALVED = 4.0
"""Standard errors behind the best family at which a family has half of its weight."""

LEAST_WEIGHT = 0.02
"""A member with less would change no prediction by as much as it takes time."""


@dataclass(frozen=True)
class Candidates:
    """Trials that may be combined.

    Attributes:
        data: Target, folds and metric.
        outputs: Their out-of-fold predictions, those of the best trial first.
        families: Family of models of each.
    """

    data: SearchData
    outputs: Sequence[Floats]
    families: Sequence[str]


@dataclass(frozen=True)
class Combination:
    """Trials combined.

    Attributes:
        weights: Weight of each by its position among the candidates.
        second_level: What combines them; None for their weighted mean.
    """

    weights: Mapping[int, float]
    second_level: SecondLevel | None = None

    def of(self, outputs: Sequence[Floats]) -> Floats:
        """Return what is predicted where the candidates predict these."""
        chosen = [outputs[place] for place in self.weights]
        return combined(self.second_level, list(self.weights.values()), chosen)


Combine = Callable[[Candidates, int, int | None], Combination]
"""Of candidates, the most members, and a fold that must not be seen; none where it is None."""


def graded(candidates: Candidates, max_models: int, left_out: int | None) -> Combination:
    """Return the mean of the best trial of each family, weighted by how surely it trails the best.

    Behind the best by `t` standard errors of the difference, fold by fold, its weight is that of
    the best over 1 + (t / `HALVED`)**2: nothing is fitted to the folds but these numbers.
    """
    values = _values(candidates, left_out)
    first = [place for place, turn in _by_turns(candidates, left_out) if turn == 0][:max_models]
    best = values[first[0]]
    shares = {place: _share(best - values[place]) for place in first}
    least = LEAST_WEIGHT * sum(shares.values())
    kept = {place: share for place, share in sorted(shares.items()) if share >= least}
    return Combination({place: share / sum(kept.values()) for place, share in kept.items()})


def greedy(candidates: Candidates, max_models: int, left_out: int | None) -> Combination:
    """Return the greedy selection; of one member at most it is the best trial."""
    return Combination(select(candidates.data, candidates.outputs, max_models, left_out))


def voting(candidates: Candidates, max_models: int, left_out: int | None) -> Combination:
    """Return the plain mean of the best trial of each family, of the best families."""
    members = [place for place, turn in _by_turns(candidates, left_out) if turn == 0][:max_models]
    return Combination(dict.fromkeys(sorted(members), 1 / len(members)))


def stacked(candidates: Candidates, max_models: int, left_out: int | None) -> Combination:
    """Return a second level over the best trials of each family, fitted on all rows."""
    seen = _seen(candidates.data, left_out)
    rows = np.flatnonzero(np.isin(candidates.data.folds, seen))
    return _second_level(candidates, max_models, left_out, rows)


def blended(candidates: Candidates, max_models: int, left_out: int | None) -> Combination:
    """Return a second level over the best trials of each family, fitted on the last fold."""
    last = _seen(candidates.data, left_out)[-1]
    rows = np.flatnonzero(candidates.data.folds == last)
    return _second_level(candidates, max_models, left_out, rows)


COMBINE: Mapping[str, Combine] = MappingProxyType(
    {"Weighted": greedy, "Voting": voting, "Stacked": stacked, "Blended": blended}
)
"""By the type of an ensemble."""


def cross_fitted(combine: Combine, candidates: Candidates, max_models: int) -> tuple[float, ...]:
    """Return for each fold the metric of combining trials this way.

    For each fold members and weights are found on the other folds, so that the ensemble is judged
    on rows that chose neither its members' fits nor its weights.
    """
    data, outputs = candidates.data, candidates.outputs
    predicted = np.empty_like(outputs[0])
    for fold in range(data.fold_count):
        rows = data.folds == fold
        found = combine(candidates, max_models, fold)
        predicted[rows] = found.of([output[rows] for output in outputs])
    return fold_scores(data.goal.metric, np.asarray(data.target), predicted, data.folds)


def _second_level(
    candidates: Candidates, max_models: int, left_out: int | None, rows: Rows
) -> Combination:
    members = sorted(place for place, _ in _by_turns(candidates, left_out)[:max_models])
    outputs = [candidates.outputs[place] for place in members]
    fitted = fit_second_level(candidates.data, outputs, rows)
    weights = dict(zip(members, fitted.weights, strict=True))
    return Combination(
        {place: weight for place, weight in weights.items() if weight > 0}, fitted.document
    )


def _by_turns(candidates: Candidates, left_out: int | None) -> list[tuple[int, int]]:
    """Return the candidates: the best of each family, then the second best of each, and so on.

    Returns:
        Position and turn of each; within a turn the best comes first.
    """
    values = [float(np.mean(found)) for found in _values(candidates, left_out)]
    best = sorted(range(len(values)), key=lambda place: (-values[place], place))
    found = zip(best, turns(candidates.families[place] for place in best), strict=True)
    return sorted(found, key=lambda one: one[1])


def _values(candidates: Candidates, left_out: int | None) -> list[Floats]:
    """Return the values of each candidate on the folds that are seen; more is better."""
    data = candidates.data
    metric, target = data.goal.metric, np.asarray(data.target)
    parts = [data.folds == fold for fold in _seen(data, left_out)]
    return [
        sign(metric) * np.array([score(metric, target[part], output[part]) for part in parts])
        for output in candidates.outputs
    ]


def _share(gaps: Floats) -> float:
    """Return the weight of a family that lacks these gaps to the best on the folds, which has 1."""
    if len(gaps) < 2 or not gaps.any():
        return 1.0
    error = float(gaps.var(ddof=1)) / len(gaps)
    return error / (error + (float(gaps.mean()) / HALVED) ** 2)


def _seen(data: SearchData, left_out: int | None) -> list[int]:
    return [fold for fold in range(data.fold_count) if fold != left_out]
