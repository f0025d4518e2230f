"""Proposals by densities: what is estimated, and what is proposed of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from modelyard_runtimes.train.learners.base import Value
from modelyard_runtimes.train.parzen import (
    FORGETS_AT,
    REPLACING,
    Parzen,
    _Mixture,
    _weights,
    _widths,
)
from modelyard_runtimes.train.ranges import Range
from modelyard_runtimes.train.trial import State, TrialResult
from scipy.stats import kstest, truncnorm

X = {"x": Range("Float", 0.0, 1.0)}
RATE = Range("Float", 0.01, 1.0, log=True)
LEAVES = Range("Integer", 4, 128, log=True)
STEPS = Range("Float", 0.5, 0.9, step=0.2)
KIND = Range("Categorical", choices=("Ordinal", "OneHot", "Native"))


@pytest.mark.parametrize(
    ("known", "value", "expected"),
    [
        pytest.param(RATE, 0.1, 0.5, id="the middle of a logarithm"),
        pytest.param(Range("Float", 2.0, 6.0), 3.0, 0.25, id="a quarter"),
        pytest.param(Range("Integer", 0, 9), 4, 0.45, id="whole numbers have parts as wide"),
        pytest.param(STEPS, 0.5, 1 / 6, id="steps have parts as wide"),
        pytest.param(Range("Float", 0.0, 1.9, step=1.0), 1.0, 0.75, id="steps that end before"),
        pytest.param(KIND, "Native", 2.0, id="the place of a choice"),
        pytest.param(Range("Integer", 7, 7), 7, 0.5, id="one whole number"),
        pytest.param(Range("Float", 0.3, 0.3), 0.3, 0.5, id="one number"),
    ],
)
def test_a_value_has_a_place_in_its_range(known: Range, value: Value, expected: float) -> None:
    assert known.encode(value) == pytest.approx(expected)
    assert known.decode(known.encode(value)) == pytest.approx(value)


@pytest.mark.parametrize("known", [RATE, LEAVES, STEPS, Range("Integer", 0, 4)], ids=Range.told)
def test_every_place_is_a_value_of_the_range(known: Range) -> None:
    values = [known.decode(float(place)) for place in np.linspace(0, 1, 1001)]
    assert values == sorted(values)
    assert all(known.holds(value) for value in values)
    assert (values[0], values[-1]) == pytest.approx((known.low, known.high))


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param([0.2], [0.8], id="one reaches to the farther end"),
        pytest.param([0.9, 0.5, 0.2], [0.4, 0.4, 0.3], id="the farther neighbour"),
        pytest.param([0.5, 0.5, 0.5], [0.2, 0.2, 0.2], id="equals are as narrow as they may be"),
    ],
)
def test_a_kernel_reaches_to_its_farther_neighbour(means: list[float], expected: Any) -> None:
    found = _widths(np.array(means).reshape(-1, 1))
    assert found.ravel() == pytest.approx(expected)


def test_a_density_is_that_of_the_truncated_normal_distributions_it_is_made_of() -> None:
    means = np.random.default_rng(3).random((7, 1))
    widths = np.append(_widths(means), 1.0)
    kernels = [
        truncnorm(-mean / width, (1 - mean) / width, mean, width)
        for mean, width in zip(np.append(means, 0.5), widths, strict=True)
    ]
    places = np.linspace(0.01, 0.99, 25)
    expected = np.log(np.mean([kernel.pdf(places) for kernel in kernels], axis=0))
    mixture = _Mixture(means, [])
    found = mixture.log_density(places.reshape(-1, 1)) - np.log(2 * np.pi) / 2
    assert found == pytest.approx(expected, abs=1e-12)

    def below(at: Any) -> Any:
        return np.mean([kernel.cdf(at) for kernel in kernels], axis=0)

    drawn = mixture.draw(np.random.default_rng(5), 4000)
    assert kstest(drawn.ravel(), below).pvalue > 0.01


def test_the_shares_of_choices_are_those_of_the_trials_and_a_little_of_each() -> None:
    mixture = _Mixture(np.array([[0.0], [0.0], [2.0]]), [3])
    shares = np.exp(mixture.log_density(np.array([[0.0], [1.0], [2.0]])))
    # A kernel gives 5 / 7 to the choice of its trial and 1 / 7 to others, the wide one 1 / 3 to all.
    expected = [(11 / 7 + 1 / 3) / 4, (3 / 7 + 1 / 3) / 4, (7 / 7 + 1 / 3) / 4]
    assert shares == pytest.approx(expected)
    drawn = mixture.draw(np.random.default_rng(5), 20_000)[:, 0].astype(int)
    assert np.bincount(drawn) / 20_000 == pytest.approx(shares, abs=0.01)


def test_a_density_of_numbers_and_choices_is_made_of_products() -> None:
    points = np.array([(0.2, 0.9, 1.0), (0.7, 0.4, 0.0), (0.5, 0.5, 1.0)])
    mixture = _Mixture(points, [2])
    steps = (np.arange(200) + 0.5) / 200
    grid = np.array([(x, y) for x in steps for y in steps])
    shares = [
        np.exp(mixture.log_density(np.column_stack([grid, np.full(len(grid), place)]))).mean()
        for place in (0.0, 1.0)
    ]
    assert sum(shares) / (2 * np.pi) == pytest.approx(1, abs=1e-4)
    assert shares[1] > shares[0]
    drawn = mixture.draw(np.random.default_rng(5), 4000)
    assert drawn[:, 2].mean() == pytest.approx(shares[1] / sum(shares), abs=0.03)


def test_the_latest_25_trials_count_fully_and_those_before_less_and_less() -> None:
    weights = _weights(30) / _weights(30)[-1]
    assert weights[:5] == pytest.approx(np.linspace(1 / 30, 1, 5))
    assert (weights[5:] == 1).all()
    assert len(weights) == 30 + 1


def result(number: int, loss: float, state: State = "Complete") -> TrialResult:
    return TrialResult(number, {}, state, (loss,))


def searched(parzen: Parzen, best: float, trials: int) -> list[float]:
    """Search for the best x, and return what was proposed."""
    proposed: list[float] = []
    for number in range(trials):
        proposed.append(float(parzen.ask(number, None)["x"]))
        parzen.tell(result(number, abs(proposed[-1] - best)))
    return proposed


def test_proposals_come_to_where_the_results_are_best() -> None:
    parzen = Parzen(X, -1, 5, 1)
    proposed = searched(parzen, 0.7, 60)
    assert np.median(np.abs(np.array(proposed[-20:]) - 0.7)) < 0.1
    assert np.std(proposed[:5]) > 0.2


def test_what_was_good_in_earlier_searches_is_proposed_at_first_and_forgotten_later() -> None:
    liked = [{"x": 0.7 + shift / 1000} for shift in range(-12, 13)]
    misled = np.array(searched(Parzen(X, -1, 1, 1, liked), 0.2, 600))
    assert np.median(np.abs(misled[:20] - 0.7)) < 0.1
    assert np.mean(np.abs(misled[-150:] - 0.7) < 0.1) < 0.05


def test_the_most_telling_of_earlier_searches_is_forgotten_last() -> None:
    parzen = Parzen(X, -1, 1, 1, [{"x": 0.1}, {"x": 0.9}])
    for number in range(REPLACING):
        parzen.ask(number, {"x": 0.5})
        parzen.tell(result(number, float(number)))
    proposed = [float(parzen.ask(number, None)["x"]) for number in range(REPLACING, 60)]
    assert np.mean(np.array(proposed) < 0.3) > np.mean(np.array(proposed) > 0.7)


def test_nothing_is_proposed_beside_what_runs() -> None:
    parzen = Parzen(X, -1, 1, 1)
    searched(parzen, 0.5, 20)
    running = [float(parzen.ask(number, None)["x"]) for number in range(20, 60)]
    assert np.std(running) > 0.2


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        pytest.param("Pruned", "ended early", id="one that ended early is not good"),
        pytest.param("Failed", "says nothing", id="one that failed is not learned from"),
    ],
)
def test_what_was_not_completed_is_not_proposed_again(worse: State, why: str) -> None:
    parzen = Parzen(X, -1, 1, 1)
    for number in range(40):
        at = 0.9 if number % 2 else 0.1
        parzen.ask(number, {"x": at})
        parzen.tell(result(number, 0.0 if number % 2 else 1.0, worse if number % 2 else "Complete"))
    proposed = []
    for number in range(40, 60):
        proposed.append(float(parzen.ask(number, None)["x"]))
        parzen.tell(result(number, 1.0, "Failed"))
    assert np.median(proposed) < 0.5, why


def test_what_is_good_is_judged_among_the_trials_of_all_families() -> None:
    parzen = Parzen(X, -1, 1, 1)
    for number in range(40):
        parzen.ask(number, {"x": number / 400})
        parzen.tell(result(number, 1.0 + number))
    for number in range(40, 100):
        parzen.tell(result(number, 0.0))
    proposed = []
    for number in range(100, 120):
        proposed.append(float(parzen.ask(number, None)["x"]))
        parzen.tell(result(number, 1.0, "Failed"))
    # All of the family's own are among the bad ones, however good they are among themselves.
    assert np.mean(np.array(proposed) > 0.1) > 0.8


def test_what_has_one_value_only_changes_no_proposal() -> None:
    fixed = {"y": Range("Float", 0.3, 0.3), "z": Range("Categorical", choices=("a",))}
    assert searched(Parzen(X, -1, 5, 1), 0.7, 40) == searched(Parzen(X | fixed, -1, 5, 1), 0.7, 40)
    proposed = Parzen(X | fixed | {"w": Range("Integer", 7, 7)}, -1, 5, 1).ask(0, None)
    assert list(proposed) == ["x", "y", "z", "w"]
    assert (proposed["y"], proposed["z"], proposed["w"]) == (0.3, "a", 7)


def test_a_long_search_keeps_its_best_trials_and_its_latest() -> None:
    parzen = Parzen(X, -1, 1, 1)
    for number in range(1000):
        parzen.ask(number, {"x": 0.25 if number == 3 else 0.75})
        parzen.tell(result(number, 0.0 if number == 3 else 1.0 + number))
    known = [one.number for one in parzen._known]
    assert len(known) < FORGETS_AT
    assert known[0] == 3
    assert set(range(990, 1000)) <= set(known)
