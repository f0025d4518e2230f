"""The report: one page of HTML that needs nothing else, a pure function of what the run found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.train.evidence import charts, intervals
from modelyard_runtimes.train.evidence.advice import advice
from modelyard_runtimes.train.evidence.facts import Facts
from modelyard_runtimes.train.evidence.fairness import worst_first
from modelyard_runtimes.train.evidence.tables import member_rows, metric_rows, number

SHOWN = 20

STYLE = (
    "body{font:16px/1.5 sans-serif;color:#1b1f24;background:#fff;margin:0 auto;max-width:60rem;"
    "padding:1rem}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "caption{text-align:left;font-weight:bold;padding:.3rem 0}"
    "th,td{border:1px solid #8a94a3;padding:.3rem .6rem;text-align:left}"
    "th{background:#eef1f5}"
    "a{color:#0b4a8f}"
    "svg{max-width:100%;height:auto;display:block;margin:1rem 0}"
    "code{overflow-wrap:anywhere}"
)


def report(facts: Facts) -> str:
    """Return the page; equal facts give equal bytes."""
    name = escape(facts.config.name)
    sections = [
        ("summary", "What was found", _summary(facts)),
        ("quality", "Quality", _quality(facts)),
        ("candidates", "Candidates", _candidates(facts)),
        ("features", "Features", _features(facts)),
        ("certainty", "Certainty", _certainty(facts)),
        ("fairness", "Fairness", _fairness(facts)),
        ("slices", "Slices", _slices(facts)),
        ("rows", "Single rows", _rows(facts)),
        ("origin", "Where it comes from", _origin(facts)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title, _ in sections)
    body = "".join(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{title}</h2>{content}</section>'
        for key, title, content in sections
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Report of {name}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>Report of {name}</h1><p>{escape(facts.config.spec.description)}</p></header>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav><main>{body}</main>'
        f"<footer><p>Model <code>{escape(facts.model_digest)}</code></p></footer>"
        "</body></html>\n"
    )


def _summary(facts: Facts) -> str:
    told = "".join(f"<li>{escape(sentence)}</li>" for sentence in advice(facts))
    warned = "".join(f"<li>{escape(warning)}</li>" for warning in facts.warnings)
    return f"<ul>{told}</ul>" + (f"<h3>Of the data</h3><ul>{warned}</ul>" if warned else "")


def _quality(facts: Facts) -> str:
    names = ("metric", "value", "naive model")
    return _table("Metrics of the holdout", names, metric_rows(facts))


def _candidates(facts: Facts) -> str:
    rows = (
        (
            str(entry.rank),
            entry.trial,
            entry.learner,
            f"{entry.metric:.6g}",
            f"{entry.interval.low:.4g} to {entry.interval.high:.4g}" if entry.interval else "",
        )
        for entry in facts.leaderboard[:SHOWN]
    )
    names = ("rank", "trial", "learner", facts.metric, "95 % confidence")
    return _table("Best candidates, out of fold", names, rows) + _table(
        "Members of the winner", ("trial", "learner", "weight"), member_rows(facts)
    )


def _features(facts: Facts) -> str:
    parts: list[str] = []
    if facts.importance.features:
        found = [(one["feature"], one["mean"]) for one in facts.importance.features[:SHOWN]]
        parts.append(charts.bars(f"How much {facts.metric} gets worse without a feature", found))
    if facts.shap:
        shares = [(one["feature"], one["share"]) for one in facts.shap[:SHOWN]]
        parts.append(charts.bars("Share of each feature in the predictions (SHAP)", shares))
    parts += facts.explanations.charts
    left_out = ((name, reason) for name, reason in facts.left_out.items())
    if facts.left_out:
        parts.append(_table("Columns that are no features", ("column", "reason"), left_out))
    return "".join(parts)


def _certainty(facts: Facts) -> str:
    found = facts.calibration
    parts: list[str] = []
    if found is not None:
        curve = [(part["predicted"], part["observed"]) for part in found.curve]
        parts.append(
            charts.lines(
                "Calibration: how often what is predicted comes true",
                ("predicted probability", "observed frequency"),
                [("model", curve), ("perfect", [(0.0, 0.0), (1.0, 1.0)])],
            )
        )
        parts.append(
            f"<p>The expected calibration error is {found.error:.4g}; that of a calibrated model "
            f"stays within {found.by_chance:.4g} on as many rows.</p>"
        )
    if facts.conformal is not None:
        parts.append(f"<p>{escape(intervals.told(facts))}</p>")
    return "".join(parts)


def _fairness(facts: Facts) -> str:
    if not facts.fairness.groups:
        return "<p>No sensitive columns were declared in spec.fairness.sensitive.</p>"
    parts = []
    for column, found in facts.fairness.groups.items():
        parts.append(_groups(facts, f"Groups of {column}", found))
    for candidate in facts.mitigations:
        rows = (
            (name.replace("_", " "), number(value), number(candidate["after"][name]))
            for name, value in candidate["before"].items()
        )
        title = f"Candidate {candidate['name']} by {candidate['column']}, which is not served"
        parts.append(_table(title, ("measure", "now", "with it"), rows))
    return "".join(parts)


def _slices(facts: Facts) -> str:
    return "".join(
        _groups(facts, f"Slices of {column}, worst first", worst_first(found, facts.metric))
        for column, found in facts.slices.items()
    )


def _groups(facts: Facts, title: str, found: Sequence[Mapping[str, Any]]) -> str:
    names = [name for name in found[0] if name != "group"]
    rows = ((entry["group"], *map(number, map(entry.get, names))) for entry in found[:SHOWN])
    heads = ["group", *(_head(facts, name) for name in names)]
    shown = f" ({SHOWN} of {len(found)})" if len(found) > SHOWN else ""
    return _table(title + shown, heads, rows)


def _head(facts: Facts, measure: str) -> str:
    return facts.group_measure if measure == "value" else measure.replace("_", " ")


def _rows(facts: Facts) -> str:
    asked = facts.explanations
    turned = (
        (
            str(one["row"]),
            category_text(one["predicted"]),
            category_text(one["becomes"]) if one["found"] else "none found",
            "; ".join(
                f"{change['feature']}: {_value(change['from'])} to {_value(change['to'])}"
                for change in one.get("changes", [])
            ),
        )
        for one in asked.counterfactuals[:SHOWN]
    )
    local = (
        (
            str(one["row"]),
            f"{one['prediction']:.4g}",
            "; ".join(f"{part['feature']} {part['weight']:+.3g}" for part in one["weights"][:5]),
        )
        for one in asked.lime[:SHOWN]
    )
    names = ("row", "predicted", "would be", "if this were different")
    return (
        _table("What would turn a prediction", names, turned) if asked.counterfactuals else ""
    ) + (
        _table(
            "What a prediction rests on, near its row (LIME)",
            ("row", "prediction", "largest weights"),
            local,
        )
        if asked.lime
        else ""
    )


def _origin(facts: Facts) -> str:
    spec, config = facts.config.spec, facts.config
    steps = [
        f"Dataset {spec.dataset_ref.name}, fingerprint {config.fingerprint}",
        f"{_count(facts.rows['search'], 'row')} for the search, {facts.rows['holdout']} kept apart",
        f"{_count(len(facts.document.features), 'feature')}, "
        f"{_count(len(facts.left_out), 'column')} left out",
        f"{_count(len(facts.results), 'trial')} of {facts.searched} on {facts.judged_by}",
        _members(facts),
        f"Run {config.identity}, seed {spec.seed}",
    ]
    return "<ol>" + "".join(f"<li>{escape(step)}</li>" for step in steps) + "</ol>"


def _members(facts: Facts) -> str:
    if facts.config.spec.ensemble.bagging is None:
        members = _count(len(facts.document.members), "member")
        return f"{members}, fitted again on all rows of the search"
    trials = len({member.trial for member in facts.document.members})
    return f"{_count(trials, 'trial')}, each kept as its fits on {facts.judged_by}"


def _table(title: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _value(value: Any) -> str:
    return "missing" if value is None else category_text(value)
