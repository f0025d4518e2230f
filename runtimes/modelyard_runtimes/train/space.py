"""The hyperparameters of each family: configurations to start with, and ranges to search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from types import MappingProxyType

from modelyard_runtimes.train.learners.base import Parameters, Value
from modelyard_runtimes.train.portfolio import PORTFOLIO
from modelyard_runtimes.train.ranges import Range
from modelyard_runtimes.train.task import Goal

LEARNER = "learner"
BOOSTED = ("LightGBM", "XGBoost", "CatBoost")
"""Families whose iterations are worth as much as they learn from each."""

TARGET = "target"
VALUE, SQUARE_ROOT = "Value", "SquareRoot"
TARGETS = (VALUE, SQUARE_ROOT)
"""What a candidate fits of a regression's values, where they have square roots."""


def targets_of(goal: Goal) -> tuple[str, ...]:
    """Return what candidates may fit of the target; nothing where there is no choice."""
    return TARGETS if goal.never_negative else ()


def portfolio(learners: Sequence[str], targets: Sequence[str] = ()) -> list[dict[str, Value]]:
    """Return the default configurations of these families, in the order in which they pay.

    Args:
        learners: The families.
        targets: What may be fitted of the target: the first configuration is tried with each of
            two, those of each family take turns.
    """
    found: list[dict[str, Value]] = [
        {LEARNER: learner, **parameters} for learner, parameters in PORTFOLIO if learner in learners
    ]
    if targets:
        found = [*found[:1], *found]  # the first pays most
        turns = {learner: cycle(targets) for learner in learners}
        found = [{**one, TARGET: next(turns[str(one[LEARNER])])} for one in found]
    return found


def hastened(configuration: Parameters, haste: float) -> dict[str, Value]:
    """Return a configuration whose boosted trees learn by so much faster, within their range."""
    learner = str(configuration[LEARNER])
    if learner not in BOOSTED:
        return dict(configuration)
    most = ranges_of(learner)["learning_rate"].high
    rate = min(most, haste * float(configuration["learning_rate"]))
    return {**configuration, "learning_rate": rate}


def turns(families: Iterable[str]) -> list[int]:
    """Return of each how many of its family come before it: the first of each family has 0."""
    counts: Counter[str] = Counter()
    found: list[int] = []
    for family in families:
        found.append(counts[family])
        counts[family] += 1
    return found


def ranges_of(learner: str, targets: Sequence[str] = ()) -> dict[str, Range]:
    """Return the values that a family is searched over, by hyperparameter.

    Args:
        learner: The family.
        targets: What may be fitted of the target.
    """
    chosen = {TARGET: _one_of(*targets)} if targets else {}
    return {**_RANGES[learner], **chosen}


def _float(low: float, high: float, *, log: bool = False) -> Range:
    return Range("Float", low, high, log=log)


def _integer(low: int, high: int, *, log: bool = False) -> Range:
    return Range("Integer", low, high, log=log)


def _one_of(*choices: str) -> Range:
    return Range("Categorical", choices=choices)


_RANGES: Mapping[str, Mapping[str, Range]] = MappingProxyType(
    {
        "LightGBM": {
            "learning_rate": _float(0.02, 0.2, log=True),
            "num_leaves": _integer(4, 128, log=True),
            "min_child_samples": _integer(5, 100, log=True),
            "feature_fraction": _float(0.15, 1.0),
            "bagging_fraction": _float(0.5, 1.0),
            "lambda_l2": _float(1e-2, 30.0, log=True),
            "categories": _one_of("Ordinal", "OneHot", "Native"),
            "interactions": _one_of("None", "Sums", "Ratios"),
        },
        "XGBoost": {
            "learning_rate": _float(0.02, 0.2, log=True),
            "max_depth": _integer(2, 10),
            "min_child_weight": _float(0.5, 50.0, log=True),
            "colsample_bynode": _float(0.3, 1.0),
            "subsample": _float(0.5, 1.0),
            "reg_lambda": _float(1e-2, 30.0, log=True),
            "categories": _one_of("Ordinal", "OneHot"),
        },
        "CatBoost": {
            "learning_rate": _float(0.03, 0.2, log=True),
            "depth": _integer(3, 8),
            "l2_leaf_reg": _float(0.5, 30.0, log=True),
            "subsample": _float(0.5, 1.0),
            "categories": _one_of("OneHot", "Ordinal"),
        },
        "Linear": {"penalty": _float(1e-6, 1.0, log=True), "knots": _integer(0, 12)},
        "ExtraTrees": {
            "min_samples_leaf": _integer(1, 32, log=True),
            "max_features": _float(0.1, 1.0),
            "categories": _one_of("OneHot", "Ordinal"),
        },
        "TorchMLP": {
            "layers": _integer(1, 4),
            "width": _integer(16, 512, log=True),
            "shape": _one_of("Constant", "Halving"),
            "blocks": _integer(0, 4),
            "members": _integer(1, 8),
            "dropout": _float(0.0, 0.5),
            "learning_rate": _float(5e-4, 2e-2, log=True),
            "weight_decay": _float(1e-4, 1.0, log=True),
        },
        "KNeighbors": {
            "neighbors": _integer(1, 200, log=True),
            "weighting": _one_of("Uniform", "Distance"),
        },
    }
)
