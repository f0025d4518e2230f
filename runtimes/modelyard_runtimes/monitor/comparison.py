"""Compares the window with the reference, feature by feature, and corrects for their number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from modelyard.api.monitor import Drift, DriftMetric, Threshold

from modelyard_runtimes.monitor import statistics
from modelyard_runtimes.monitor.sketch import CategoryWindow, NumericWindow
from modelyard_runtimes.monitor.statistics import Counts, Sample
from modelyard_runtimes.threads import in_threads

Floats = npt.NDArray[np.float64]
Values: TypeAlias = Sequence[Any] | npt.NDArray[Any]
Seen: TypeAlias = NumericWindow | CategoryWindow

NUMERIC = "Numeric"
SUITS_NUMBERS: tuple[DriftMetric, ...] = ("KS", "PSI", "KL", "Wasserstein", "JensenShannon")
SUITS_CATEGORIES: tuple[DriftMetric, ...] = ("ChiSquared", "PSI", "KL", "JensenShannon")

_THRESHOLDS: dict[DriftMetric, Callable[[Threshold], float]] = {
    "KS": lambda threshold: threshold.ks,
    "ChiSquared": lambda threshold: threshold.chi_squared,
    "PSI": lambda threshold: threshold.psi,
    "KL": lambda threshold: threshold.kl,
    "Wasserstein": lambda threshold: threshold.wasserstein,
    "JensenShannon": lambda threshold: threshold.jensen_shannon,
}
_OF_COUNTS: dict[DriftMetric, Callable[[Counts, Counts], float]] = {
    "PSI": statistics.population_stability_index,
    "KL": statistics.kl_divergence,
    "JensenShannon": statistics.jensen_shannon_distance,
}


@dataclass(frozen=True)
class Finding:
    """What was found of one feature, told by the metric that tells most.

    Attributes:
        test: Metric. ChiSquared of a numeric feature compares how often it is missing.
        statistic: Value of the metric.
        effect: What `threshold` is compared with: Cramer's V for ChiSquared, standard deviations
            for Wasserstein, else the statistic.
        p_value: p-value before correction; None for metrics without a test.
        corrected: p-value corrected for the number of features.
        missing_reference: Share of missing values in the reference.
        missing_window: Share of missing values in the window.
        drifted: Whether the feature counts as drifted.
        statistics: Value of every metric that was asked for.
    """

    test: DriftMetric
    statistic: float
    effect: float
    p_value: float | None = None
    corrected: float | None = None
    missing_reference: float = 0.0
    missing_window: float = 0.0
    drifted: bool = False
    statistics: dict[str, float] = field(default_factory=dict)


class NumericReference(NamedTuple):
    """Numbers of the reference, sorted once, and how many are missing."""

    sample: Sample
    missing: int


Reference: TypeAlias = NumericReference | Counter[Any]


def suits(kind: str) -> tuple[DriftMetric, ...]:
    """Return the metrics that suit a type of feature."""
    return SUITS_NUMBERS if kind == NUMERIC else SUITS_CATEGORIES


def reference_of(kind: str, values: Values) -> Reference:
    """Return what is compared with, made ready once for all windows."""
    if kind != NUMERIC:
        return Counter(values)
    numbers = as_floats(values)
    there = numbers[~np.isnan(numbers)]
    return NumericReference(statistics.sample_of(there), numbers.size - there.size)


def window_of(reference: Reference) -> Seen:
    """Return an empty window that is to be compared with a reference."""
    if isinstance(reference, NumericReference):
        return NumericWindow(reference.sample.values)
    return CategoryWindow(reference)


def add(window: Seen, values: Values) -> None:
    """Add values to a window."""
    if isinstance(window, NumericWindow):
        window.add(as_floats(values))
    else:
        window.add(list(values))


def compare(
    types: Mapping[str, str],
    reference: Mapping[str, Values],
    window: Mapping[str, Values],
    drift: Drift,
) -> dict[str, Finding]:
    """Return what was found, by feature.

    Args:
        types: `Numeric` by feature, any other type counts as categories; these are compared.
        reference: Values of the training snapshot by feature. Numeric ones as floats with NaN for
            missing, categorical ones as texts with None for missing.
        window: Values of the logged requests, in the same form.
        drift: Metrics, levels and thresholds.
    """
    ready = in_threads(lambda name: reference_of(types[name], reference[name]), types)
    references = dict(zip(types, ready, strict=True))
    windows = {name: window_of(ready) for name, ready in references.items()}
    for name, seen in windows.items():
        add(seen, window[name])
    return compare_windows(references, windows, drift)


def compare_windows(
    references: Mapping[str, Reference], windows: Mapping[str, Seen], drift: Drift
) -> dict[str, Finding]:
    """Return what was found, by feature; each has at least one metric that suits it."""
    measured = in_threads(lambda name: _measured(references[name], windows[name], drift), windows)
    raw = dict(zip(windows, measured, strict=True))
    tested = [
        (name, position)
        for name, findings in raw.items()
        for position, finding in enumerate(findings)
        if finding.p_value is not None
    ]
    corrected = statistics.corrected(
        np.array([raw[name][position].p_value for name, position in tested], dtype=np.float64),
        drift.correction,
    )
    by_place = dict(zip(tested, corrected.tolist(), strict=True))
    return {
        name: _decisive(
            [
                judged(finding, by_place.get((name, position)), drift)
                for position, finding in enumerate(findings)
            ]
        )
        for name, findings in raw.items()
    }


def judged(finding: Finding, corrected: float | None, drift: Drift) -> Finding:
    """Return the finding with its corrected p-value and whether it counts as drift."""
    certain = corrected is None or corrected < drift.significance
    return replace(finding, corrected=corrected, drifted=_matters(finding, drift) and certain)


def _matters(finding: Finding, drift: Drift) -> bool:
    return finding.effect >= _THRESHOLDS[finding.test](drift.threshold)


def _decisive(findings: list[Finding]) -> Finding:
    """Return the first finding that says drift, else the first, with the values of all."""
    chosen = next((finding for finding in findings if finding.drifted), findings[0])
    return replace(chosen, statistics={each.test: each.statistic for each in findings})


def _measured(reference: Reference, window: Seen, drift: Drift) -> list[Finding]:
    """Return the findings of all metrics that suit a feature."""
    if isinstance(reference, NumericReference) and isinstance(window, NumericWindow):
        return _of_numbers(reference, window, drift)
    if isinstance(reference, Counter) and isinstance(window, CategoryWindow):
        return _of_categories(reference, window.counts, drift)
    raise TypeError("a window belongs to a reference of its own type")


def _of_numbers(reference: NumericReference, window: NumericWindow, drift: Drift) -> list[Finding]:
    sample = window.sample()
    before, now = reference.sample, sample
    sizes = (before.size + reference.missing, now.size + window.missing)
    shares = (reference.missing / sizes[0], window.missing / sizes[1])
    metrics = [metric for metric in drift.metrics if metric in SUITS_NUMBERS]
    counts: tuple[Counts, Counts] | None = None
    if any(metric in _OF_COUNTS for metric in metrics):
        edges = statistics.quantile_edges(before.values) if before.size else before.values
        counts = (
            np.append(statistics.bin_counts(now, edges), window.missing),
            np.append(statistics.bin_counts(before, edges), reference.missing),
        )
    findings = []
    for metric in metrics:
        if metric == "KS":
            found = _kolmogorov_smirnov(reference, now, window.missing, drift)
        elif metric == "Wasserstein":
            found = _wasserstein(before, now)
        elif counts is not None:
            value = _OF_COUNTS[metric](*counts)
            found = Finding(metric, value, value)
        findings.append(replace(found, missing_reference=shares[0], missing_window=shares[1]))
    return findings


def _kolmogorov_smirnov(
    reference: NumericReference, now: Sample, missing: int, drift: Drift
) -> Finding:
    """Return what KS finds of the values that are there, and chi-squared of those that are not.

    Of those large enough to matter, else of both, the smaller p-value counts, doubled because there
    were two tests: a few missing values are certain soon and do not hide a shift of the others.
    """
    before = reference.sample
    tests: list[Finding] = []
    if before.size and now.size:
        distance = statistics.ks_distance(before, now)
        p_value = statistics.ks_p_value(distance, before.size, now.size)
        tests.append(Finding("KS", distance, distance, p_value))
    if reference.missing or missing:
        statistic, p_value, effect = statistics.chi_squared(
            np.array([missing, now.size]), np.array([reference.missing, before.size])
        )
        tests.append(Finding("ChiSquared", statistic, effect, p_value))
    best = min(
        tests,
        key=lambda found: (not _matters(found, drift), found.p_value or 0.0, -found.effect),
    )
    return replace(best, p_value=min(1.0, (best.p_value or 0.0) * len(tests)))


def _wasserstein(before: Sample, now: Sample) -> Finding:
    """Return the distance of the values that are there; nothing to compare is no distance."""
    if not (before.size and now.size):
        return Finding("Wasserstein", 0.0, 0.0)
    distance = statistics.wasserstein_distance(before, now)
    scale = float(before.values.std())
    effect = distance / scale if scale else math.inf if distance else 0.0
    return Finding("Wasserstein", distance, effect)


def _of_categories(reference: Counter[Any], window: Counter[Any], drift: Drift) -> list[Finding]:
    """Return the findings of categories.

    A missing value is a category of its own, and so is one that the reference does not know.
    """
    categories = sorted({*reference, *window}, key=lambda one: (one is not None, str(one)))
    before = np.array([reference[category] for category in categories], dtype=np.int64)
    now = np.array([window[category] for category in categories], dtype=np.int64)
    shares = (reference[None] / before.sum(), window[None] / now.sum())
    findings = []
    for metric in (metric for metric in drift.metrics if metric in SUITS_CATEGORIES):
        if metric == "ChiSquared":
            statistic, p_value, effect = statistics.chi_squared(*statistics.pooled(now, before))
            found = Finding(metric, statistic, effect, p_value)
        else:
            value = _OF_COUNTS[metric](now, before)
            found = Finding(metric, value, value)
        findings.append(replace(found, missing_reference=shares[0], missing_window=shares[1]))
    return findings


def as_floats(values: Values) -> Floats:
    """Return numbers, NaN where missing."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64, copy=False)
    return np.array(
        [math.nan if value is None else float(value) for value in values], dtype=np.float64
    )
