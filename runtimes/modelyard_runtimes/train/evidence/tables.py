"""Rows of the tables that the card and the report have in common."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

from modelyard_runtimes.train.evidence.facts import Facts


def metric_rows(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield each metric of the holdout, its value, and that of the naive model where it has one."""
    for name, value in facts.metrics.items():
        yield name, f"{value:.6g}", f"{facts.naive[name]:.6g}" if name in facts.naive else ""


def member_rows(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield the trial, the family and the weight of each member; a bag is one."""
    for trial, fits in groupby(facts.document.members, key=attrgetter("trial")):
        first, *others = fits
        fitted = " on square roots" if first.link == "Square" else ""
        kept = f", {len(others) + 1} fits on folds" if others else ""
        weight = first.weight + sum(other.weight for other in others)
        yield str(trial), f"{first.learner}{fitted}{kept}", f"{weight:.4g}"


def how_combined(facts: Facts) -> str:
    """Return what the weights mean; nothing where they are those of a mean."""
    second_level = facts.document.second_level
    if second_level is None:
        return ""
    what = "log-odds" if second_level.scale == "Logit" else "values"
    intercepts = ", ".join(number(one) for one in second_level.intercepts)
    return f"The weights are those of {what}, to which {intercepts} is added."


def rows_held(facts: Facts) -> str:
    """Return that the model holds rows of its training, where it does."""
    if all(member.type != "Neighbors" for member in facts.document.members):
        return ""
    return (
        "KNeighbors holds rows it was fitted on, encoded, with their target: whoever may read the "
        "model may read these."
    )


def number(value: float | None) -> str:
    """Return a number, a count whole, or that it is not defined."""
    if value is None:
        return "undefined"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
