"""Ensembles: what combines trials is found out of fold, and taken only where it pays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.runs import TrainConfig
from modelyard_runtimes.model import read
from modelyard_runtimes.model.schema import Inputs
from modelyard_runtimes.store import Store
from modelyard_runtimes.train import winner
from modelyard_runtimes.train.ensemble import (
    COMBINE,
    HALVED,
    LEAST_WEIGHT,
    Candidates,
    cross_fitted,
    graded,
    greedy,
)
from modelyard_runtimes.train.greedy import select
from modelyard_runtimes.train.metrics import fold_scores, sign
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.task import Goal, SearchData
from modelyard_runtimes.train.trial import TrialResult
from modelyard_runtimes.train.trial_log import open_log
from modelyard_runtimes.train.winner import Choice, choose

from tests.train.packed import check_packed

ROWS = 400
GOALS = {
    "two classes": Goal("Classification", 2, "log_loss", "None", 1),
    "two classes, ranked": Goal("Classification", 2, "roc_auc", "None", 1),
    "two classes, balanced": Goal("Classification", 2, "log_loss", "Balanced", 1),
    "three classes": Goal("Classification", 3, "log_loss", "None", 1),
    "values": Goal("Regression", 0, "rmse", "None", 1),
}
TYPES = list(COMBINE)
EACH_TYPE = pytest.mark.parametrize("kind", TYPES)
EACH_GOAL = pytest.mark.parametrize("goal", GOALS.values(), ids=list(GOALS))
FAMILIES = ("LightGBM", "Linear", "ExtraTrees")


def search_data(goal: Goal) -> SearchData:
    generator = np.random.default_rng(5)
    if goal.classes:
        target = generator.integers(0, goal.classes, ROWS).astype(np.float64)
    else:
        target = 100 + 10 * generator.normal(size=ROWS)
    return SearchData(
        goal=goal,
        inputs=Inputs(np.zeros((ROWS, 1)), np.zeros((ROWS, 0), dtype=np.int32)),
        categories=(),
        target=target,
        folds=np.arange(ROWS) % 4,
    )


def noisy(data: SearchData, count: int, seed: int = 6) -> list[np.ndarray]:
    """Return predictions of candidates that err independently, the best first."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        if data.goal.classes == 0:
            found.append(data.target[:, None] + generator.normal(scale=10, size=(ROWS, 1)))
            continue
        classes = np.arange(data.goal.classes)
        margins = (data.target[:, None] == classes) + generator.normal(
            scale=0.7, size=(ROWS, len(classes))
        )
        shares = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
        found.append(shares if len(classes) > 2 else shares[:, 1:])
    better = sign(data.goal.metric)
    return sorted(found, key=lambda one: -better * mean_score(data, one))


def candidates(data: SearchData, count: int = 6) -> Candidates:
    return Candidates(data, noisy(data, count), [FAMILIES[n % 3] for n in range(count)])


def mean_score(data: SearchData, output: np.ndarray) -> float:
    return float(np.mean(fold_scores(data.goal.metric, data.target, output, data.folds)))


@EACH_TYPE
@EACH_GOAL
def test_an_ensemble_of_independent_candidates_beats_each(goal: Goal, kind: str) -> None:
    data = search_data(goal)
    found = candidates(data)
    value = float(np.mean(cross_fitted(COMBINE[kind], found, 6)))
    best = mean_score(data, found.outputs[0])
    assert sign(goal.metric) * (value - best) > 0


@EACH_TYPE
@EACH_GOAL
def test_no_row_of_a_fold_shapes_the_ensemble_that_it_is_judged_by(goal: Goal, kind: str) -> None:
    data = search_data(goal)
    found = candidates(data)
    for fold in (0, 3):  # the last is the one that Blended looks at
        judged = data.folds == fold
        # A canary: in this fold alone the last candidate knows the target, the others are off.
        target = data.target.copy()
        target[judged] = target[judged][::-1]
        outputs = [output.copy() for output in found.outputs]
        for output in outputs[:-1]:
            output[judged] = np.roll(output[judged], 1, axis=0)
        outputs[-1][judged] = known(data.goal, target)[judged]
        spoiled = Candidates(replace(data, target=target), outputs, found.families)
        combine = COMBINE[kind]
        assert combine(found, 4, fold) == combine(spoiled, 4, fold)
        assert combine(found, 4, None) != combine(spoiled, 4, None)


def known(goal: Goal, target: np.ndarray) -> np.ndarray:
    """Return predictions that tell the target."""
    if goal.classes == 0:
        return target[:, None]
    shares = np.where(target[:, None] == np.arange(goal.classes), 0.98, 0.02 / (goal.classes - 1))
    return shares if goal.classes > 2 else shares[:, 1:]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("Voting", [0, 1, 2]), ("Stacked", [0, 1, 2, 3]), ("Blended", [0, 1, 2, 3])],
)
def test_the_best_of_each_family_come_first(kind: str, expected: list[int]) -> None:
    data = search_data(GOALS["values"])
    found = Candidates(data, noisy(data, 6), ["Linear", "ExtraTrees", "LightGBM", *["Linear"] * 3])
    assert list(COMBINE[kind](found, 4, None).weights) == expected
    assert list(COMBINE[kind](found, 2, None).weights) == expected[:2]


def test_voting_gives_equal_weights() -> None:
    found = COMBINE["Voting"](candidates(search_data(GOALS["values"])), 5, None)
    assert list(found.weights.values()) == [1 / 3] * 3
    assert found.second_level is None


@pytest.mark.parametrize("kind", ["Stacked", "Blended"])
def test_a_second_level_leaves_out_who_says_nothing(kind: str) -> None:
    data = search_data(GOALS["values"])
    first, second, third = noisy(data, 3)
    against = 200 - noisy(data, 1, seed=9)[0]
    found = COMBINE[kind](Candidates(data, [first, second, third, against], "abcd"), 4, None)
    assert list(found.weights) == [0, 1, 2]
    assert min(found.weights.values()) > 0.1


def against(data: SearchData, count: int) -> list[np.ndarray]:
    """Return predictions that the target runs against, all of them."""
    if data.goal.classes == 0:
        return [200 - output for output in noisy(data, count)]
    return [(1 - output) / max(output.shape[1] - 1, 1) for output in noisy(data, count)]


@pytest.mark.parametrize("kind", ["Stacked", "Blended"])
@EACH_GOAL
def test_a_second_level_of_members_of_which_none_helps_is_their_plain_mean(
    goal: Goal, kind: str
) -> None:
    data = search_data(goal)
    outputs = against(data, 3)
    candidates = Candidates(data, outputs, FAMILIES)
    found = COMBINE[kind](candidates, 3, None)
    assert list(found.weights.values()) == [1 / 3] * 3
    assert found.second_level is not None
    assert not any(found.second_level.intercepts)
    alike = [outputs[0]] * 3
    np.testing.assert_allclose(found.of(alike), outputs[0], rtol=1e-9)
    assert np.isfinite(cross_fitted(COMBINE[kind], candidates, 3)).all()


def test_an_ensemble_of_which_no_member_helps_is_packed_with_weights(store: Store) -> None:
    data = search_data(GOALS["values"])
    choice = chosen(store, data, against(data, 3), "Stacked")
    ensemble = choice.finalists["ensemble"]
    assert [weight for _, weight in ensemble.members] == [1 / 3] * 3


@pytest.mark.parametrize("kind", ["Stacked", "Blended"])
def test_a_second_level_sharpens_what_is_too_cautious(kind: str) -> None:
    data = search_data(GOALS["two classes"])
    cautious = [0.5 + (output - 0.5) / 4 for output in noisy(data, 3)]
    combine = COMBINE[kind]
    found = combine(Candidates(data, cautious, FAMILIES), 3, None)
    assert mean_score(data, found.of(cautious)) < 0.9 * mean_score(
        data, sum(cautious) / len(cautious)
    )


def test_a_class_without_a_row_where_it_is_fitted_does_no_harm() -> None:
    data = search_data(GOALS["three classes"])
    without = replace(data, target=np.where(data.folds == 3, data.target % 2, data.target))
    found = COMBINE["Blended"](candidates(without), 4, None)
    assert found.second_level is not None
    assert np.isfinite(found.second_level.intercepts).all()
    assert np.abs(found.second_level.intercepts).max() < 10


def test_an_ensemble_has_at_most_so_many_members() -> None:
    data = search_data(GOALS["two classes"])
    assert len(select(data, noisy(data, 6), 2)) == 2


@EACH_GOAL
def test_a_greedy_ensemble_is_never_worse_out_of_fold_than_its_best_member(goal: Goal) -> None:
    data = search_data(goal)
    found = candidates(data, 5)
    combined = greedy(found, 3, None)
    assert sum(combined.weights.values()) == pytest.approx(1)
    gain = mean_score(data, combined.of(found.outputs)) - mean_score(data, found.outputs[0])
    assert sign(goal.metric) * gain >= 0


def chosen(
    store: Store,
    data: SearchData,
    outputs: list[np.ndarray],
    kind: str,
    families: tuple[str, ...] = FAMILIES,
) -> Choice:
    trial_log, _ = open_log(store, "runs/team/one", {})
    results = []
    for number, output in enumerate(outputs):
        folds = fold_scores(data.goal.metric, data.target, output, data.folds)
        learner = families[number % len(families)]
        results.append(TrialResult(number, {"learner": learner}, "Complete", folds))
        trial_log.record([(results[-1], output)])
    return choose(data, results, trial_log, kind, 4)


@EACH_TYPE
def test_the_value_of_an_ensemble_is_that_of_one_made_without_the_fold(
    kind: str, store: Store
) -> None:
    data = search_data(GOALS["two classes"])
    outputs = noisy(data, 5)
    choice = chosen(store, data, outputs, kind)
    first = choice.leaderboard[0]
    assert (first.rank, first.trial, first.learner) == (1, "ensemble", kind)
    judged = Candidates(data, outputs, [FAMILIES[number % 3] for number in range(5)])
    # A greedy selection is no better here than graded weights.
    combine = graded if kind == "Weighted" else COMBINE[kind]
    assert first.metric == np.mean(cross_fitted(combine, judged, 4))


def steady(data: SearchData, probabilities: list[float]) -> list[np.ndarray]:
    """Return candidates that give the true class these probabilities."""
    return [np.where(data.target == 1, true, 1 - true)[:, None] for true in probabilities]


def test_a_greedy_selection_is_taken_where_it_is_clearly_better(store: Store) -> None:
    data = search_data(GOALS["two classes"])
    good = noisy(data, 4)
    worse = steady(data, [0.45, 0.45])
    one_is_good = ("LightGBM", "Linear", "ExtraTrees", *["LightGBM"] * 3)
    outputs = [good[0], worse[0], worse[1], *good[1:]]
    choice = chosen(store, data, outputs, "Weighted", one_is_good)
    assert (choice.leaderboard[0].trial, choice.leaderboard[0].learner) == ("ensemble", "Weighted")
    assert {result.learner for result, _ in choice.winner.members} == {"LightGBM"}
    assert len(choice.winner.members) > 1


def test_graded_weights_are_taken_where_a_greedy_selection_is_no_better(store: Store) -> None:
    data = search_data(GOALS["two classes"])
    outputs = noisy(data, 3)
    choice = chosen(store, data, outputs, "Weighted")
    best_first = sorted(range(3), key=lambda place: -mean_score(data, outputs[place]))
    found = graded(Candidates(data, [outputs[place] for place in best_first], FAMILIES), 4, None)
    assert choice.leaderboard[0].trial == "ensemble"
    assert {result.number: weight for result, weight in choice.winner.members} == {
        best_first[place]: weight for place, weight in found.weights.items()
    }


@pytest.mark.parametrize(
    ("gaps", "share"),
    [
        pytest.param([0, 0, 0, 0], 1, id="as good"),
        pytest.param([-1, 1, -1, 1.5], 0.998, id="behind by luck"),
        pytest.param([1, 1.5, 1, 1.5], 1 / 5.686, id="behind by 8.7 standard errors"),
        pytest.param([3, 3, 3, 3], 0, id="behind without a doubt"),
    ],
)
def test_the_more_surely_a_family_trails_the_less_is_its_weight(
    gaps: list[float], share: float
) -> None:
    """Errors of 10 on every row of four folds, and of as much more as the gap in each."""
    data = search_data(GOALS["values"])
    folds = data.folds % 4
    data = replace(data, folds=folds)
    best = data.target[:, None] + 10
    other = best + np.array(gaps)[folds][:, None]
    weights = graded(Candidates(data, [best, other], "ab"), 2, None).weights
    assert weights.get(1, 0) / weights[0] == pytest.approx(share, abs=0.002)
    assert HALVED == 4
    assert min(weights.values()) >= LEAST_WEIGHT


def test_an_ensemble_that_loses_more_than_luck_explains_does_not_win(store: Store) -> None:
    """It gains on the first fold alone: weights that saw it lose on every other fold."""
    data = search_data(GOALS["two classes"])
    rows = np.arange(ROWS)
    odd = np.where(data.folds != 0, 0.796, np.where(rows % 8 == 0, 0.999, 0.64))
    outputs = [
        np.where(data.target == 1, true, 1 - true)[:, None] for true in (np.full(ROWS, 0.8), odd)
    ]
    choice = chosen(store, data, outputs, "Weighted", ("Linear",))
    assert len(select(data, outputs, 4)) == 2
    assert [one.trial for one in choice.leaderboard] == ["0", "ensemble", "1"]
    assert [one.number for one, _ in choice.winner.members] == [0]


def test_a_run_packs_what_was_chosen_and_runs_no_trial_for_another_type(
    make_config: Callable[..., TrainConfig],
    mixed_table: tuple[pa.Table, dict[str, str]],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(winner, "_pays", lambda *_: True)
    spec = {
        "task": {"type": "Classification", "target": "churn"},
        "features": {"exclude": ["note", "since"]},
        "search": {"trials": 3},
        "evaluation": {"calibration": "Platt", "intervals": {}},
        "explain": {"permutationRepeats": 0, "shapRows": 20},
    }
    digests = set()
    for kind in ("Stacked", "Blended", "Voting"):
        record = train(make_config(*mixed_table, {**spec, "ensemble": {"type": kind}}), store)
        digests.add(record.artifact.digest)
        packed = read(store.open_artifact(record.artifact.uri).folder())
        assert len(packed.document.members) > 1
        assert (packed.document.second_level is None) == (kind == "Voting")
        check_packed(packed, mixed_table[0].slice(0, 20))
        told = json.loads(store.open_artifact(record.evidence.uri).read("shap.json"))
        assert sum(one["share"] for one in told["importance"]) == pytest.approx(1)
    assert len(digests) == 3
    again = {**spec, "ensemble": {"type": "Stacked"}}
    assert train(make_config(*mixed_table, again, name="again"), store).artifact.digest in digests
