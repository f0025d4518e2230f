"""What is decided between trials: pruning limits, ensembles, candidates."""

from __future__ import annotations

import numpy as np
import pytest
from modelyard.api.experiment import EarlyStopping, Ensemble, Search
from modelyard_runtimes.model.schema import Inputs
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.ensemble import cross_fitted, mean_of, select
from modelyard_runtimes.train.metrics import fold_scores, sign
from modelyard_runtimes.train.pruning import Pruner, bracket_sizes, rungs
from modelyard_runtimes.train.sampler import open_sampler
from modelyard_runtimes.train.search import candidates, ranked
from modelyard_runtimes.train.task import Goal, SearchData
from modelyard_runtimes.train.trial import TrialResult
from modelyard_runtimes.train.trial_log import open_log
from modelyard_runtimes.train.winner import Choice, choose


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


def search_data(metric: str = "roc_auc") -> SearchData:
    generator = np.random.default_rng(5)
    target = (generator.random(400) < 0.5).astype(np.float64)
    return SearchData(
        goal=Goal("Classification", 2, metric, "None", 1),
        inputs=Inputs(np.zeros((400, 1)), np.zeros((400, 0), dtype=np.int32)),
        categories=(),
        target=target,
        folds=np.arange(400) % 4,
    )


def noisy(data: SearchData, count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(6)
    return [
        1 / (1 + np.exp(-(data.target[:, None] - 0.5 + generator.normal(scale=1.0, size=(400, 1)))))
        for _ in range(count)
    ]


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_an_ensemble_of_independent_candidates_beats_each(metric: str) -> None:
    data = search_data(metric)
    outputs = noisy(data, 4)
    weights = select(data, outputs, 4)
    assert sum(weights.values()) == pytest.approx(1)
    value = float(np.mean(cross_fitted(data, outputs, 4)))
    singles = [
        float(np.mean(fold_scores(metric, data.target, output, data.folds))) for output in outputs
    ]
    assert value > max(singles) if metric == "roc_auc" else value < min(singles)


def test_an_ensemble_has_at_most_so_many_members() -> None:
    data = search_data()
    assert len(select(data, noisy(data, 6), 2)) == 2


def test_weights_for_a_fold_are_selected_without_it() -> None:
    data = search_data()
    outputs = noisy(data, 4)
    spoiled = [output.copy() for output in outputs]
    for output in spoiled:
        output[data.folds == 2] = 0.5
    assert select(data, outputs, 4, left_out=2) == select(data, spoiled, 4, left_out=2)


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_an_ensemble_is_never_worse_out_of_fold_than_its_best_member(metric: str) -> None:
    data = search_data(metric)
    outputs = sorted(
        noisy(data, 5),
        key=lambda one: -sign(metric) * mean_score(data, one),
    )
    weights = select(data, outputs, 3)
    gain = mean_score(data, mean_of(outputs, weights)) - mean_score(data, outputs[0])
    assert sign(metric) * gain >= 0


def mean_score(data: SearchData, output: np.ndarray) -> float:
    return float(np.mean(fold_scores(data.goal.metric, data.target, output, data.folds)))


def chosen(store: Store, data: SearchData, outputs: list[np.ndarray]) -> Choice:
    trial_log, _ = open_log(store, "runs/team/one", {})
    results = []
    for number, output in enumerate(outputs):
        folds = fold_scores(data.goal.metric, data.target, output, data.folds)
        results.append(result(number, *folds))
        trial_log.record([(results[-1], output)])
    return choose(data, results, trial_log, Ensemble(max_models=4))


def test_the_value_of_an_ensemble_is_that_of_weights_chosen_without_the_fold(store: Store) -> None:
    data = search_data("log_loss")
    outputs = sorted(noisy(data, 5), key=lambda one: mean_score(data, one))
    choice = chosen(store, data, outputs)
    first = choice.leaderboard[0]
    assert (first.rank, first.trial) == (1, "ensemble")
    assert first.metric == np.mean(cross_fitted(data, outputs, 4))
    assert first.metric > mean_score(data, choice.winner.outputs)


def test_an_ensemble_that_loses_more_than_luck_explains_does_not_win(store: Store) -> None:
    """It gains on the first fold alone: weights that saw it lose on every other fold."""
    data = search_data("log_loss")
    rows = np.arange(400)
    odd = np.where(data.folds != 0, 0.796, np.where(rows % 8 == 0, 0.999, 0.64))
    outputs = [
        np.where(data.target == 1, true, 1 - true)[:, None] for true in (np.full(400, 0.8), odd)
    ]
    choice = chosen(store, data, outputs)
    assert len(select(data, outputs, 4)) == 2
    assert [one.trial for one in choice.leaderboard] == ["0", "ensemble", "1"]
    assert [one.number for one, _ in choice.winner.members] == [0]


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
        sampler = open_sampler(declared, "roc_auc", seed)
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
