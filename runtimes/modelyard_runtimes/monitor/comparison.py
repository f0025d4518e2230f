"""Compares the window with the reference, feature by feature, and corrects for their number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from modelyard.api.monitor import Drift, DriftTest

from modelyard_runtimes.monitor import statistics

Floats = npt.NDArray[np.float64]
Values: TypeAlias = Sequence[Any] | npt.NDArray[Any]

NUMERIC = "Numeric"


@dataclass(frozen=True)
class Finding:
    """What the test of one feature found.

    Attributes:
        test: Test that was used. ChiSquared of a numeric feature compares how often it is missing.
        statistic: KS distance, chi-squared, PSI or KL.
        effect: What `minEffect` or `threshold` is compared with: KS distance, Cramer's V, PSI, KL.
        p_value: p-value before correction; None for PSI and KL.
        corrected: p-value corrected for the number of features; None for PSI and KL.
        missing_reference: Share of missing values in the reference.
        missing_window: Share of missing values in the window.
        drifted: Whether the feature counts as drifted.
    """

    test: DriftTest
    statistic: float
    effect: float
    p_value: float | None = None
    corrected: float | None = None
    missing_reference: float = 0.0
    missing_window: float = 0.0
    drifted: bool = False


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
        drift: Tests, levels and thresholds.
    """
    raw = {
        name: (
            compare_numeric(reference[name], window[name], drift)
            if kind == NUMERIC
            else compare_categorical(reference[name], window[name], drift)
        )
        for name, kind in types.items()
    }
    tested = [name for name, finding in raw.items() if finding.p_value is not None]
    corrected = statistics.corrected(
        np.array([raw[name].p_value for name in tested], dtype=np.float64), drift.correction
    )
    by_name = dict(zip(tested, corrected.tolist(), strict=True))
    return {name: judged(finding, by_name.get(name), drift) for name, finding in raw.items()}


def judged(finding: Finding, corrected: float | None, drift: Drift) -> Finding:
    """Return the finding with its corrected p-value and whether it counts as drift."""
    if corrected is None:
        drifted = finding.effect >= drift.threshold
    else:
        drifted = corrected < drift.significance and finding.effect >= drift.min_effect
    return Finding(
        test=finding.test,
        statistic=finding.statistic,
        effect=finding.effect,
        p_value=finding.p_value,
        corrected=corrected,
        missing_reference=finding.missing_reference,
        missing_window=finding.missing_window,
        drifted=drifted,
    )


def compare_numeric(reference: Values, window: Values, drift: Drift) -> Finding:
    """Return what the test of a numeric feature found.

    KS looks at the values that are there, and a chi-squared test at how many are missing; the
    smaller p-value counts, doubled because there were two tests. PSI and KL give missing values a
    bin of their own.
    """
    reference_values, window_values = as_floats(reference), as_floats(window)
    there_reference = np.sort(reference_values[~np.isnan(reference_values)])
    there_window = window_values[~np.isnan(window_values)]
    missing_reference = reference_values.size - there_reference.size
    missing_window = window_values.size - there_window.size
    shares = (missing_reference / reference_values.size, missing_window / window_values.size)
    if drift.numeric_test != "KS":
        edges = (
            statistics.quantile_edges(there_reference) if there_reference.size else there_window[:0]
        )
        counts_window = np.append(statistics.bin_counts(there_window, edges), missing_window)
        counts_reference = np.append(
            statistics.bin_counts(there_reference, edges), missing_reference
        )
        return divergence(drift.numeric_test, counts_window, counts_reference, shares)
    tests: list[tuple[DriftTest, float, float, float]] = []
    if there_reference.size and there_window.size:
        distance = statistics.ks_distance(there_reference, there_window)
        p_value = statistics.ks_p_value(distance, there_reference.size, there_window.size)
        tests.append(("KS", distance, p_value, distance))
    if missing_reference or missing_window:
        tests.append(
            (
                "ChiSquared",
                *statistics.chi_squared(
                    np.array([missing_window, there_window.size]),
                    np.array([missing_reference, there_reference.size]),
                ),
            )
        )
    test, statistic, p_value, effect = min(tests, key=lambda found: (found[2], -found[3]))
    return Finding(test, statistic, effect, min(1.0, p_value * len(tests)), None, *shares)


def compare_categorical(reference: Values, window: Values, drift: Drift) -> Finding:
    """Return what the test of a categorical feature found.

    A missing value is a category of its own, and so is one that the reference does not know.
    """
    categories = {value: code for code, value in enumerate(dict.fromkeys([*reference, *window]))}
    counts_reference = counted(reference, categories)
    counts_window = counted(window, categories)
    missing = categories.get(None)
    shares = (
        (0.0, 0.0)
        if missing is None
        else (
            counts_reference[missing] / len(reference),
            counts_window[missing] / len(window),
        )
    )
    if drift.categorical_test != "ChiSquared":
        return divergence(drift.categorical_test, counts_window, counts_reference, shares)
    statistic, p_value, effect = statistics.chi_squared(
        *statistics.pooled(counts_window, counts_reference)
    )
    return Finding("ChiSquared", statistic, effect, p_value, None, *shares)


def divergence(
    test: DriftTest,
    window: statistics.Counts,
    reference: statistics.Counts,
    shares: tuple[float, float],
) -> Finding:
    """Return the PSI or KL of two lists of counts."""
    measure = statistics.population_stability_index if test == "PSI" else statistics.kl_divergence
    value = measure(window, reference)
    return Finding(test, value, value, None, None, *shares)


def counted(values: Values, categories: Mapping[Any, int]) -> statistics.Counts:
    """Return how often each category occurs."""
    codes = np.fromiter((categories[value] for value in values), dtype=np.int64, count=len(values))
    return np.bincount(codes, minlength=len(categories)).astype(np.int64)


def as_floats(values: Values) -> Floats:
    """Return numbers, NaN where missing."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64, copy=False)
    return np.array(
        [math.nan if value is None else float(value) for value in values], dtype=np.float64
    )
