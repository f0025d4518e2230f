"""What is searched: the declared space within that of each family, and how it is searched."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from modelyard.api.experiment import Learner, Search
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.train.declared_space import Space, is_known
from modelyard_runtimes.train.learners.base import Parameters, Value
from modelyard_runtimes.train.sampler import NO_START, Start, open_sampler
from modelyard_runtimes.train.space import ranges_of
from modelyard_runtimes.train.task import Goal
from modelyard_runtimes.train.trial import TrialResult

LIGHTGBM = {
    "num_leaves": {"type": "Integer", "low": 8, "high": 32, "log": True},
    "min_child_samples": {"type": "Integer", "low": 10, "high": 50, "step": 20},
    "learning_rate": {"type": "Float", "low": 0.05, "high": 0.05},
    "feature_fraction": {"type": "Float", "low": 0.5, "high": 0.9, "step": 0.2},
    "categories": {"type": "Categorical", "choices": ["OneHot"]},
}


def declared(algorithm: str = "TPE", trials: int = 60, **changes: Any) -> Search:
    return Search.model_validate(
        {"algorithm": algorithm, "trials": trials, "learners": ["LightGBM", "Linear"], **changes}
    )


def proposals(
    search: Search, loss: Callable[[Parameters], float], seed: int = 1
) -> list[dict[str, Value]]:
    """Return what is proposed to a search that sees all but the last result."""
    sampler = open_sampler(search, Goal("Regression", 0, "rmse", "None", seed))
    found: list[dict[str, Value]] = []
    for number in range(sampler.trials):
        if number >= 2:
            earlier = found[number - 2]
            sampler.tell(TrialResult(number - 2, earlier, "Complete", (loss(earlier),)))
        found.append(sampler.ask())
    return found


@pytest.mark.parametrize("algorithm", ["TPE", "Random", "Evolutionary"])
def test_every_proposal_lies_in_the_declared_space(algorithm: str) -> None:
    search = declared(algorithm, space={"LightGBM": LIGHTGBM})
    found = proposals(search, len)
    boosted = [one for one in found if one["learner"] == "LightGBM"]
    assert len(boosted) > 5
    for one in boosted:
        assert 8 <= one["num_leaves"] <= 32
        assert one["min_child_samples"] in (10, 30, 50)
        assert one["learning_rate"] == 0.05
        assert (
            one["feature_fraction"] == pytest.approx(0.5)
            or one["feature_fraction"] == pytest.approx(0.7)
            or one["feature_fraction"] == pytest.approx(0.9)
        )
        assert one["categories"] == "OneHot"
        assert 0.5 <= one["bagging_fraction"] <= 1.0
    assert any(one["learner"] == "Linear" for one in found)


@pytest.mark.parametrize("algorithm", ["TPE", "Random", "Evolutionary"])
def test_equal_seeds_give_equal_proposals_whose_values_are_plain(algorithm: str) -> None:
    found = proposals(declared(algorithm), len)
    assert found == proposals(declared(algorithm), len)
    others = proposals(declared(algorithm), len, seed=2)
    defaults = Space(["LightGBM", "Linear"], None).portfolio()
    assert found[: len(defaults)] == others[: len(defaults)] == defaults
    assert all(one != other for one, other in zip(found[20:], others[20:], strict=True))
    kinds = {"Float": float, "Integer": int, "Categorical": str}
    for one in found:
        for name, known in ranges_of(str(one["learner"])).items():
            assert type(one[name]) is kinds[known.type], name


def test_a_warm_configuration_that_is_known_no_more_is_left_out() -> None:
    warm = [
        {"learner": "Linear", "penalty": 0.5},
        {"learner": "Linear", "penalty": 9.0, "knots": 3},
    ]
    assert Space(["Linear"], None).portfolio(warm) == Space(["Linear"], None).portfolio()


def test_after_a_warm_configuration_its_family_begins_with_one_default() -> None:
    space = Space(["LightGBM", "Linear"], None)
    warm = {**space.portfolio()[0], "learning_rate": 0.0345}
    cold = [one["learner"] for one in space.portfolio()]
    families = [one["learner"] for one in space.portfolio([warm])]
    assert families.count("LightGBM") == 2 < cold.count("LightGBM")
    # Of the other family nothing is known.
    assert families.count("Linear") == cold.count("Linear")


def test_what_was_liked_moves_proposals_of_its_family_into_the_declared_space() -> None:
    low = {"learning_rate": {"type": "Float", "low": 0.03, "high": 0.04}}
    search = declared(space={"LightGBM": low})
    default = Space(["LightGBM"], None).portfolio()[0]
    liked = tuple({**default, "num_leaves": leaves} for leaves in (9, 10, 11, 12))

    def leaves(start: Start) -> float:
        sampler = open_sampler(search, Goal("Regression", 0, "rmse", "None", 1), start)
        found = []
        for number in range(sampler.trials):
            one = sampler.ask()
            sampler.tell(TrialResult(number, one, "Complete", (1.0,)))
            if number >= sampler.portfolio_size and one["learner"] == "LightGBM":
                assert 0.03 <= float(one["learning_rate"]) <= 0.04
                found.append(float(one["num_leaves"]))
        return float(np.median(found))

    assert leaves(Start(liked=liked)) < leaves(NO_START) / 1.5


def test_default_configurations_are_moved_into_the_declared_space_and_tried_once() -> None:
    fixed = {
        name: {"type": kind.type, "low": kind.low, "high": kind.low}
        if kind.type != "Categorical"
        else {"type": "Categorical", "choices": [kind.choices[0]]}
        for name, kind in ranges_of("LightGBM").items()
    }
    search = declared(learners=["LightGBM"], space={"LightGBM": fixed})
    assert len(Space(search.learners, search.space).portfolio()) == 1


TARGETS = ("Value", "SquareRoot")


def test_where_a_target_has_square_roots_configurations_fit_them_in_turns() -> None:
    learners = list(get_args(Learner))
    defaults = Space(learners, None, TARGETS).portfolio()
    first, second = defaults[:2]
    assert (first, second) == ({**second, "target": "Value"}, {**first, "target": "SquareRoot"})
    for learner in learners:
        own = [one["target"] for one in defaults if one["learner"] == learner]
        assert own == [TARGETS[number % 2] for number in range(len(own))]
    assert all("target" not in one for one in Space(["LightGBM", "Linear"], None).portfolio())


@pytest.mark.parametrize(
    ("targets", "warm", "expected"),
    [
        pytest.param(TARGETS, {}, {"target": "Value"}, id="an older one fits values"),
        pytest.param(TARGETS, {"target": "SquareRoot"}, {"target": "SquareRoot"}, id="roots stay"),
        pytest.param((), {"target": "SquareRoot"}, {}, id="no roots where values are negative"),
    ],
)
def test_a_warm_configuration_fits_what_there_is_to_fit(
    targets: tuple[str, ...], warm: dict[str, str], expected: dict[str, str]
) -> None:
    own = {"learner": "Linear", "penalty": 0.5, "knots": 3}
    first = Space(["Linear"], None, targets).portfolio([{**own, **warm}])[0]
    assert first == {**own, **expected}
    assert is_known({**own, **warm})


def test_what_is_fitted_of_a_target_can_be_declared() -> None:
    space = {"Linear": {"target": {"type": "Categorical", "choices": ["SquareRoot"]}}}
    search = declared(learners=["Linear"], space=space)
    found = Space(search.learners, search.space, TARGETS).portfolio()
    assert {one["target"] for one in found} == {"SquareRoot"}
    with pytest.raises(RunFailure, match=r"Linear\.target: .* never negative has square roots"):
        Space(search.learners, search.space)


def test_grid_tries_every_combination_and_nothing_else() -> None:
    space = {
        "LightGBM": {
            "num_leaves": {"type": "Integer", "low": 8, "high": 24, "step": 8},
            "categories": {"type": "Categorical", "choices": ["Ordinal", "Native"]},
        },
        "Linear": {"penalty": {"type": "Float", "low": 0.5, "high": 0.5}},
    }
    found = proposals(declared("Grid", space=space), lambda parameters: 0.0)
    chosen = [(one["num_leaves"], one["categories"]) for one in found if "num_leaves" in one]
    assert chosen == [(n, c) for n in (8, 16, 24) for c in ("Ordinal", "Native")]
    assert [one["penalty"] for one in found if one["learner"] == "Linear"] == [0.5]


def parameter(name: str, value: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"space": {"LightGBM": {name: value}}, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            parameter("num_leafs", {"type": "Integer", "low": 8, "high": 9}),
            r"spec\.search\.space\.LightGBM\.num_leafs: .*did you mean num_leaves\?",
            id="no such hyperparameter",
        ),
        pytest.param(
            parameter("num_leaves", {"type": "Integer", "low": 8, "high": 5000}),
            r"LightGBM\.num_leaves: it must lie within Integer from 4 to 128",
            id="beyond the range",
        ),
        pytest.param(
            parameter("num_leaves", {"type": "Float", "low": 8, "high": 50}),
            "Integer from 4 to 128",
            id="another type",
        ),
        pytest.param(
            parameter("categories", {"type": "Categorical", "choices": ["Hash"]}),
            "Categorical, Ordinal, OneHot, Native",
            id="no such choice",
        ),
        pytest.param(
            parameter(
                "learning_rate", {"type": "Float", "low": 0.1, "high": 0.2}, algorithm="Grid"
            ),
            r"learning_rate\.step: Grid needs it",
            id="a grid without steps",
        ),
        pytest.param(
            parameter(
                "num_leaves",
                {"type": "Integer", "low": 4, "high": 104, "step": 1},
                algorithm="Grid",
            ),
            r"spec\.search\.trials: .*more than 60 combinations",
            id="a grid beyond the trials",
        ),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_with_what_can_be(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunFailure, match=message) as end:
        open_sampler(declared(**changes), Goal("Regression", 0, "rmse", "None", 1))
    assert end.value.reason == "InvalidSearchSpace"


def unit(parameters: Parameters) -> list[float]:
    """Return the numeric hyperparameters as shares of their ranges, on a logarithmic scale."""
    return [
        math.log((1 + float(parameters[name])) / (1 + kind.low))
        / math.log((1 + kind.high) / (1 + kind.low))
        for name, kind in ranges_of(str(parameters["learner"])).items()
        if kind.type != "Categorical"
    ]


def bowl(parameters: Parameters) -> float:
    return sum((share - 0.3) ** 2 for share in unit(parameters))


def valley(parameters: Parameters) -> float:
    shares = [share - 0.6 for share in unit(parameters)]
    bends = itertools.pairwise(shares)
    return sum(4 * (one - other) ** 2 for one, other in bends) + shares[0] ** 2


def ripples(parameters: Parameters) -> float:
    return bowl(parameters) + sum(0.05 * (1 - math.cos(9 * one)) for one in unit(parameters))


@pytest.mark.soak
@pytest.mark.parametrize("loss", [bowl, valley, ripples], ids=lambda loss: loss.__name__)
def test_the_bayesian_sampler_beats_random_search(loss: Callable[[Parameters], float]) -> None:
    medians = {
        algorithm: statistics.median(
            min(map(loss, proposals(declared(algorithm, 50, learners=["LightGBM"]), loss, seed)))
            for seed in range(20)
        )
        for algorithm in ("TPE", "Random")
    }
    assert medians["TPE"] < medians["Random"]
