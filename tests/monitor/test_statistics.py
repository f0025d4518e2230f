"""The statistics are those of SciPy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from modelyard_runtimes.monitor import statistics
from scipy import stats
from scipy.spatial.distance import jensenshannon

SAMPLES = {
    "shifted": (lambda r: r.normal(size=569), lambda r: r.normal(0.3, 1, 1000)),
    "the same": (lambda r: r.normal(size=300), lambda r: r.normal(size=300)),
    "with ties": (lambda r: r.integers(0, 5, 400) * 1.0, lambda r: r.integers(1, 6, 250) * 1.0),
    "three values each": (lambda r: r.random(3), lambda r: r.random(3) + 2),
    "constant": (lambda _r: np.full(100, 3.0), lambda _r: np.full(50, 3.0)),
    "apart": (lambda r: r.normal(size=700), lambda r: r.normal(50, 1, 900)),
    "very unequal": (lambda r: r.normal(size=20_000), lambda r: r.normal(0.1, 1, 200)),
    "large, the same": (lambda r: r.normal(size=30_000), lambda r: r.normal(size=40_000)),
    "large, shifted": (lambda r: r.normal(size=30_000), lambda r: r.normal(0.01, 1, 40_000)),
    "large, with ties": (
        lambda r: r.integers(0, 50, 20_000) * 1.0,
        lambda r: r.integers(0, 50, 20_000) * 1.0,
    ),
}


@pytest.mark.parametrize(("make_a", "make_b"), SAMPLES.values(), ids=list(SAMPLES))
def test_kolmogorov_smirnov(make_a: object, make_b: object) -> None:
    random = np.random.default_rng(5)
    reference, window = make_a(random), make_b(random)  # type: ignore[operator]

    expected = stats.ks_2samp(reference, window, method="asymp")

    distance = statistics.ks_distance(statistics.sample_of(reference), statistics.sample_of(window))
    p_value = statistics.ks_p_value(distance, reference.size, window.size)
    assert distance == pytest.approx(expected.statistic, abs=1e-9)
    assert p_value == pytest.approx(expected.pvalue, abs=1e-9)


@pytest.mark.parametrize("z", [0.1, 0.19, 0.2, 0.25, 0.3, 0.5, 0.8, 1.2, 1.48, 1.49, 1.62, 2, 4, 8])
@pytest.mark.parametrize("size", [statistics.LARGE_SAMPLE, 50_000, 500_000])
def test_the_series_of_large_samples_is_the_exact_p_value(size: int, z: float) -> None:
    distance = z / np.sqrt(size)

    assert statistics.kolmogorov_p_value(distance, size) == pytest.approx(
        stats.kstwo.sf(distance, size), abs=1e-9
    )


@pytest.mark.parametrize(("make_a", "make_b"), SAMPLES.values(), ids=list(SAMPLES))
def test_wasserstein(make_a: object, make_b: object) -> None:
    random = np.random.default_rng(5)
    reference, window = make_a(random), make_b(random)  # type: ignore[operator]

    distance = statistics.wasserstein_distance(
        statistics.sample_of(reference), statistics.sample_of(window)
    )

    assert distance == pytest.approx(stats.wasserstein_distance(reference, window), abs=1e-9)


TABLES = {
    "alike": ([50, 30, 20], [500, 310, 190]),
    "different": ([50, 30, 20], [100, 500, 400]),
    "unseen category": ([80, 0, 20], [100, 100, 0]),
    "two categories": ([5, 95], [50, 950]),
}


@pytest.mark.parametrize(("window", "reference"), TABLES.values(), ids=list(TABLES))
def test_chi_squared(window: list[int], reference: list[int]) -> None:
    expected = stats.chi2_contingency([window, reference], correction=False)

    statistic, p_value, effect = statistics.chi_squared(np.array(window), np.array(reference))

    assert statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert p_value == pytest.approx(expected.pvalue, abs=1e-9)
    assert 0 <= effect <= 1


def test_one_category_cannot_drift() -> None:
    assert statistics.chi_squared(np.array([7, 0]), np.array([9, 0])) == (0.0, 1.0, 0.0)


def test_the_effect_is_cramers_v_of_equally_large_samples() -> None:
    window, reference = np.array([300, 700]), np.array([500, 500])
    expected = stats.contingency.association(np.stack([window, reference]), method="cramer")

    assert statistics.chi_squared(window, reference)[2] == pytest.approx(expected, abs=1e-9)
    assert statistics.chi_squared(window, reference * 1000)[2] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("window", "reference"), TABLES.values(), ids=list(TABLES))
def test_kl_and_psi(window: list[int], reference: list[int]) -> None:
    p = np.array(window) + statistics.SMOOTHING
    q = np.array(reference) + statistics.SMOOTHING

    forward, backward = stats.entropy(p, q), stats.entropy(q, p)

    counts = np.array(window), np.array(reference)
    assert statistics.kl_divergence(*counts) == pytest.approx(forward, abs=1e-9)
    assert statistics.population_stability_index(*counts) == pytest.approx(
        forward + backward, abs=1e-9
    )


@pytest.mark.parametrize(("window", "reference"), TABLES.values(), ids=list(TABLES))
def test_jensen_shannon(window: list[int], reference: list[int]) -> None:
    p = np.array(window) + statistics.SMOOTHING
    q = np.array(reference) + statistics.SMOOTHING

    distance = statistics.jensen_shannon_distance(np.array(window), np.array(reference))

    assert distance == pytest.approx(jensenshannon(p, q), abs=1e-9)


@pytest.mark.parametrize("values", [np.arange(1000.0), np.repeat([1.0, 2.0, 3.0], 100)])
def test_bins_hold_equal_parts_and_every_value(values: np.ndarray) -> None:
    edges = statistics.quantile_edges(values)
    counts = statistics.bin_counts(statistics.sample_of(values), edges)

    assert counts.sum() == values.size
    assert statistics.bin_counts(statistics.sample_of(np.array([-1e9, 1e9])), edges)[
        [0, -1]
    ].tolist() == [1, 1]
    if edges.size == statistics.BINS - 1:
        assert counts.tolist() == [100] * 10


def test_two_values_tell_nothing() -> None:
    assert statistics.ks_p_value(1.0, 1, 1) == 1.0


def test_benjamini_hochberg() -> None:
    p_values = np.random.default_rng(1).random(50) ** 3

    np.testing.assert_allclose(
        statistics.corrected(p_values, "BenjaminiHochberg"),
        stats.false_discovery_control(p_values, method="bh"),
        atol=1e-9,
    )


def test_holm_by_hand() -> None:
    p_values = np.array([0.01, 0.04, 0.03, 0.005])

    # Sorted: .005 x 4, .01 x 3, .03 x 2, .04 x 1, none below the one before.
    corrected = statistics.corrected(p_values, "Holm")
    assert corrected.tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_no_correction() -> None:
    assert statistics.corrected(np.array([0.2, 0.9]), "None").tolist() == [0.2, 0.9]


def test_rare_categories_are_pooled() -> None:
    window, reference = statistics.pooled(np.array([90, 1, 2, 40]), np.array([900, 3, 2, 0]))

    assert window.tolist() == [90, 40, 3]
    assert reference.tolist() == [900, 0, 5]


RARE = {
    "all of them new": lambda: np.append(np.zeros(300), np.full(200, 5)),
    "a third of the known ones": lambda: np.append(
        np.where(np.random.default_rng(1).random(300) < 0.3, 10, 0), np.zeros(200)
    ),
    "half of them new": lambda: np.append(np.full(300, 2), np.full(200, 2)),
}


@pytest.mark.parametrize("window", RARE.values(), ids=list(RARE))
def test_what_came_in_place_of_rare_categories_is_seen(window: Any) -> None:
    reference = np.append(np.full(300, 160), np.zeros(200)).astype(np.int64)
    counts = statistics.pooled(window().astype(np.int64), reference)
    _, p_value, effect = statistics.chi_squared(*counts)

    assert (counts[0].sum(), counts[1].sum()) == (window().sum(), reference.sum())
    assert len(counts[0]) <= statistics.BINS + 1
    assert p_value < 1e-6
    assert effect > 0.1


SAME = [
    pytest.param(400, 50_000, 800, id="a large reference"),
    pytest.param(400, 1000, 800, id="a reference that lacks some by chance"),
    pytest.param(60, 5000, 200, id="a small window"),
    pytest.param(2000, 200, 1000, id="a reference smaller than the window"),
    pytest.param(2000, 2000, 1000, id="a reference not much larger"),
]


@pytest.mark.parametrize(("categories", "before", "now"), SAME)
def test_equal_shares_of_rare_categories_are_no_shift(
    categories: int, before: int, now: int
) -> None:
    random = np.random.default_rng(3)
    found = []
    for _ in range(300):
        shares = random.dirichlet(np.full(categories, 2.0))
        window, reference = random.multinomial(now, shares), random.multinomial(before, shares)
        found.append(statistics.chi_squared(*statistics.pooled(window, reference))[1])

    assert np.mean(np.array(found) < 0.05) < 0.1


def test_nothing_warns_on_empty_bins() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = statistics.population_stability_index(np.array([0, 9]), np.array([9, 0]))
    assert value > 1
