"""Boruta: features that are more important than chance.

Kursa and Rudnicki, "Feature Selection with the Boruta Package", Journal of Statistical Software
36(11), 2010. Every round a forest is fitted on the features and on shadows of them: the same
columns with their rows shuffled. A feature that is more important than the best shadow scores a
hit. What has more, or fewer, hits than a fair coin explains at the level of 0.01, corrected for the
number of features as Bonferroni does, is confirmed, or rejected and left out of further rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import binom  # type: ignore[import-untyped]

from modelyard_runtimes.model.schema import Floats

LEVEL = 0.01
ROUNDS = 50
LEAST_SHADOWS = 5
"""Shadows are repeated up to so many features, so that few have no easy rival."""

Importances = Callable[[Floats, int], Floats]
"""Returns the importance of each column, by the columns and a seed."""


def confirmed(
    columns: Floats, features: Sequence[int], importances: Importances, seed: int
) -> dict[int, int]:
    """Return the hits of each feature that tells more than chance.

    Those that are undecided in the end are confirmed if they scored more often than not.

    Args:
        columns: Rows x columns.
        features: Feature of each column.
        importances: Fits a forest.
        seed: Seed of the shuffles and the forests.
    """
    owners = np.asarray(features)
    generator = np.random.default_rng(seed)
    names = np.unique(owners)
    hits = dict.fromkeys(names.tolist(), 0)
    level = LEVEL / len(names)
    left, undecided = set(hits), set(hits)
    for done in range(1, ROUNDS + 1):
        seen = np.isin(owners, sorted(left))
        for feature in _better_than_shadows(columns[:, seen], owners[seen], importances, generator):
            hits[feature] += 1
        for feature in sorted(undecided):
            more = binom.sf(hits[feature] - 1, done, 0.5) < level
            fewer = binom.cdf(hits[feature], done, 0.5) < level
            undecided -= {feature} if more or fewer else set()
            left -= {feature} if fewer else set()
        if not undecided:
            break
    return {
        feature: hits[feature]
        for feature in sorted(left)
        if feature not in undecided or 2 * hits[feature] > ROUNDS
    }


def _better_than_shadows(
    columns: Floats,
    owners: npt.NDArray[np.intp],
    importances: Importances,
    generator: np.random.Generator,
) -> list[int]:
    """Return the features that are more important than the best shadow."""
    names, places = np.unique(owners, return_inverse=True)
    copies = -(-LEAST_SHADOWS // len(names))
    shadows: list[Floats] = []
    for _ in range(copies):
        shuffled = [generator.permutation(len(columns)) for _ in names]
        shadows += [columns[shuffled[place], column] for column, place in enumerate(places)]
    both = np.column_stack([columns, *shadows])
    found = importances(both, int(generator.integers(2**31)))
    groups = [found[start : start + len(places)] for start in range(0, len(found), len(places))]
    own, *others = [np.bincount(places, weights=group) for group in groups]
    best = max(float(other.max()) for other in others)
    return [int(name) for name, value in zip(names, own, strict=True) if value > best]
