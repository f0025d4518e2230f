"""What the run found, in sentences for a reader who is no specialist; each cites its number."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.api.experiment import ENSEMBLE

from modelyard_runtimes.train.evidence.defects import defects
from modelyard_runtimes.train.evidence.facts import Facts
from modelyard_runtimes.train.metrics import sign

LATE = 0.8
"""A best trial after this share of them says that the search was still getting better."""

MANY_FAILED = 0.1


def advice(facts: Facts) -> list[str]:
    """Return the sentences, the same for the same facts."""
    return [
        *_quality(facts),
        *(f"{one.name}: {one.message}." for one in defects(facts)),
        *_ensemble(facts),
        *_search(facts),
        *_features(facts),
        *_threshold(facts),
    ]


def _quality(facts: Facts) -> Iterator[str]:
    value, naive = facts.metrics[facts.metric], facts.naive[facts.metric]
    held = facts.metric_interval
    between = f", with 95 % confidence from {held.low:.4g} to {held.high:.4g}" if held else ""
    yield (
        f"On {facts.rows['holdout']} rows that it never saw, the model reaches {facts.metric} "
        f"{value:.4g}{between}; always predicting the same reaches {naive:.4g}."
    )


def _ensemble(facts: Facts) -> Iterator[str]:
    by_name = {entry.trial: entry.metric for entry in facts.leaderboard}
    single = next((entry for entry in facts.leaderboard if entry.trial != ENSEMBLE), None)
    if ENSEMBLE not in by_name or single is None:
        return
    gain = sign(facts.metric) * (by_name[ENSEMBLE] - single.metric)
    count = len({member.trial for member in facts.document.members})
    if count > 1 and gain > 0:
        yield (
            f"Combining {count} models is better than the best single one, trial {single.trial}, "
            f"by {gain:.4g} of {facts.metric} out of fold; set spec.ensemble.type to None where "
            "one model is worth more than that."
        )
    elif count > 1:
        yield (
            f"Combining {count} models is as good as the best single one, trial {single.trial}: "
            f"that is ahead by {-gain:.4g} of {facts.metric} out of fold, no more than it owes to "
            "being the best of many; set spec.ensemble.type to None where one model is preferred."
        )


def _search(facts: Facts) -> Iterator[str]:
    single = next((entry for entry in facts.leaderboard if entry.trial != ENSEMBLE), None)
    count = len(facts.results)
    if single is not None and count >= 10 and int(single.trial) + 1 > LATE * count:
        yield (
            f"The best trial was number {int(single.trial) + 1} of {count}: the search was still "
            "finding better ones, so more trials in spec.search.trials may pay."
        )
    failed = sum(result.state == "Failed" for result in facts.results)
    if failed > MANY_FAILED * count:
        yield (
            f"{failed} of {count} trials failed; trials.json says why, and each is a trial "
            "that found nothing."
        )


def _features(facts: Facts) -> Iterator[str]:
    found = facts.importance.features
    if not found:
        return
    top = found[0]
    yield (
        f"{top['feature']} matters most: shuffled, {facts.metric} gets worse by {top['mean']:.4g}."
    )
    useless = [one["feature"] for one in found if one["mean"] <= 0]
    if useless:
        more = f" and {len(useless) - 5} more" if len(useless) > 5 else ""
        yield (
            f"{len(useless)} of {len(found)} features lose nothing when shuffled "
            f"({', '.join(useless[:5])}{more}); try without them in spec.features.exclude."
        )


def _threshold(facts: Facts) -> Iterator[str]:
    if facts.costs is not None:
        saved = facts.costs["at_half"] - facts.costs["threshold"]
        told = (
            f"saves {saved:.4g} of the declared costs" if saved >= 0 else f"costs {-saved:.4g} more"
        )
        yield (
            f"Rows are positive from a probability of {facts.document.threshold:.4g} on; compared "
            f"with 0.5 that {told} for each row of the holdout."
        )
