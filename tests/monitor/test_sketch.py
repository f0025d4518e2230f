"""Sketches of large windows: equal to the raw values within a hundredth, and free to be merged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from modelyard.api.monitor import Drift, DriftMetric
from modelyard_runtimes.monitor import sketch
from modelyard_runtimes.monitor.comparison import (
    add,
    compare,
    compare_windows,
    reference_of,
    window_of,
)
from modelyard_runtimes.monitor.sketch import CategoryWindow, NumericWindow

Floats = npt.NDArray[np.float64]
ROWS = 120_000
METRICS = Drift(metrics=list(get_args(DriftMetric)), window={"maxRows": 1_000_000})  # type: ignore[arg-type]

SAMPLES: dict[str, tuple[Callable[[Any], Floats], Callable[[Any], Floats]]] = {
    "shifted": (lambda r: r.normal(size=ROWS), lambda r: r.normal(0.1, 1, ROWS)),
    "wider": (lambda r: r.normal(size=ROWS), lambda r: r.normal(0, 1.5, ROWS)),
    "far apart": (lambda r: r.normal(size=ROWS), lambda r: r.normal(40, 1, ROWS)),
    "heavy tails": (lambda r: r.lognormal(0, 2, ROWS), lambda r: r.lognormal(0.3, 2, ROWS)),
    "counts": (lambda r: r.poisson(3, ROWS) * 1.0, lambda r: r.poisson(4, ROWS) * 1.0),
    "mostly zero": (
        lambda r: np.where(r.random(ROWS) < 0.7, 0.0, r.normal(size=ROWS)),
        lambda r: np.where(r.random(ROWS) < 0.5, 0.0, r.normal(size=ROWS)),
    ),
    "constant": (lambda _r: np.full(ROWS, 0.1), lambda _r: np.full(ROWS, 0.1)),
    "four values": (
        lambda r: r.choice([0.1, 0.2, 0.3, 0.7], ROWS),
        lambda r: r.choice([0.1, 0.2, 0.3, 0.7], ROWS),
    ),
    "one value now": (lambda r: r.normal(size=ROWS), lambda _r: np.full(ROWS, 0.3)),
}


def found(reference: Floats, parts: list[Floats]) -> tuple[dict[str, float], NumericWindow]:
    """Return all statistics of a window that arrives in parts."""
    references = {"x": reference_of("Numeric", reference)}
    window = window_of(references["x"])
    for part in parts:
        add(window, part)
    finding = compare_windows(references, {"x": window}, METRICS)["x"]
    assert isinstance(window, NumericWindow)
    return finding.statistics, window


@pytest.mark.parametrize(("make_a", "make_b"), SAMPLES.values(), ids=list(SAMPLES))
def test_a_sketch_tells_what_the_raw_values_tell(
    make_a: Any, make_b: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(3)
    reference, window = make_a(random), make_b(random)

    sketched, held = found(reference, np.array_split(window, 20))
    monkeypatch.setattr(sketch, "EXACT_VALUES", 10 * ROWS)
    exact, _ = found(reference, [window])

    assert held.sample().values.size < ROWS
    assert set(exact) == {"KS", "PSI", "KL", "Wasserstein", "JensenShannon"}
    assert sketched == pytest.approx(exact, rel=0.01)


def test_merged_parts_are_as_good_as_one_window() -> None:
    random = np.random.default_rng(4)
    reference = np.sort(random.normal(size=5000))
    values = random.normal(size=3 * ROWS)
    values[::100] = np.nan
    whole, left, right = (NumericWindow(reference) for _ in range(3))
    whole.add(values)
    left.add(values[:ROWS])
    right.add(values[ROWS : ROWS + 50])
    right.add(values[ROWS + 50 :])

    left.merge(right)

    assert (left.size, left.missing) == (whole.size, whole.missing)
    np.testing.assert_array_equal(left.sample().counts, whole.sample().counts)
    np.testing.assert_allclose(left.sample().values, whole.sample().values)


def test_small_windows_are_kept_as_they_are() -> None:
    window = NumericWindow(np.arange(100.0))
    window.add(np.array([3.0, np.nan, 1.0]))

    other = NumericWindow(np.arange(100.0))
    other.add(np.array([2.0]))
    window.merge(other)

    assert (window.sample().values.tolist(), window.missing) == ([1.0, 2.0, 3.0], 1)


def test_new_categories_beyond_the_limit_are_counted_together() -> None:
    window, other = CategoryWindow({"old", "older"}), CategoryWindow({"old", "older"})
    window.add([f"c{n}" for n in range(sketch.MOST_CATEGORIES)])
    other.add(["c1", "new", "newer", "old", None])

    window.merge(other)

    assert window.counts["c1"] == 2
    assert (window.counts[sketch.OTHER], window.counts["old"], window.counts[None]) == (2, 1, 1)
    assert window.counts.total() == sketch.MOST_CATEGORIES + 5


def test_a_window_of_more_categories_than_the_limit_is_that_of_its_reference() -> None:
    names = [f"c{n}" for n in range(2 * sketch.MOST_CATEGORIES)]
    found = compare({"x": "Categorical"}, {"x": names}, {"x": names}, Drift())["x"]

    assert (found.statistic, found.drifted) == (0.0, False)
