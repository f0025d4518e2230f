"""The report is one page that opens anywhere, says what was found, and is the same every time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import markdown
import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.experiment import Budget, FairnessLimits, Interval, LeaderboardEntry
from modelyard.api.records import CARD_FILE, REPORT_FILE
from modelyard.api.runs import TrainConfig
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.model import ModelDocument
from modelyard_runtimes.store import open_store
from modelyard_runtimes.train.evidence import charts
from modelyard_runtimes.train.evidence.advice import advice
from modelyard_runtimes.train.evidence.calibration import Calibration
from modelyard_runtimes.train.evidence.card import card
from modelyard_runtimes.train.evidence.defects import defects
from modelyard_runtimes.train.evidence.explanations import Explanations
from modelyard_runtimes.train.evidence.facts import Facts
from modelyard_runtimes.train.evidence.fairness import Fairness, Judged, fairness
from modelyard_runtimes.train.evidence.importance import Importance
from modelyard_runtimes.train.evidence.report import report
from modelyard_runtimes.train.run import train
from modelyard_runtimes.train.trial import NOT_FINITE, TrialResult

from tests.train.contrast import Colours, contrast

from .conftest import configuration

MakeConfig = Callable[..., TrainConfig]
Axe = Callable[..., list[list[dict[str, Any]]]]

AXE = Path(__file__).parents[1] / "tools" / "axe.py"

VOID = {"meta", "br", "img", "input", "hr", "link"}
LOADING = {
    "script",
    "link",
    "img",
    "image",
    "iframe",
    "object",
    "embed",
    "video",
    "audio",
    "source",
}
MAX_BYTES = 5 * 1024 * 1024


class Page(HTMLParser):
    """What a browser, or somebody who cannot see it, makes of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.titles = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]


@pytest.fixture
def facts(make_config: MakeConfig) -> Facts:
    """Return what a run of ten trials may have found."""
    spec = {
        "description": "Who <leaves> & why",
        "task": {"type": "Classification", "target": "churn"},
    }
    table = pa.table({"x": [1.0], "churn": ["a"]})
    config = make_config(table, {"x": "Numeric", "churn": "Categorical"}, spec, name="churn")
    numeric: dict[str, Any] = {"fill": [None, None], "mean": [0, 0], "scale": [1, 1]}
    member = {"type": "Trees", "learner": "LightGBM", "encoder": 0, "file": "members/0.txt"}
    document = ModelDocument.model_validate(
        {
            "task": "Classification",
            "target": "churn",
            "classes": ["no", "yes"],
            "positiveLabel": "yes",
            "features": [{"name": name, "type": "Numeric", "required": True} for name in "xz"],
            "encoders": [{"numeric": numeric, "categorical": {"style": "Ordinal", "levels": []}}],
            "members": [
                {**member, "trial": 9, "weight": 0.6},
                {**member, "trial": 2, "weight": 0.4},
            ],
        }
    )
    results = [TrialResult(n, {"learner": "LightGBM"}, "Complete", (0.8,)) for n in range(10)]
    ensemble = LeaderboardEntry(
        rank=1, trial="ensemble", learner="Weighted", metric=0.853,
        interval=Interval(low=0.83, high=0.876),
    )  # fmt: skip
    return Facts(
        config=config,
        document=document,
        model_digest="sha256:" + "1" * 64,
        rows={"search": 800, "holdout": 200},
        judged_by="5 folds",
        metric="roc_auc",
        metrics={"roc_auc": 0.84, "expected_calibration_error": 0.03},
        metric_interval=Interval(low=0.8, high=0.88),
        alike_interval=Interval(low=0.8, high=0.88),
        naive={"roc_auc": 0.5},
        winner=ensemble,
        leaderboard=[
            ensemble,
            LeaderboardEntry(rank=2, trial="9", learner="LightGBM", metric=0.85),
        ],
        results=results,
        cut=False,
        importance=Importance(
            [
                {"feature": "x", "mean": 0.12, "std": 0.01},
                {"feature": "<z>", "mean": -0.001, "std": 0.01},
            ],
            200,
            1,
        ),
        calibration=Calibration(
            [{"from": 0.1, "to": 0.2, "rows": 200, "predicted": 0.15, "observed": 0.18}], 0.03, 0.06
        ),
        raw_error=None,
        costs=None,
        conformal=None,
        fairness=Fairness([], {}),
        slices={},
        mitigations=[],
        explanations=Explanations(
            counterfactuals=[
                {
                    "row": 7, "predicted": "no", "found": True, "becomes": "yes",
                    "changes": [{"feature": "x", "from": 1.5, "to": None}],
                },
                {"row": 9, "predicted": "no", "found": False},
            ],
        ),
        shap=[{"feature": "x", "share": 1.0}],
        left_out={"id": "it identifies rows"},
        warnings=["a | warning"],
    )  # fmt: skip


def test_an_ensemble_that_is_ahead_by_less_than_luck_is_called_as_good(facts: Facts) -> None:
    ensemble, single = facts.leaderboard
    behind = [ensemble.model_copy(update={"metric": 0.848}), single]
    told = [one for one in advice(replace(facts, leaderboard=behind)) if "Combining" in one]
    assert told == [
        "Combining 2 models is as good as the best single one, trial 9: that is ahead by 0.002 of "
        "roc_auc out of fold, no more than it owes to being the best of many; set "
        "spec.ensemble.type to None where one model is preferred."
    ]


@pytest.mark.parametrize(
    ("at_half", "told"),
    [
        pytest.param(0.25, "saves 0.05 of the declared costs", id="cheaper"),
        pytest.param(0.195, "costs 0.005 more", id="dearer"),
    ],
)
def test_a_threshold_that_does_not_pay_on_the_holdout_is_told_as_such(
    facts: Facts, at_half: float, told: str
) -> None:
    (said,) = [
        one
        for one in advice(replace(facts, costs={"threshold": 0.2, "at_half": at_half}))
        if one.startswith("Rows are positive")
    ]
    assert said.endswith(f"compared with 0.5 that {told} for each row of the holdout.")


def test_every_sentence_cites_its_number(facts: Facts) -> None:
    assert advice(facts) == [
        "On 200 rows that it never saw, the model reaches roc_auc 0.84, with 95 % confidence from "
        "0.8 to 0.88; always predicting the same reaches 0.5.",
        "Combining 2 models is better than the best single one, trial 9, by 0.003 of roc_auc out "
        "of fold; set spec.ensemble.type to None where one model is worth more than that.",
        "The best trial was number 10 of 10: the search was still finding better ones, so more "
        "trials in spec.search.trials may pay.",
        "x matters most: shuffled, roc_auc gets worse by 0.12.",
        "1 of 2 features lose nothing when shuffled (<z>); try without them in "
        "spec.features.exclude.",
    ]


def test_a_sound_run_has_no_defects(facts: Facts) -> None:
    assert defects(facts) == []
    assert "## Defects\n\nNone was found." in card(facts)


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "not cut"])
def test_the_card_tells_how_many_trials_ran_and_whether_the_budget_cut_them(
    facts: Facts, cut: bool
) -> None:
    spec = facts.config.spec.model_copy(update={"budget": Budget(wall_clock="30s")})
    config = facts.config.model_copy(update={"spec": spec})
    text = card(replace(facts, config=config, cut=cut))
    assert f"{len(facts.results)} trials of" in text
    assert ("`budget.wallClock` of 30s kept the rest" in text) is cut


def test_a_defect_stands_in_summary_and_card(facts: Facts) -> None:
    off = Calibration([], 0.12, 0.04)
    assert facts.calibration is not None
    bad = replace(
        facts,
        metrics={"roc_auc": 0.49, "expected_calibration_error": 0.12},
        metric_interval=Interval(low=0.45, high=0.53),
        alike_interval=Interval(low=0.45, high=0.53),
        calibration=replace(off, curve=facts.calibration.curve),
        results=[
            *facts.results,
            TrialResult(
                10, {"learner": "Linear"}, "Failed", reason=f"ArithmeticError: {NOT_FINITE}"
            ),
        ],
    )
    assert [one.name for one in defects(bad)] == [
        "NoBetterThanNaive",
        "UnlikeTheFolds",
        "NonFinitePredictions",
        "Miscalibrated",
    ]
    for one in defects(bad):
        assert f"- {one.name}: " in card(bad)
        assert f"<li>{one.name}: " in report(bad)


def test_folds_and_holdout_are_compared_as_scored_alike(facts: Facts) -> None:
    """A threshold by costs, or recalibration, moves what is served, and not what folds tell."""
    served = replace(facts, metric_interval=Interval(low=0.6, high=0.7))
    assert defects(served) == []
    (found,) = defects(replace(served, alike_interval=Interval(low=0.7, high=0.8)))
    assert found.name == "UnlikeTheFolds"
    assert "from 0.83 to 0.876 by the folds, from 0.7 to 0.8 by the holdout, scored alike" in (
        found.message
    )


def test_the_folds_of_the_winner_are_compared_where_objectives_chose_another(facts: Facts) -> None:
    other = facts.leaderboard[1].model_copy(update={"interval": Interval(low=0.9, high=0.95)})
    (found,) = defects(replace(facts, winner=other))
    assert "from 0.9 to 0.95 by the folds" in found.message


UNEQUAL = Judged(
    target=np.array(([1.0] * 20 + [0.0] * 20) * 2),
    outputs=np.array(
        [1] * 18 + [0] * 2 + [1] * 4 + [0] * 16 + [1] * 19 + [0] + [1] * 10 + [0] * 10
    )[:, None].astype(np.float64),
    metric="accuracy",
    classes=2,
)
"""True positives of 'a' and 'b' are 0.9 and 0.95, false positives 0.2 and 0.5."""

GROUPS = {"grp": ["a"] * 40 + ["b"] * 40}


def limited(facts: Facts, limits: FairnessLimits) -> Facts:
    """Return the facts of a run that tolerates other differences."""
    declared = facts.config.spec.fairness.model_copy(update={"limits": limits})
    spec = facts.config.spec.model_copy(update={"fairness": declared})
    return replace(facts, config=facts.config.model_copy(update={"spec": spec}))


def biased(facts: Facts, after: float | None) -> str:
    """Return what is said of groups whose odds differ, and of a candidate where there is one."""
    limits = FairnessLimits(equalized_odds=0.1)
    effects = [{"equalized_odds_difference": value} for value in (0.3, after)]
    candidate = {"name": "GroupThresholds", "column": "grp"}
    judged = replace(
        facts,
        fairness=fairness(UNEQUAL, GROUPS, limits),
        mitigations=[]
        if after is None
        else [{**candidate, "before": effects[0], "after": effects[1]}],
    )
    (defect,) = defects(limited(judged, limits))
    return defect.message


def test_the_rate_that_differs_most_is_the_one_that_is_told(facts: Facts) -> None:
    assert biased(facts, None) == (
        "column 'grp', equalizedOdds: the groups differ by 0.3, 0.1 is tolerated; the false "
        "positive rate of group 'a' is 0.2, of group 'b' 0.5. Look for rows and features that tell "
        "more of these groups, or tolerate it in spec.fairness.limits.equalizedOdds"
    )


@pytest.mark.parametrize(
    ("after", "told"),
    [
        pytest.param(0.05, "difference from 0.3 to 0.05", id="it helps"),
        pytest.param(0.31, "difference from 0.3 to 0.31, which is no better", id="it harms"),
    ],
)
def test_a_candidate_is_told_with_what_it_would_change(
    facts: Facts, after: float, told: str
) -> None:
    assert biased(facts, after).endswith(
        f"The candidate GroupThresholds in mitigation.json changes the largest {told}"
    )


def test_a_few_rows_that_differ_by_chance_are_no_defect(facts: Facts) -> None:
    few = np.array([0.0, 1.0])
    judged = Judged(
        np.append(UNEQUAL.target, few), np.append(UNEQUAL.outputs, few)[:, None], "accuracy", 2
    )
    limits = FairnessLimits(equalized_odds=0.4)
    found = fairness(judged, {"grp": [*GROUPS["grp"], "c", "c"]}, limits)
    assert found.differences[0].exceeded == ["equalizedOdds"]
    assert defects(limited(replace(facts, fairness=found), limits)) == []


def test_groups_of_a_regression_differ_in_their_mean_error_and_have_no_candidate(
    facts: Facts,
) -> None:
    limits = FairnessLimits(metric=5.0)
    outputs = np.array([-10.25] * 40 + [2.0] * 40)[:, None]
    judged = replace(
        facts,
        document=facts.document.model_copy(update={"classes": []}),
        fairness=fairness(Judged(np.zeros(80), outputs, "rmse", 0), GROUPS, limits),
        mitigations=[],
    )
    (defect,) = defects(limited(judged, limits))
    assert "the mean error of group 'a' is -10.25, of group 'b' 2." in defect.message
    assert "mitigation.json" not in defect.message


CONFORMAL = {"declared_coverage": 0.9, "coverage": 0.91, "mean_size": 27.31, "radius": 13.655}


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        pytest.param([], "intervals, 0.9 was declared; an interval is 27.31 wide", id="regression"),
        pytest.param(
            ["no", "yes"], "sets, 0.9 was declared; a set holds 27.31 classes", id="classes"
        ),
    ],
)
def test_conformal_predictions_are_called_what_they_are(
    facts: Facts, classes: list[str], told: str
) -> None:
    document = facts.document.model_copy(update={"classes": classes, "positive_label": None})
    certain = replace(facts, document=document, conformal=CONFORMAL)
    for page in (card(certain), report(certain)):
        assert f"0.91 of the holdout lies inside the conformal {told} on average." in page


def test_one_of_a_thing_is_no_plural(facts: Facts) -> None:
    document = facts.document.model_copy(update={"members": facts.document.members[:1]})
    page = report(replace(facts, document=document))
    assert "<li>1 member, fitted again" in page
    assert "<li>2 features, 1 column left out" in page


def test_what_groups_are_compared_by_has_its_name_in_card_and_report(facts: Facts) -> None:
    judged = replace(facts, fairness=fairness(UNEQUAL, GROUPS), metric="roc_auc")
    assert "| false positive rate | roc_auc |" in card(judged)
    assert '<th scope="col">roc_auc</th><th scope="col">selection rate</th>' in report(judged)


def test_slices_are_told_worst_first_and_no_more_than_can_be_read(facts: Facts) -> None:
    values = [*(0.7 + place / 100 for place in range(25)), None]
    found = [
        {"group": f"g{place}", "rows": 9, "value": value} for place, value in enumerate(values)
    ]
    sliced = replace(facts, slices={"region": found[::-1]})
    told = card(sliced)
    assert "## Slices\n\nSlices, worst first, of `region` (10 of 26):" in told
    assert re.findall(r"^\| `(g\d+)`", told, re.MULTILINE) == [f"g{place}" for place in range(10)]
    page = report(sliced)
    assert "<caption>Slices of region, worst first (20 of 26)</caption>" in page
    assert re.findall(r"<td>(g\d+)</td>", page) == [f"g{place}" for place in range(20)]


def check_loads_nothing(page: Page, text: str) -> None:
    """Check that a page neither runs nor loads anything."""
    assert not [tag for tag, _ in page.elements if tag in LOADING]
    links = [value for _, attributes in page.elements for value in attributes.values() if value]
    namespaces = {"http://www.w3.org/2000/svg"}
    assert not [value for value in links if "://" in value and value not in namespaces]
    assert not re.search(r"url\(|@import", text)


def test_the_page_needs_nothing_else_and_is_the_same_every_time(facts: Facts) -> None:
    text = report(facts)
    assert text == report(facts)
    assert len(text.encode()) < MAX_BYTES
    page = Page(text)
    assert page.open == []
    check_loads_nothing(page, text)
    assert "Who &lt;leaves&gt; &amp; why" in text
    assert "<z>" not in text


def test_the_page_can_be_read_without_seeing_it(facts: Facts) -> None:
    page = Page(report(facts))
    assert page.all("html")[0]["lang"] == "en"
    assert (
        len(page.all("main"))
        == len(page.all("h1"))
        == len(page.all("title")) - len(page.all("svg"))
    )
    assert page.all("nav")[0]["aria-label"]
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    sections = [attributes["aria-labelledby"] for attributes in page.all("section")]
    assert set(sections) <= set(identifiers)
    assert {f"#{name}" for name in sections} == {link["href"] for link in page.all("a")}
    assert all(attributes["role"] == "img" for attributes in page.all("svg"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attributes["scope"] == "col" for attributes in page.all("th"))


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Axe:
    """Return a function that tells, page by page, what axe finds."""
    tool = subprocess.run([sys.executable, AXE], capture_output=True, text=True, check=False)
    if tool.returncode:
        pytest.skip(tool.stderr.strip())

    def judge(*pages: str) -> list[list[dict[str, Any]]]:
        folder = tmp_path_factory.mktemp("pages")
        files = [folder / f"{number}.html" for number, _ in enumerate(pages)]
        for file, page in zip(files, pages, strict=True):
            file.write_text(page, encoding="utf-8")
        command = ["node", AXE.with_suffix("") / "judge.mjs", tool.stdout.strip(), *files]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found: list[list[dict[str, Any]]] = json.loads(done.stdout)
        return found

    return judge


BROKEN = {
    "html-has-lang": (' lang="en"', ""),
    "document-title": ("<title>Report of churn</title>", ""),
    "link-name": (">What was found</a>", "></a>"),
    "svg-img-alt": (r"(<svg[^>]*>)<title>.*?</title>", r"\1"),
    "scope-attr-valid": ('scope="col"', 'scope="column"'),
    "list": (r'(<nav aria-label="Sections"><ul>)', r"\1<p>Sections</p>"),
    "meta-viewport": ("initial-scale=1", "initial-scale=1, user-scalable=no"),
    "aria-valid-attr-value": ('aria-labelledby="summary"', 'aria-labelledby="away"'),
    "landmark-one-main": ("(</?)main>", r"\1div>"),
    "heading-order": ("(</?h)2", r"\g<1>4"),
}
"""By rule of axe, how a page is changed that breaks it."""


def test_axe_finds_what_is_broken_in_a_page(facts: Facts, axe: Axe) -> None:
    whole = report(facts)
    changed = [re.sub(before, after, whole) for before, after in BROKEN.values()]
    found = axe(whole, *changed)
    assert found[0] == []
    assert [[one["rule"] for one in page if one["rule"] in BROKEN] for page in found[1:]] == [
        [rule] for rule in BROKEN
    ]


def many_lines(facts: Facts) -> str:
    """Return the report of a run with a chart of as many colours as there are."""
    points = [(0.0, 0.0), (1.0, 1.0)]
    series = [(f"class {number}", points) for number in range(len(charts.SERIES))]
    drawn = [charts.lines("Of each class", ("x", "probability"), series, [points])]
    return report(replace(facts, explanations=Explanations(charts=drawn)))


def pale(page: str) -> dict[tuple[str, str], float]:
    """Return what of a page does not stand out as WCAG asks at level AA: text 4.5, charts 3."""
    colours = Colours(page)
    assert len(colours.text) > 3
    assert colours.drawn
    found = {pair: contrast(*pair) for pair in colours.drawn if contrast(*pair) < 3}
    return found | {pair: contrast(*pair) for pair in colours.text if contrast(*pair) < 4.5}


def test_text_and_charts_of_as_many_colours_as_there_are_stand_out(facts: Facts) -> None:
    page = many_lines(facts)
    assert set(charts.SERIES) <= {colour for colour, _ in Colours(page).text}
    assert pale(page) == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("body{font:16px/1.5 sans-serif;color:#1b1f24", "body{color:#888", id="text"),
        pytest.param("a{color:#0b4a8f}", "a{color:#5c9ce0}", id="links"),
        pytest.param("th{background:#eef1f5}", "th{background:#444}", id="heads of tables"),
        pytest.param('fill="#ffffff"', 'fill="#333333"', id="the ground of charts"),
        pytest.param('stroke="#8a94a3"', 'stroke="#bbbbbb"', id="faint lines"),
    ],
)
def test_what_does_not_stand_out_is_seen(facts: Facts, before: str, after: str) -> None:
    page = many_lines(facts)
    assert before in page
    assert pale(page.replace(before, after))


def test_a_card_has_every_section(facts: Facts) -> None:
    headings = re.findall(r"^## (.*)$", card(facts), re.MULTILINE)
    assert headings == [
        "Defects",
        "Warnings",
        "Data",
        "Quality on the holdout",
        "Certainty",
        "Members",
        "Leaderboard, roc_auc out of fold",
        "Importance",
        "Fairness",
        "Columns that are no features",
        "Reproduction",
    ]


def wide_table(rows: int = 300) -> tuple[pa.Table, dict[str, str]]:
    """Return rows of 83 columns of every type, with gaps, and a target of two classes."""
    generator = np.random.default_rng(8)
    numbers = generator.normal(size=(rows, 60))
    codes = generator.integers(0, 6, size=(rows, 18))
    score = numbers[:, 0] - numbers[:, 1] + (codes[:, 0] == 2) + generator.normal(size=rows) * 0.5
    start = np.datetime64("2024-01-01T00:00:00", "us")
    since = start + generator.integers(0, 400 * 86400, rows).astype("timedelta64[s]")
    gaps = generator.random((rows, 60)) < 0.1
    columns = {
        "id": [f"row-{row:04}" for row in range(rows)],
        **{f"x{n}": pa.array(numbers[:, n], mask=gaps[:, n]) for n in range(60)},
        **{f"<c{n}>": [f"https://example.org/{code}" for code in codes[:, n]] for n in range(18)},
        "since": pa.array(since, type=pa.timestamp("us", tz="UTC")),
        "note": ["late <b>again</b>" if value > 0 else "all on time" for value in numbers[:, 0]],
        "region": generator.choice(["north", "south"], size=rows),
        "churn": np.where(score > 0.5, "yes", "no"),
    }
    told = {"id": "Identifier", "since": "Datetime", "note": "Text"}
    types = {
        name: told.get(name, "Numeric" if name.startswith("x") else "Categorical")
        for name in columns
    }
    return pa.table(columns), types


def numbers_only(rows: int = 200) -> tuple[pa.Table, dict[str, str]]:
    """Return rows of two numbers and what is predicted of them."""
    first, second, noise = np.random.default_rng(8).normal(size=(3, rows))
    table = pa.table({"first": first, "second": second, "worth": first - 2 * second + noise})
    return table, dict.fromkeys(table.column_names, "Numeric")


EVERYTHING = {
    "description": "Who leaves",
    "task": {"type": "Classification", "target": "churn", "positiveLabel": "yes"},
    "search": {"trials": 3, "learners": ["LightGBM", "ExtraTrees", "Linear"]},
    "fairness": {"sensitive": ["region"], "slices": ["<c0>", "x0"]},
    "evaluation": {"calibration": "Platt"},
    "explain": {
        "partialDependence": ["x0", "<c0>", "since"],
        "lime": {"rows": 3},
        "counterfactuals": {"rows": 3},
    },
}
NOTHING = {
    "task": {"type": "Regression", "target": "worth"},
    "search": {"trials": 1, "learners": ["Linear"]},
}
ALWAYS = (
    "Defects",
    "Data",
    "Quality on the holdout",
    "Members",
    "Importance",
    "Fairness",
    "Columns that are no features",
    "Reproduction",
)


@dataclass(frozen=True)
class Made:
    """What a run wrote for people, and the sections that not every run has.

    Attributes:
        digest: Digest of the model.
        card: The card.
        page: The report.
        more: Sections of this card besides those that are always there.
        sections: The same of the report.
    """

    digest: str
    card: str
    page: str
    more: set[str]
    sections: set[str]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            (
                wide_table,
                EVERYTHING,
                {"Certainty", "Leaderboard, roc_auc out of fold", "Slices"},
                {"Certainty", "Slices", "Single rows"},
            ),
            id="all that can be asked for, of many columns",
        ),
        pytest.param(
            (numbers_only, NOTHING, {"Leaderboard, rmse out of fold"}, set()), id="the least"
        ),
    ],
)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return what a run wrote."""
    rows, spec, more, sections = request.param
    store = open_store(StoreConfig(uri=tmp_path_factory.mktemp("store").as_uri()))
    record = train(configuration(store, *rows(), spec), store)
    evidence = store.open_artifact(record.evidence.uri)
    told, shown = (evidence.read(file).decode() for file in (CARD_FILE, REPORT_FILE))
    return Made(record.artifact.digest, told, shown, more, sections)


def test_card_and_report_of_a_run_say_something_in_each_section_and_load_nothing(
    made: Made,
) -> None:
    head, *parts = re.split(r"^## ", made.card, flags=re.MULTILINE)
    assert made.digest in head
    told = {title: text for title, _, text in (part.partition("\n") for part in parts)}
    assert {*ALWAYS, *made.more} <= set(told)
    for title, text in told.items():
        assert says_something(text), title

    assert len(made.page.encode()) < MAX_BYTES
    page = Page(made.page)
    assert page.open == []
    check_loads_nothing(page, made.page)
    found = re.findall(r"<h2 id=[^>]*>(.*?)</h2>(.*?)</section>", made.page, re.DOTALL)
    usual = {"What was found", "Quality", "Candidates", "Features", "Fairness"}
    assert {title for title, _ in found} >= {*usual, "Where it comes from", *made.sections}
    for title, body in found:
        assert re.sub(r"<caption>.*?</caption>|<thead>.*?</thead>|<[^>]*>", "", body).strip(), title


def test_axe_finds_nothing_in_card_and_report_of_a_run(made: Made, axe: Axe) -> None:
    """Neither of any impact, nor anything that it leaves to a person.

    axe runs in jsdom, which draws nothing: contrast is for `test_text_and_charts_of_a_run_stand_out`.
    The card is Markdown; a viewer puts it into a page of its own, here the barest that there is.
    """
    shown = markdown.markdown(made.card, extensions=["tables"])
    viewer = f'<!DOCTYPE html><html lang="en"><title>Card</title><main>{shown}</main></html>'
    assert axe(made.page, viewer) == [[], []]


def test_text_and_charts_of_a_run_stand_out(made: Made) -> None:
    """Which axe cannot judge without a browser that draws."""
    assert pale(made.page) == {}


def says_something(section: str) -> bool:
    """Return whether a section of a card has a sentence, or a table with a row below its head."""
    lines = [line for line in section.splitlines() if line.strip()]
    rows = [line for line in lines if line.startswith("|")]
    return len(rows) > 2 or len(lines) > len(rows)
