"""What is amiss with a model, each named and told with the number that shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from modelyard.api.modelversion import Defect

from modelyard_runtimes.train.evidence.facts import Facts
from modelyard_runtimes.train.evidence.fairness import DEFAULT_LIMITS, spread
from modelyard_runtimes.train.metrics import sign
from modelyard_runtimes.train.trial import NOT_FINITE

MIN_GROUP = 20
"""Groups with fewer rows are told, but are no defect: chance alone makes them differ."""

MAX_MESSAGE = 1024


def defects(facts: Facts) -> list[Defect]:
    """Return what is amiss, the same for the same facts."""
    found = [
        *_no_better_than_naive(facts),
        *_unlike_the_folds(facts),
        *_not_finite(facts),
        *_miscalibrated(facts),
        *_misses_its_coverage(facts),
        *_biased(facts),
    ]
    return [Defect(name=name, message=message[:MAX_MESSAGE]) for name, message in found]


def _no_better_than_naive(facts: Facts) -> Iterator[tuple[str, str]]:
    value, naive, held = (
        facts.metrics[facts.metric],
        facts.naive[facts.metric],
        facts.metric_interval,
    )
    worst = value
    if held is not None:
        worst = held.low if sign(facts.metric) > 0 else held.high
    if sign(facts.metric) * (worst - naive) <= 0:
        yield (
            "NoBetterThanNaive",
            f"{facts.metric} is {value:.4g} on the holdout and may as well be {worst:.4g}; always "
            f"predicting the same gets {naive:.4g}. The features tell too little of the target: "
            "look for others, or for more rows",
        )


def _unlike_the_folds(facts: Facts) -> Iterator[tuple[str, str]]:
    folds, held = facts.winner.interval, facts.alike_interval
    if held is None or folds is None:
        return
    if held.low > folds.high or held.high < folds.low:
        alike = "" if held == facts.metric_interval else ", scored alike"
        yield (
            "UnlikeTheFolds",
            f"{facts.metric} lies from {folds.low:.4g} to {folds.high:.4g} by the folds, from "
            f"{held.low:.4g} to {held.high:.4g} by the holdout{alike}; the rows of both differ, so "
            "look whether time or an order of the rows tells them apart",
        )


def _not_finite(facts: Facts) -> Iterator[tuple[str, str]]:
    failed = [one for one in facts.results if NOT_FINITE in one.reason]
    if failed:
        names = Counter(one.learner for one in failed)
        told = ", ".join(f"{count} of {name}" for name, count in sorted(names.items()))
        yield (
            "NonFinitePredictions",
            f"{len(failed)} of {len(facts.results)} trials predicted numbers that are not finite "
            f"({told}) and were left out; remove the learner, or what makes it overflow",
        )


def _miscalibrated(facts: Facts) -> Iterator[tuple[str, str]]:
    found = facts.calibration
    if found is None or not found.is_off:
        return
    declared = facts.config.spec.evaluation
    remedy = "set spec.evaluation.calibration to Platt or Isotonic"
    if declared is not None and declared.calibration != "None":
        remedy = f"{declared.calibration} did not mend it, so give it more rows"
    yield (
        "Miscalibrated",
        f"predicted probabilities are off by {found.error:.3f} on average (expected calibration "
        f"error), chance explains {found.by_chance:.3f}; {remedy}",
    )


def _misses_its_coverage(facts: Facts) -> Iterator[tuple[str, str]]:
    found = facts.conformal
    if found is None:
        return
    declared, rows = found["declared_coverage"], facts.rows["holdout"]
    spread = 3 * (declared * (1 - declared) / rows) ** 0.5
    if found["coverage"] < declared - spread:
        yield (
            "CoverageMissed",
            f"{found['coverage']:.3f} of the holdout lies inside the intervals, "
            f"{declared:.3f} was declared; the rows of the holdout differ from the others",
        )


def _biased(facts: Facts) -> Iterator[tuple[str, str]]:
    limits = facts.config.spec.fairness.limits or DEFAULT_LIMITS
    allowed: dict[str, tuple[float | None, dict[str, str]]] = {
        "demographicParity": (
            limits.demographic_parity,
            {"selection_rate": "the rate of positive predictions"},
        ),
        "equalizedOdds": (
            limits.equalized_odds,
            {
                "true_positive_rate": "the true positive rate",
                "false_positive_rate": "the false positive rate",
            },
        ),
        "metric": (limits.metric, {"value": f"the {facts.group_measure}"}),
    }
    for difference in facts.fairness.differences:
        groups = [
            entry
            for entry in facts.fairness.groups[difference.column]
            if entry["rows"] >= MIN_GROUP
        ]
        for name in difference.exceeded:
            limit, measures = allowed[name]
            found = max(measures, key=lambda measure: spread(groups, measure) or 0.0)
            apart = spread(groups, found)
            if apart is None or limit is None or apart <= limit:
                continue
            known = [entry for entry in groups if entry[found] is not None]
            low = min(known, key=lambda entry: float(entry[found]))
            high = max(known, key=lambda entry: float(entry[found]))
            yield (
                "BiasedGroup",
                f"column {difference.column!r}, {name}: the groups differ by {apart:.4g}, "
                f"{limit:g} is tolerated; {measures[found]} of group {low['group']!r} is "
                f"{low[found]:.4g}, of group {high['group']!r} {high[found]:.4g}. "
                f"{_remedy(facts, difference.column, name)}",
            )


def _remedy(facts: Facts, column: str, name: str) -> str:
    """Return what the candidate would change, or what else helps where there is none."""
    key = {
        "demographicParity": "demographic_parity_difference",
        "equalizedOdds": "equalized_odds_difference",
    }.get(name)
    for one in facts.mitigations:
        if key is None or one["column"] != column:
            continue
        before, after = one["before"][key], one["after"][key]
        if before is not None and after is not None:
            told = "" if after < before else ", which is no better"
            return (
                f"The candidate {one['name']} in mitigation.json changes the largest difference "
                f"from {before:.4g} to {after:.4g}{told}"
            )
    return (
        "Look for rows and features that tell more of these groups, or tolerate it in "
        f"spec.fairness.limits.{name}"
    )
