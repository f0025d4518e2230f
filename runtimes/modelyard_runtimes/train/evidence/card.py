"""The model card: a pure function of what the run found, without clock, host or path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api.experiment import LeaderboardEntry
from modelyard.api.modelversion import GroupDifference
from modelyard.api.runtime import TrainConfig

from modelyard_runtimes.model import ModelDocument
from modelyard_runtimes.model.columns import category_text
from modelyard_runtimes.train.evidence.importance import Importance

SHOWN = 10


@dataclass(frozen=True)
class Facts:
    """All that a card tells.

    Attributes:
        config: What was declared.
        document: The packed model.
        model_digest: Digest of its artifact.
        rows: Number of rows by use.
        metric: The optimised metric.
        metrics: Holdout metrics.
        naive: The same metrics of always predicting the classes' shares, or the mean.
        leaderboard: All candidates, best first.
        importance: Permutation importance.
        calibration_error: Expected calibration error; None for regression.
        fairness: Differences between groups.
        left_out: Reason by name of each column that is no feature.
        warnings: What a reader must know of the data.
    """

    config: TrainConfig
    document: ModelDocument
    model_digest: str
    rows: dict[str, int]
    metric: str
    metrics: dict[str, float]
    naive: dict[str, float]
    leaderboard: Sequence[LeaderboardEntry]
    importance: Importance
    calibration_error: float | None
    fairness: Sequence[GroupDifference]
    left_out: dict[str, str]
    warnings: Sequence[str]


def card(facts: Facts) -> str:
    """Return the card as Markdown."""
    sections = (
        _head(facts),
        _warnings(facts),
        _data(facts),
        _quality(facts),
        _members(facts),
        _leaderboard(facts),
        _importance(facts),
        _fairness(facts),
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
        f"- Optimised: {facts.metric}, {facts.metrics[facts.metric]:.6g} on the holdout",
    ]
    if facts.document.classes:
        lines.append(f"- Classes: {', '.join(map(_label, facts.document.classes))}")
    if facts.document.positive_label is not None:
        lines.append(
            f"- Positive class: {_label(facts.document.positive_label)}, "
            f"from a probability of {facts.document.threshold:g} on"
        )
    return "\n".join([*lines, f"- Digest: `{facts.model_digest}`"])


def _warnings(facts: Facts) -> str:
    if not facts.warnings:
        return ""
    return "## Warnings\n\n" + "\n".join(f"- {_text(warning)}" for warning in facts.warnings)


def _data(facts: Facts) -> str:
    spec = facts.config.spec
    rows = _table(("rows", "number"), ((use, str(count)) for use, count in facts.rows.items()))
    return (
        f"## Data\n\nDataset `{spec.dataset_ref.name}`, fingerprint "
        f"`{facts.config.fingerprint}`. Candidates were compared on {spec.validation.folds} folds; "
        f"the holdout was seen by the winner alone, once.\n\n{rows}"
    )


def _quality(facts: Facts) -> str:
    rows = (
        (name, f"{value:.6g}", f"{facts.naive[name]:.6g}" if name in facts.naive else "")
        for name, value in facts.metrics.items()
    )
    text = "## Quality on the holdout\n\n" + _table(("metric", "value", "naive model"), rows)
    if facts.calibration_error is not None:
        text += f"\n\nExpected calibration error: {facts.calibration_error:.6g}."
    return text


def _members(facts: Facts) -> str:
    rows = (
        (str(member.trial), member.learner, f"{member.weight:.4g}")
        for member in facts.document.members
    )
    return "## Members\n\n" + _table(("trial", "learner", "weight"), rows)


def _leaderboard(facts: Facts) -> str:
    rows = (
        (str(entry.rank), entry.trial, entry.learner, f"{entry.metric:.6g}")
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
    if not facts.fairness:
        return "## Fairness\n\nNo sensitive columns were declared in spec.fairness.sensitive."
    rows = (
        (
            f"`{_text(entry.column)}`",
            _number(entry.demographic_parity_difference),
            _number(entry.equalized_odds_difference),
            _number(entry.metric_difference),
        )
        for entry in facts.fairness
    )
    names = ("column", "demographic parity", "equalised odds", "metric")
    return "## Fairness\n\nLargest difference between groups.\n\n" + _table(names, rows)


def _left_out(facts: Facts) -> str:
    rows = ((f"`{_text(name)}`", reason) for name, reason in facts.left_out.items())
    return "## Columns that are no features\n\n" + _table(("column", "reason"), rows)


def _reproduction(facts: Facts) -> str:
    config = facts.config
    return (
        f"## Reproduction\n\nRun identity `{config.identity}`: seed {config.spec.seed}, "
        f"parallelism {config.parallelism}, {config.spec.search.trials} trials of "
        f"{', '.join(config.spec.search.learners)}."
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Return a text of the user that cannot break the page."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def _label(label: Any) -> str:
    return f"`{_text(category_text(label))}`"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
