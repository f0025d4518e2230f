"""Population based training: who is good trains on, and hyperparameters change on the way."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from modelyard.api.experiment import Search
from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.encoding import fit_encoder
from modelyard_runtimes.train.engines.registry import learner_of
from modelyard_runtimes.train.learners.base import Encoded, FitRequest, Parameters, Value
from modelyard_runtimes.train.learners.registry import LEARNERS
from modelyard_runtimes.train.learners.schedule import ITERATIONS, ORIGIN, parts
from modelyard_runtimes.train.population import near
from modelyard_runtimes.train.ranges import Range
from modelyard_runtimes.train.refit import Refit
from modelyard_runtimes.train.sampler import Start, open_sampler
from modelyard_runtimes.train.search import Plan, SearchRun
from modelyard_runtimes.train.space import LEARNER, portfolio, ranges_of
from modelyard_runtimes.train.task import Goal
from modelyard_runtimes.train.trial import State, Trial, TrialResult
from modelyard_runtimes.train.trial_log import open_log

from tests.train.in_process import InProcess
from tests.train.problems import GOALS, make_data

GOAL = Goal("Regression", 0, "rmse", "None", 1)
CHANGING = [name for name, learner in LEARNERS.items() if learner.changing]


def begun(learner: str, **changes: Value) -> dict[str, Value]:
    """Return the first default of a family as a member of a population, changed on the way."""
    generation = LEARNERS[learner].generation
    return {**portfolio([learner])[0], ITERATIONS: generation, ORIGIN: 0, **changes}


def carried_on(learner: str) -> dict[str, Value]:
    """Return it after a generation more, in which its steps are a fifth as long."""
    member, generation = begun(learner), LEARNERS[learner].generation
    rate = float(member["learning_rate"]) / 5
    return {**member, f"learning_rate from {generation}": rate, ITERATIONS: 2 * generation}


def test_the_kind_takes_the_families_that_can_change_during_a_fit() -> None:
    (rule,) = [rule for rule in Search.cel_rules if "'PBT'" in rule.rule]

    named = [name for name in re.findall(r"'(\w+)'", rule.rule) if name != "PBT"]
    assert [name for name in named if name in LEARNERS] == CHANGING  # others are not installed
    assert all(name in rule.message for name in named)


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS.keys())
@pytest.mark.parametrize("name", CHANGING)
def test_what_is_carried_on_comes_to_the_same_model_on_the_way(name: str, goal: Goal) -> None:
    """No state is handed over, yet members are trained on, not anew."""
    data = make_data(goal)
    learner, before = learner_of(begun(name))
    after = learner_of(carried_on(name))[1]
    document = fit_encoder(data.inputs, data.categories, learner.encoding(before))
    columns = Encoder(document).transform(data.inputs)
    rows = Encoded(columns, data.target, np.ones(len(columns)))
    generation = LEARNERS[name].generation
    request = FitRequest(goal, document, rows, before, 1)
    parent = learner.fit(request).predict(columns)
    on_the_way = replace(request, parameters={**after, ITERATIONS: generation})
    np.testing.assert_array_equal(learner.fit(on_the_way).predict(columns), parent)
    longer = replace(request, parameters=after)
    unchanged = replace(request, parameters={**before, ITERATIONS: 2 * generation})
    ends = learner.fit(longer).predict(columns), learner.fit(unchanged).predict(columns)
    moved = [float(np.abs(end - parent).mean()) for end in ends]
    assert 0 < moved[0] < moved[1], "shorter steps lead less far"


@pytest.mark.parametrize("name", CHANGING)
def test_every_hyperparameter_that_may_change_changes_the_model(name: str) -> None:
    data = make_data(GOALS["values"], rows=600)
    learner, same = learner_of({**begun(name), ITERATIONS: 30})
    document = fit_encoder(data.inputs, data.categories, learner.encoding(same))
    columns = Encoder(document).transform(data.inputs)
    rows = Encoded(columns, data.target, np.ones(len(columns)))
    request = FitRequest(GOALS["values"], document, rows, same, 1)
    unchanged = learner.fit(request).predict(columns)
    ranges = ranges_of(name)
    for changed in LEARNERS[name].changing:
        for end in (ranges[changed].low, ranges[changed].high):
            value = ranges[changed].nearest(end)
            found = learner.fit(replace(request, parameters={**same, f"{changed} from 5": value}))
            if not np.array_equal(found.predict(columns), unchanged):
                break
        else:
            pytest.fail(f"{changed} changes nothing")


@pytest.mark.parametrize("name", CHANGING)
def test_a_trial_of_a_schedule_is_completed_and_refitted(name: str) -> None:
    data = make_data(GOALS["three classes"])
    result, outputs = Trial(7, carried_on(name), (None,) * 3).run(data)
    assert result.state == "Complete"
    assert outputs is not None
    packed = Refit(result).run(data).packed  # proves that packed and fitted agree
    assert len(packed.content) > 0
    again = Trial(9, carried_on(name), (None,) * 3).run(data)[1]
    np.testing.assert_array_equal(outputs, again)  # seeds are those of its origin


def declared(trials: int, **changes: Any) -> Search:
    return Search.model_validate(
        {"algorithm": "PBT", "trials": trials, "learners": ["LightGBM"], **changes}
    )


def searched(
    search: Search, loss: Callable[[Parameters], float], seed: int = 1, parallelism: int = 2
) -> list[TrialResult]:
    """Return the trials of a search in which so many run at once."""
    sampler = open_sampler(search, replace(GOAL, seed=seed))
    found: list[TrialResult] = []
    for number in range(sampler.trials):
        if number >= parallelism:
            sampler.tell(found[number - parallelism])
        parameters = sampler.ask()
        found.append(TrialResult(number, parameters, "Complete", (loss(parameters),)))
    return found


def decaying(parameters: Parameters) -> float:
    """Return a loss that falls fastest by a learning rate that falls from .2 to .02 in 500 steps.

    Each step lessens it by what is the less, the farther the rate is from the best one there.
    """
    values, changes = parts(parameters)
    loss = 500.0
    for step in range(int(parameters[ITERATIONS])):
        values |= changes.get(step, {})
        best = 0.2 * 0.1 ** (step / 500)
        loss -= math.exp(-(math.log(float(values["learning_rate"]) / best) ** 2))
    return loss


@pytest.mark.parametrize("parallelism", [1, 2, 4])
def test_a_schedule_is_found_that_beats_every_fixed_value(parallelism: int) -> None:
    fixed = min(
        decaying({"learning_rate": rate, ITERATIONS: 500}) for rate in np.geomspace(0.02, 0.2, 50)
    )
    ends = []
    for seed in range(16):
        found = searched(declared(100), decaying, seed, parallelism)
        assert max(int(one.parameters[ITERATIONS]) for one in found) <= 500
        ends.append(min(one.value for one in found))
    assert statistics.median(ends) < fixed / 2


@pytest.mark.parametrize("trials", [12, 400, 10_000])
def test_fits_grow_no_longer_than_twenty_generations(trials: int) -> None:
    found = searched(declared(trials), lambda parameters: -float(parameters[ITERATIONS]))
    assert max(int(one.parameters[ITERATIONS]) for one in found) <= 20 * 50


def test_what_is_worst_is_replaced_and_nothing_stopped(store: Store) -> None:
    """Early stopping would compare members with older ones, and take the place of all others."""
    data = make_data(GOALS["values"])
    plan = Plan(data.goal, declared(20), data.fit_count, 2)
    log, logged = open_log(store, "search", {})
    results = SearchRun(plan, InProcess(data), log, logged, lambda progress: None).run()
    log.close()
    assert {one.state for one in results} == {"Complete"}
    iterations = [int(one.parameters[ITERATIONS]) for one in results]
    assert iterations == sorted(iterations), "generation after generation"
    assert iterations.count(50) in (4, 5)
    assert len({one.folds for one in results}) == 20, "no two are the same"


def test_all_that_was_good_before_and_a_default_of_each_family_are_begun_with() -> None:
    search = declared(24, learners=CHANGING, warmStart={"k": 8})
    warm = tuple({**portfolio(["LightGBM"])[0], "num_leaves": 20 + number} for number in range(8))
    sampler = open_sampler(search, GOAL, Start(warm))
    begun = [sampler.ask() for _ in range(8 + len(CHANGING))]
    assert [one.get("num_leaves") for one in begun[:8]] == list(range(20, 28))
    assert {str(one[LEARNER]) for one in begun[8:]} == set(CHANGING)


@pytest.mark.parametrize(
    ("known", "value", "factor", "expected"),
    [
        pytest.param(Range("Integer", 2, 10), 2, 1.2, 3, id="a small integer"),
        pytest.param(Range("Integer", 2, 10), 3, 0.8, 2, id="a small integer, less"),
        pytest.param(Range("Integer", 2, 10), 10, 1.2, 10, id="the greatest"),
        pytest.param(Range("Integer", 2, 100), 50, 1.2, 60, id="a large integer"),
        pytest.param(Range("Float", 0.3, 0.9, step=0.3), 0.3, 1.2, 0.6, id="a long step"),
        pytest.param(Range("Float", 0.0, 1.0), 0.5, 0.8, 0.4, id="any number"),
    ],
)
def test_a_value_is_changed_by_a_fifth_or_to_the_next_one(
    known: Range, value: float, factor: float, expected: float
) -> None:
    assert near(known, value, factor) == pytest.approx(expected)


def test_the_worst_quarter_takes_over_from_the_best_and_all_others_go_on() -> None:
    losses = {number: float((number * 5) % 8) for number in range(8)}
    worst, best = {3, 6}, {0, 5}  # of losses 7 and 6, 0 and 1
    sampler = open_sampler(declared(64), GOAL)
    members = [sampler.ask() for _ in range(8)]
    assert [one[ORIGIN] for one in members] == list(range(8))
    for number, member in enumerate(members):
        sampler.tell(TrialResult(number, member, "Complete", (losses[number],)))
    for number, member in enumerate(members):
        after = sampler.ask()
        assert after[ITERATIONS] == 100
        if number not in worst:
            assert after == {**member, ITERATIONS: 100}
            continue
        assert after[ORIGIN] in best
        first, changes = parts(after)
        assert first == parts(members[int(after[ORIGIN])])[0]
        assert list(changes) == [50]
        assert set(changes[50]) <= set(LEARNERS["LightGBM"].changing)


@pytest.mark.parametrize("state", ["Failed", "Pruned"])
def test_a_member_that_is_not_completed_takes_over_from_the_best(state: State) -> None:
    sampler = open_sampler(declared(25), GOAL)
    members = [sampler.ask() for _ in range(5)]
    sampler.tell(TrialResult(0, members[0], state, (9.0,)))
    for number in range(1, 5):
        sampler.tell(TrialResult(number, members[number], "Complete", (float(number),)))
    assert sampler.ask()[ORIGIN] == 1


def test_while_no_result_is_known_members_begin() -> None:
    sampler = open_sampler(declared(16), GOAL)
    members = [sampler.ask() for _ in range(6)]
    assert [one[ORIGIN] for one in members] == list(range(6))
    for number, member in enumerate(members):
        sampler.tell(TrialResult(number, member, "Failed"))
    assert sampler.ask()[ORIGIN] == 6


def test_every_value_of_a_schedule_lies_in_the_declared_space() -> None:
    space = {
        "LightGBM": {
            "num_leaves": {"type": "Integer", "low": 8, "high": 32, "log": True},
            "learning_rate": {"type": "Float", "low": 0.05, "high": 0.05},
            "feature_fraction": {"type": "Float", "low": 0.5, "high": 0.9, "step": 0.2},
        }
    }
    found = searched(declared(100, space=space), lambda one: -float(one["num_leaves"]))
    for one in found:
        first, changes = parts(one.parameters)
        for values in (first, *changes.values()):
            assert 8 <= values.get("num_leaves", 8) <= 32
            assert values.get("learning_rate", 0.05) == 0.05
            share = (float(values.get("feature_fraction", 0.5)) - 0.5) / 0.2
            assert share == pytest.approx(round(share))
    changed = {
        name for one in found for values in parts(one.parameters)[1].values() for name in values
    }
    assert changed == set(LEARNERS["LightGBM"].changing) - {"learning_rate"}


def test_equal_seeds_give_equal_searches_whose_families_take_turns() -> None:
    search = declared(64, learners=[name for name in CHANGING if name != "TorchMLP"])
    found = searched(search, decaying)
    assert found == searched(search, decaying)
    others = searched(search, decaying, seed=2)
    size = len(portfolio(search.learners)[:8])
    assert found[:size] == others[:size]
    assert found != others
    assert {str(one.parameters[LEARNER]) for one in found[:8]} == set(search.learners)
