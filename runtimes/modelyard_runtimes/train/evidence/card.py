"""The model card: a pure function of what the run found, without clock, host or path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelyard.api.experiment import Interval

from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.train.evidence import intervals
from modelyard_runtimes.train.evidence.defects import defects
from modelyard_runtimes.train.evidence.facts import Facts
from modelyard_runtimes.train.evidence.fairness import worst_first
from modelyard_runtimes.train.evidence.tables import (
    how_combined,
    member_rows,
    metric_rows,
    number,
    rows_held,
)

SHOWN = 10


def card(facts: Facts) -> str:
    """Return the card as Markdown."""
    sections = (
        _head(facts),
        _defects(facts),
        _warnings(facts),
        _data(facts),
        _quality(facts),
        _certainty(facts),
        _members(facts),
        _leaderboard(facts),
        _importance(facts),
        _fairness(facts),
        _slices(facts),
        _left_out(facts),
        _reproduction(facts),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(facts: Facts) -> str:
    spec = facts.config.spec
    lines = [
        f"# Model card: {facts.config.name}",
        "",
        _text(spec.description) or "No description was given in spec.description.",
        "",
        f"- Task: {spec.task.type} of column `{_text(spec.task.target)}`",
        f"- Optimised: {facts.metric}, {facts.metrics[facts.metric]:.6g} on the holdout"
        f"{_between(facts.metric_interval)}",
    ]
    if facts.document.classes:
        lines.append(f"- Classes: {', '.join(map(_label, facts.document.classes))}")
    if facts.document.positive_label is not None:
        lines.append(
            f"- Positive class: {_label(facts.document.positive_label)}, "
            f"from a probability of {facts.document.threshold:g} on"
        )
    return "\n".join([*lines, f"- Digest: `{facts.model_digest}`"])


def _defects(facts: Facts) -> str:
    found = defects(facts)
    if not found:
        return "## Defects\n\nNone was found."
    return "## Defects\n\n" + "\n".join(f"- {one.name}: {_text(one.message)}" for one in found)


def _warnings(facts: Facts) -> str:
    if not facts.warnings:
        return ""
    return "## Warnings\n\n" + "\n".join(f"- {_text(warning)}" for warning in facts.warnings)


def _data(facts: Facts) -> str:
    spec = facts.config.spec
    rows = _table(("rows", "number"), ((use, str(count)) for use, count in facts.rows.items()))
    return (
        f"## Data\n\nDataset `{spec.dataset_ref.name}`, fingerprint "
        f"`{facts.config.fingerprint}`. Candidates were compared on {facts.judged_by}; "
        f"the holdout was seen by the winner alone, once.\n\n{rows}"
    )


def _quality(facts: Facts) -> str:
    names = ("metric", "value", "naive model")
    return "## Quality on the holdout\n\n" + _table(names, metric_rows(facts))


def _certainty(facts: Facts) -> str:
    """Return what is known of probabilities, of the threshold and of single predictions."""
    lines: list[str] = []
    found, declared = facts.calibration, facts.config.spec.evaluation
    if found is not None:
        lines.append(
            f"Expected calibration error: {found.error:.6g}; a calibrated model's stays within "
            f"{found.by_chance:.6g} on as many rows."
        )
    if facts.raw_error is not None and declared is not None:
        lines.append(
            f"{declared.calibration} was fitted out of fold; without it the error is "
            f"{facts.raw_error:.6g}."
        )
    if facts.costs is not None:
        lines.append(
            f"The threshold {facts.document.threshold:.6g} is the cheapest out of fold; a row of "
            f"the holdout costs {facts.costs['threshold']:.6g} with it, "
            f"{facts.costs['at_half']:.6g} with 0.5."
        )
    if facts.conformal is not None:
        lines.append(intervals.told(facts))
    return "## Certainty\n\n" + "\n".join(lines) if lines else ""


def _members(facts: Facts) -> str:
    table = _table(("trial", "learner", "weight"), member_rows(facts))
    told = (table, how_combined(facts), rows_held(facts))
    return "## Members\n\n" + "\n\n".join(text for text in told if text)


def _leaderboard(facts: Facts) -> str:
    rows = (
        (
            str(entry.rank),
            entry.trial,
            entry.learner,
            f"{entry.metric:.6g}{_between(entry.interval)}",
        )
        for entry in facts.leaderboard[:SHOWN]
    )
    return f"## Leaderboard, {facts.metric} out of fold\n\n" + _table(
        ("rank", "trial", "learner", facts.metric), rows
    )


def _importance(facts: Facts) -> str:
    importance = facts.importance
    if not importance.features:
        return ""
    rows = (
        (f"`{_text(entry['feature'])}`", f"{entry['mean']:.4g}", f"{entry['std']:.2g}")
        for entry in importance.features[:SHOWN]
    )
    return (
        f"## Importance\n\nBy how much {facts.metric} gets worse when a feature is shuffled, on "
        f"{importance.rows} of {facts.rows['holdout']} rows of the holdout, "
        f"{importance.repeats} times.\n\n" + _table(("feature", "mean", "deviation"), rows)
    )


def _fairness(facts: Facts) -> str:
    if not facts.fairness.differences:
        return "## Fairness\n\nNo sensitive columns were declared in spec.fairness.sensitive."
    rows = (
        (
            f"`{_text(entry.column)}`",
            number(entry.demographic_parity_difference),
            number(entry.equalized_odds_difference),
            number(entry.metric_difference),
        )
        for entry in facts.fairness.differences
    )
    names = ("column", "demographic parity", "equalised odds", "metric")
    text = "## Fairness\n\nLargest difference between groups.\n\n" + _table(names, rows)
    groups = facts.fairness.groups.items()
    return "\n\n".join([text, *(_groups(facts, "Groups", *each) for each in groups)])


def _slices(facts: Facts) -> str:
    if not facts.slices:
        return ""
    told = (
        _groups(facts, "Slices, worst first,", column, worst_first(found, facts.metric))
        for column, found in facts.slices.items()
    )
    return "\n\n".join(["## Slices", *told])


def _groups(facts: Facts, title: str, column: str, found: Sequence[Mapping[str, Any]]) -> str:
    measures = ("rows", "selection_rate", "true_positive_rate", "false_positive_rate", "value")
    told = [measure for measure in measures if measure in found[0]]
    names = ["group", *(measure.replace("_", " ") for measure in told)]
    names[-1] = facts.group_measure
    rows = (
        (f"`{_text(entry['group'])}`", *(number(entry[measure]) for measure in told))
        for entry in found[:SHOWN]
    )
    return f"{title} of `{_text(column)}`{_bounded(len(found))}:\n\n" + _table(names, rows)


def _bounded(count: int) -> str:
    return f" ({SHOWN} of {count})" if count > SHOWN else ""


def _left_out(facts: Facts) -> str:
    rows = ((f"`{_text(name)}`", reason) for name, reason in facts.left_out.items())
    return "## Columns that are no features\n\n" + _table(("column", "reason"), rows)


def _reproduction(facts: Facts) -> str:
    config = facts.config
    cut = ""
    if facts.cut:
        cut = (
            f" `budget.wallClock` of {config.spec.budget.wall_clock} kept the rest of "
            f"{config.spec.search.trials} from starting, so another run of the same spec may give "
            "another model; a replay starts as many."
        )
    return (
        f"## Reproduction\n\nRun identity `{config.identity}`: seed {config.spec.seed}, "
        f"parallelism {config.parallelism}, {len(facts.results)} trials of {facts.searched}.{cut}"
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Return a text of the user that cannot break the page."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def _label(label: Any) -> str:
    return f"`{_text(category_text(label))}`"


def _between(interval: Interval | None) -> str:
    return f" ({interval.low:.4g} to {interval.high:.4g})" if interval is not None else ""
