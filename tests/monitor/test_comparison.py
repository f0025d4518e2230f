"""Which differences count as drift: one feature at a time, and the defaults as shipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from modelyard.api.monitor import Drift, Threshold
from modelyard_runtimes.monitor.comparison import Finding, compare
from sklearn.datasets import load_breast_cancer

Floats = npt.NDArray[np.float64]
NAN = float("nan")
RANDOM = np.random.default_rng(11)
NORMAL = RANDOM.normal(size=2000)
COLOURS = RANDOM.choice(["red", "green", "blue"], 2000, p=[0.6, 0.3, 0.1]).tolist()


def one(kind: str, reference: Any, window: Any, **drift: Any) -> Finding:
    return compare({"x": kind}, {"x": reference}, {"x": window}, Drift(**drift))["x"]


def with_nulls(values: Any, share: float) -> list[Any]:
    count = int(len(values) * share)
    return [None] * count + list(values[count:])


CASES: dict[str, tuple[str, Any, Any, bool]] = {
    "numeric, same": ("Numeric", NORMAL, RANDOM.normal(size=1000), False),
    "numeric, shifted": ("Numeric", NORMAL, RANDOM.normal(0.5, 1, 1000), True),
    "numeric, wider": ("Numeric", NORMAL, RANDOM.normal(0, 2, 1000), True),
    "numeric, a shift too small to matter": ("Numeric", NORMAL, NORMAL + 0.1, False),
    "numeric, nulls appear": ("Numeric", NORMAL, with_nulls(NORMAL[:1000], 0.2), True),
    "numeric, shifted, and a few nulls appear": (
        "Numeric",
        np.tile(NORMAL, 25),
        with_nulls(RANDOM.normal(0.8, 1, 1000), 0.015),
        True,
    ),
    "numeric, same nulls": (
        "Numeric",
        np.where(np.arange(2000) % 5 == 0, NAN, NORMAL),
        with_nulls(NORMAL[:1000], 0.2),
        False,
    ),
    "numeric, nulls vanish": (
        "Numeric",
        np.where(np.arange(2000) % 3 == 0, NAN, NORMAL),
        NORMAL[:1000],
        True,
    ),
    "numeric, only nulls now": ("Numeric", NORMAL, [None] * 500, True),
    "numeric, only nulls always": ("Numeric", np.full(500, NAN), [None] * 500, False),
    "numeric, constant": ("Numeric", np.full(500, 1.0), [1.0] * 300, False),
    "numeric, another constant": ("Numeric", np.full(500, 1.0), [2.0] * 300, True),
    "categories, same": ("Categorical", COLOURS, COLOURS[:700], False),
    "categories, other shares": (
        "Categorical",
        COLOURS,
        ["red"] * 300 + ["blue"] * 300,
        True,
    ),
    "categories, one never seen": ("Categorical", COLOURS, COLOURS[:700] + ["pink"] * 150, True),
    "categories, few never seen": ("Categorical", COLOURS, [*COLOURS[:700], "pink"], False),
    "categories, nulls appear": ("Categorical", COLOURS, with_nulls(COLOURS[:1000], 0.2), True),
    "categories, all different": (
        "Categorical",
        [f"a{n}" for n in range(2000)],
        [f"b{n}" for n in range(900)],
        False,  # every value is rare: nothing can be said
    ),
}


@pytest.mark.parametrize(
    ("kind", "reference", "window", "drifted"), CASES.values(), ids=list(CASES)
)
def test_default_tests(kind: str, reference: Any, window: Any, drifted: bool) -> None:
    assert one(kind, reference, window).drifted is drifted


DIVERGENCES = {name: case for name, case in CASES.items() if "all different" not in name}


@pytest.mark.parametrize("test", ["PSI", "KL", "JensenShannon"])
@pytest.mark.parametrize(
    ("kind", "reference", "window", "drifted"), DIVERGENCES.values(), ids=list(DIVERGENCES)
)
def test_divergences(test: Any, kind: str, reference: Any, window: Any, drifted: bool) -> None:
    finding = one(kind, reference, window, metrics=[test])

    assert finding.test == test
    assert finding.p_value is None
    assert finding.drifted is drifted


NUMBERS = {
    name: case for name, case in CASES.items() if "nulls" not in name and case[0] == "Numeric"
}


@pytest.mark.parametrize(
    ("kind", "reference", "window", "drifted"), NUMBERS.values(), ids=list(NUMBERS)
)
def test_wasserstein(kind: str, reference: Any, window: Any, drifted: bool) -> None:
    finding = one(kind, reference, window, metrics=["Wasserstein"])

    assert (finding.test, finding.drifted) == ("Wasserstein", drifted)


def test_of_several_metrics_the_one_that_says_drift_is_told() -> None:
    strict, lax = Threshold(ks=0.9, psi=0.05), Threshold(ks=0.9, psi=9)
    window = NORMAL[:1000] + 0.5

    found = one("Numeric", NORMAL, window, metrics=["KS", "PSI"], threshold=strict)
    missed = one("Numeric", NORMAL, window, metrics=["KS", "PSI"], threshold=lax)

    assert (found.test, found.drifted) == ("PSI", True)
    assert (missed.test, missed.drifted) == ("KS", False)
    assert set(found.statistics) == {"KS", "PSI"}


def test_a_finding_says_how_much_is_missing() -> None:
    finding = one("Numeric", NORMAL, with_nulls(NORMAL[:1000], 0.2))

    assert (finding.missing_reference, finding.missing_window) == (0.0, 0.2)
    assert finding.test == "ChiSquared"


def test_the_size_of_the_reference_does_not_hide_a_shift() -> None:
    window = ["red"] * 400 + ["green"] * 450 + ["blue"] * 150
    for size in (500, 200_000):
        reference = (["red"] * 6 + ["green"] * 3 + ["blue"]) * (size // 10)
        assert one("Categorical", reference, window).drifted, size


CANCER: Floats = load_breast_cancer().data
NAMES = [f"f{index}" for index in range(CANCER.shape[1])]
TYPES = dict.fromkeys(NAMES, "Numeric")
SEEDS = range(20)


def columns(rows: Floats) -> dict[str, Floats]:
    return {name: rows[:, index] for index, name in enumerate(NAMES)}


def drifted(rows: Floats, drift: Drift) -> int:
    findings = compare(TYPES, columns(CANCER), columns(rows), drift)
    return sum(finding.drifted for finding in findings.values())


def again(random: np.random.Generator, rows: int) -> Floats:
    return CANCER[random.choice(len(CANCER), rows, replace=True)]


def part(random: np.random.Generator, rows: int) -> Floats:
    return CANCER[random.choice(len(CANCER), rows, replace=False)]


UNSHIFTED: dict[str, tuple[Callable[..., Floats], int]] = {
    "1,000 rows with replacement": (again, 1000),
    "200 rows with replacement": (again, 200),
    "200 rows without": (part, 200),
    "569 rows without": (part, 569),
}


@pytest.mark.parametrize("sample", UNSHIFTED.values(), ids=list(UNSHIFTED))
def test_unshifted_traffic_gives_at_most_one_false_alarm_in_20(sample: Any) -> None:
    draw, rows = sample

    alarms = sum(drifted(draw(np.random.default_rng(seed), rows), Drift()) >= 1 for seed in SEEDS)

    assert alarms <= 1


@pytest.mark.parametrize("sample", [(again, 1000), (part, 200)], ids=["1,000 rows", "200 rows"])
def test_a_third_of_the_features_shifted_by_half_a_deviation_is_found(sample: Any) -> None:
    draw, rows = sample
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        window = draw(random, rows).copy()
        chosen = random.choice(len(NAMES), 9, replace=False)
        window[:, chosen] += 0.5 * CANCER[:, chosen].std(axis=0)

        assert drifted(window, Drift()) >= 5, seed


def test_new_rows_of_the_same_source_are_no_drift() -> None:
    alarms = 0
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(CANCER))
        findings = compare(
            TYPES, columns(CANCER[order[:285]]), columns(CANCER[order[285:]]), Drift()
        )
        alarms += any(finding.drifted for finding in findings.values())

    assert alarms <= 1


FEATURES = 100
LOOKS = 30


@pytest.mark.parametrize(
    "threshold", [Threshold(), Threshold(ks=0, chi_squared=0)], ids=["as shipped", "p-values alone"]
)
def test_looks_at_a_hundred_features_with_false_discovery_control_hardly_ever_alarm(
    threshold: Threshold,
) -> None:
    random = np.random.default_rng(8)
    types = {f"x{n}": "Numeric" if n % 5 else "Categorical" for n in range(FEATURES)}
    drift = Drift(threshold=threshold, correction="BenjaminiHochberg")

    def sample(rows: int) -> dict[str, Any]:
        return {
            name: random.normal(size=rows) if kind == "Numeric" else random.choice(["a", "b"], rows)
            for name, kind in types.items()
        }

    alarms = sum(
        any(
            finding.drifted for finding in compare(types, sample(1000), sample(300), drift).values()
        )
        for _ in range(LOOKS)
    )

    assert alarms == 0
