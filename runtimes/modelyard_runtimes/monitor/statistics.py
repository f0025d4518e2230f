"""Distances between two samples of one feature, and their p-values. Pure NumPy and SciPy.

Two-sample Kolmogorov-Smirnov and chi-squared are those of `scipy.stats` (`ks_2samp` with
`method="asymp"`, `chi2_contingency` with `correction=False`); KL is `scipy.stats.entropy(p, q)` and
PSI the sum of KL in both directions (population stability index).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, kstwo  # type: ignore[import-untyped]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

BINS = 10
"""Quantile bins of a numeric feature for PSI and KL."""
SMOOTHING = 0.5
"""Added to each count before PSI and KL, so that an empty bin is rare and not impossible."""
LARGE_SAMPLE = 5000
"""Effective size from which the p-value of KS is summed from a series."""
_TERMS = 40
MINIMUM_EXPECTED = 5.0
"""Least expected count of a category in chi-squared (Cochran's rule); rarer ones are pooled."""
LARGE_ENOUGH = 4
"""Times the window that a reference is to be, if it lacks categories."""
FEW_SINGLE = 0.1
"""Share of a reference's rare rows, each alone in its category, up to which it lacks few."""


class Sample(NamedTuple):
    """Numbers in ascending order, none of them NaN.

    Attributes:
        values: The different ones, or all.
        counts: How often each occurs; None where each stands for itself.
    """

    values: Floats
    counts: Counts | None = None

    @property
    def size(self) -> int:
        """Number of numbers."""
        return self.values.size if self.counts is None else int(self.counts.sum())

    def below(self, points: Floats) -> Floats:
        """Return the share of numbers that are at most as large, for points in ascending order."""
        positions = np.searchsorted(self.values, points, side="right")
        return self.up_to(positions) / self.size

    def shares(self) -> Floats:
        """Return the share of numbers up to each of the values."""
        return self.up_to(np.arange(1, self.values.size + 1)) / self.size

    def up_to(self, positions: Counts) -> Counts:
        """Return how many numbers the first so many values stand for."""
        if self.counts is None:
            return positions
        return np.concatenate([[0], np.cumsum(self.counts)])[positions]


def sample_of(values: Floats) -> Sample:
    """Return the sample of values in any order, none of them NaN."""
    return Sample(np.sort(values))


def ks_distance(reference: Sample, window: Sample) -> float:
    """Return the largest distance of the two empirical distribution functions, 0 to 1.

    A function is farthest above the other right where it rises, so it is looked at only there.
    """
    window_below = np.searchsorted(window.values, reference.values, side="left")
    # A value of the reference is at most the window's j-th where at most j of these are below it.
    steps = np.bincount(window_below, reference.counts, minlength=window.values.size + 1)
    reference_up_to = np.cumsum(steps[:-1])
    above = np.max(window.shares() - reference_up_to / reference.size)
    held = window.values[np.minimum(window_below, window.values.size - 1)] == reference.values
    if held.any():
        window_below = np.searchsorted(window.values, reference.values, side="right")
    below = np.max(reference.shares() - window.up_to(window_below) / window.size)
    return float(max(above, below, 0.0))


def wasserstein_distance(reference: Sample, window: Sample) -> float:
    """Return the area between the two empirical distribution functions."""
    points = np.sort(np.concatenate([reference.values, window.values]))
    apart = np.abs(reference.below(points[:-1]) - window.below(points[:-1]))
    return float(np.sum(apart * np.diff(points)))


def jensen_shannon_distance(window: Counts, reference: Counts) -> float:
    """Return the Jensen-Shannon distance: the root of the divergence from their mean, in nats."""
    p, q = smoothed(window), smoothed(reference)
    mean = (p + q) / 2
    divergence = np.sum(p * np.log(p / mean)) + np.sum(q * np.log(q / mean))
    return float(np.sqrt(max(divergence / 2, 0.0)))


def ks_p_value(distance: float, reference_size: int, window_size: int) -> float:
    """Return the asymptotic two-sided p-value of a KS distance; 1 where a sample is too small."""
    large, small = sorted((float(reference_size), float(window_size)), reverse=True)
    effective = np.round(large * small / (large + small))
    if effective < 1:
        return 1.0
    if effective >= LARGE_SAMPLE:
        return kolmogorov_p_value(distance, effective)
    return float(np.clip(kstwo.sf(distance, effective), 0.0, 1.0))


def kolmogorov_p_value(distance: float, size: float) -> float:
    """Return the p-value of a KS distance in a large sample, equal to SciPy's to 1e-9.

    Kolmogorov's series with the three corrections of Li-Chien (1956) and Korolyuk (1960); what they
    leave is of the order of size ** -2. The exact way takes a thousand times longer.
    """
    z = distance * np.sqrt(size)
    if z < 0.2:
        return 1.0  # 1 - p is below 1e-11
    # Like SciPy's exact way: from here on only the first term counts.
    k = np.arange(1, (1 if z**2 >= 2.2 else _TERMS) + 1, dtype=np.float64)
    sign = np.where(k % 2 == 0, 1.0, -1.0)
    series = sign * np.exp(-2 * (k * z) ** 2)
    product = (k * z) ** 2
    first = k**2 - (1 - sign) / 2
    second = 5 * k**2 + 22 - 7.5 * (1 - sign)
    order_1 = -2 / 3 * z * np.sum(k**2 * series)
    order_2 = -np.sum((first - 4 * (first + 3) * product + 8 * product**2) * series) / 18
    bracket = second / 5 - 4 * (second + 45) * product / 15 + 8 * product**2
    order_3 = z * np.sum(k**2 * bracket * series) / 27
    total = np.sum(series) + order_1 / size**0.5 + order_2 / size + order_3 / size**1.5
    return float(np.clip(-2 * total, 0.0, 1.0))


def quantile_edges(reference: Floats, bins: int = BINS) -> Floats:
    """Return the inner edges of bins that hold equal parts of the reference, ten where it can be.

    A value that takes up more than a bin gets one of its own.

    Args:
        reference: Sorted values, at least one, no NaN.
        bins: How many.
    """
    places = np.linspace(0, 1, bins + 1)[1:-1] * (reference.size - 1)
    left = places.astype(np.int64)
    right = np.minimum(left + 1, reference.size - 1)
    quantiles = reference[left] + (reference[right] - reference[left]) * (places - left)
    edges, repeats = np.unique(quantiles, return_counts=True)
    return np.union1d(edges, np.nextafter(edges[repeats > 1], np.inf))


def bin_counts(sample: Sample, edges: Floats) -> Counts:
    """Return the number of values in each bin; a value on an edge belongs to the bin above."""
    starts = np.searchsorted(sample.values, edges, side="left")
    if sample.counts is not None:
        starts = np.concatenate([[0], np.cumsum(sample.counts)])[starts]
    return np.diff(starts, prepend=0, append=sample.size).astype(np.int64)


def smoothed(counts: Counts) -> Floats:
    """Return shares from counts, none of them zero."""
    raised = counts + SMOOTHING
    return np.asarray(raised / raised.sum(), dtype=np.float64)


def kl_divergence(window: Counts, reference: Counts) -> float:
    """Return the Kullback-Leibler divergence of the window from the reference, in nats."""
    p, q = smoothed(window), smoothed(reference)
    return float(np.sum(p * np.log(p / q)))


def population_stability_index(window: Counts, reference: Counts) -> float:
    """Return the PSI: the divergences in both directions together, in nats."""
    return kl_divergence(window, reference) + kl_divergence(reference, window)


def pooled(window: Counts, reference: Counts) -> tuple[Counts, Counts]:
    """Return the counts with categories too rare for chi-squared merged, which are last.

    A category is too rare when fewer than five are expected in either sample. Rare ones share up to
    ten bins with their neighbours, and those that the reference lacks have one of their own: in one
    bin for all, nobody would see what came in place of others. A small reference lacks some by
    chance. It is as likely to as one of its rows is the only one of its category (Good, "The
    population frequencies of species", 1953), so as many of these rows count for that bin as are
    needed to make its share that of the window; that the window has fewer says nothing. Where many
    rows are such and the window is not much smaller, that is too rough: then there is one bin.

    Args:
        window: Count of each category in the window, in an order that does not depend on counts.
        reference: Count of the same categories in the reference.
    """
    sizes = window.sum(), reference.sum()
    least_share = min(sizes) / sum(sizes)
    rare = (window + reference) * least_share < MINIMUM_EXPECTED
    if not rare.any():
        return window, reference
    known, single = rare & (reference > 0), rare & (reference == 1)
    if sizes[1] < LARGE_ENOUGH * sizes[0] and single.sum() > FEW_SINGLE * reference[rare].sum():
        return (
            np.append(window[~rare], window[rare].sum()),
            np.append(reference[~rare], reference[rare].sum()),
        )
    new = int(window[rare & ~known].sum())
    lone = min(single.sum(), new * sizes[1] / sizes[0])
    bins = _bins((window + reference)[known] * least_share)
    left = np.where(single, 1 - lone / max(single.sum(), 1), reference)
    now = np.bincount(bins, weights=window[known]).astype(np.int64)
    before = np.rint(np.bincount(bins, weights=left[known])).astype(np.int64)
    lacking = reference[rare].sum() - before.sum()
    if now.size and (new + lacking) * least_share < MINIMUM_EXPECTED:
        now[-1] += new
        before[-1] += lacking
    else:
        now, before = np.append(now, new), np.append(before, lacking)
    return np.append(window[~rare], now), np.append(reference[~rare], before)


def _bins(expected: Floats) -> npt.NDArray[np.intp]:
    """Return the bin of each category: one after the other until enough are expected in a bin.

    What is left at the end belongs to the last bin.
    """
    enough = max(MINIMUM_EXPECTED, float(expected.sum()) / BINS)
    bins, total, number = [], 0.0, 0
    for one in expected.tolist():
        bins.append(number)
        total += one
        if total >= enough:
            total, number = 0.0, number + 1
    return np.minimum(np.array(bins, dtype=np.intp), max(number - 1, 0))


def chi_squared(window: Counts, reference: Counts) -> tuple[float, float, float]:
    """Return statistic, p-value and Cramer's V of the test that both have the same shares.

    Args:
        window: Count of each category in the window.
        reference: Count of the same categories in the reference.
    """
    table = np.stack([window, reference]).astype(np.float64)
    table = table[:, table.sum(axis=0) > 0]
    degrees = table.shape[1] - 1
    if degrees < 1:
        return 0.0, 1.0, 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float(np.sum((table - expected) ** 2 / expected))
    return statistic, float(chi2.sf(statistic, degrees)), cramers_v(table)


def cramers_v(table: Floats) -> float:
    """Return Cramer's V, 0 to 1, of two samples that are taken to be equally large.

    With the true sizes it would fall with the size of the reference: the same shift of a thousand
    requests would matter against a small snapshot and not against a large one.

    Args:
        table: 2 x categories counts, no category without any.
    """
    shares = table / table.sum(axis=1, keepdims=True)
    difference = (shares[0] - shares[1]) ** 2 / (shares[0] + shares[1])
    return float(np.sqrt(difference.sum() / 2))


def corrected(p_values: Floats, method: str) -> Floats:
    """Return p-values corrected for their number.

    Args:
        p_values: One for each feature.
        method: `Holm` (family-wise error, Holm 1979), `BenjaminiHochberg` (false discovery rate,
            1995) or `None`.
    """
    count = p_values.size
    if method == "None" or count == 0:
        return p_values
    order = np.argsort(p_values, kind="stable")
    ordered = p_values[order]
    if method == "Holm":
        adjusted = np.maximum.accumulate(ordered * np.arange(count, 0, -1))
    else:
        raised = ordered * count / np.arange(1, count + 1)
        adjusted = np.minimum.accumulate(raised[::-1])[::-1]
    result = np.empty(count, dtype=np.float64)
    result[order] = np.minimum(adjusted, 1.0)
    return result
