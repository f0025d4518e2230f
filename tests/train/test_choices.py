"""What is decided between trials: pruning limits, ensembles, candidates."""

from __future__ import annotations

import pytest
from modelyard.api.experiment import EarlyStopping, Search
from modelyard_runtimes.train.pruning import Pruner, bracket_sizes, rungs
from modelyard_runtimes.train.sampler import open_sampler
from modelyard_runtimes.train.search import candidates, ranked
from modelyard_runtimes.train.task import Goal
from modelyard_runtimes.train.trial import TrialResult


def result(
    number: int, *folds: float, learner: str = "Linear", state: str = "Complete"
) -> TrialResult:
    return TrialResult(number, {"learner": learner}, state, folds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("folds", "factor", "expected"),
    [(5, 3, [1, 3]), (3, 3, [1]), (9, 2, [1, 2, 4, 8]), (2, 10, [1])],
)
def test_rungs_are_powers_of_the_reduction_factor(
    folds: int, factor: int, expected: list[int]
) -> None:
    assert rungs(folds, factor) == expected


@pytest.mark.parametrize(
    ("seen", "metric", "expected"),
    [
        pytest.param([], "roc_auc", None, id="nothing seen"),
        pytest.param([0.7, 0.8, 0.9], "roc_auc", None, id="too little seen"),
        pytest.param([0.6, 0.7, 0.8, 0.9, 0.5], "roc_auc", 0.8, id="one of three, more is better"),
        pytest.param([0.6, 0.7, 0.8, 0.9, 0.5], "rmse", 0.6, id="one of three, less is better"),
    ],
)
def test_a_trial_must_be_among_the_best_third_to_go_on(
    seen: list[float], metric: str, expected: float | None
) -> None:
    pruner = Pruner(EarlyStopping(), 3, metric)
    for number, value in enumerate(seen):
        pruner.tell(result(number, value))
    assert pruner.limits(len(seen)) == (expected, None, None)


@pytest.mark.parametrize(
    ("metric", "seen", "expected"),
    [
        pytest.param("roc_auc", [], None, id="nothing seen"),
        pytest.param("roc_auc", [0.8, 0.9, 0.7], 0.875, id="a quarter more error than .1"),
        pytest.param("rmse", [8.0, 4.0, 6.0], 5.0, id="a quarter more error than 4"),
    ],
)
def test_a_default_ends_after_one_fold_only_where_it_is_far_behind(
    metric: str, seen: list[float], expected: float | None
) -> None:
    pruner = Pruner(EarlyStopping(), 3, metric)
    for number, value in enumerate(seen):
        pruner.tell(result(number, value))
    assert pruner.wide_limits() == (expected and pytest.approx(expected), None, None)


def test_a_default_never_ends_early_without_early_stopping() -> None:
    pruner = Pruner(EarlyStopping(type="None"), 3, "rmse")
    pruner.tell(result(0, 1.0))
    assert pruner.wide_limits() == (None, None, None)


def test_hyperband_compares_within_brackets_that_skip_more_and_more_rungs() -> None:
    assert bracket_sizes(2, 3) == [9, 5, 3]
    pruner = Pruner(EarlyStopping(type="Hyperband"), 5, "roc_auc")
    for number in range(34):
        pruner.tell(result(number, *[number / 100] * 5))
    assert pruner.limits(34) == (0.2, None, pytest.approx(0.2), None, None)
    assert pruner.limits(43) == (None, None, pytest.approx(0.28), None, None)
    assert pruner.limits(50) == (None,) * 5


def test_each_family_has_candidates_for_the_ensemble() -> None:
    results = [result(n, 0.9 - n / 1000) for n in range(12)]
    results += [result(n, 0.5 - n / 1000, learner="ExtraTrees") for n in range(12, 20)]
    results += [result(20, 0.99, state="Pruned"), result(21, state="Failed")]
    numbers = [one.number for one in candidates(ranked(results, "roc_auc"))]
    assert numbers == [0, 1, 2, 3, 4, 12, 13, 14, 15, 16]


@pytest.mark.parametrize("algorithm", ["TPE", "Random", "Evolutionary"])
def test_a_proposal_depends_only_on_seed_number_and_what_was_told(algorithm: str) -> None:
    def proposals(seed: int, told: float) -> list[dict[str, object]]:
        declared = Search.model_validate({"algorithm": algorithm})
        sampler = open_sampler(declared, Goal("Classification", 2, "roc_auc", "None", seed))
        found = []
        for number in range(14):
            found.append(dict(sampler.ask()))
            if number >= 1:
                one = found[number - 1]
                sampler.tell(TrialResult(number - 1, one, "Complete", (told + number / 100,)))  # type: ignore[arg-type]
        return found

    assert proposals(1, 0.5) == proposals(1, 0.5)
    assert proposals(1, 0.5)[:7] == proposals(2, 0.5)[:7]
    assert proposals(1, 0.5)[7:] != proposals(2, 0.5)[7:]
