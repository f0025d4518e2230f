"""Every type of expectation passes good data, finds bad data, and does what onFail says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from modelyard_runtimes.entry import RunFailure

ROWS = (
    "id,age,email,plan,when,text",
    "1,20,a@x.org,basic,2020-01-01,one",
    "2,30,b@x.org,gold,2020-01-02,three",
    "3,40,c@x.org,gold,2020-01-03,seven",
    "4,,d@x.org,basic,2020-01-04,eight",
)


class Case(NamedTuple):
    """An expectation with a limit that the rows satisfy, and one that they break."""

    type: str
    good: dict[str, Any]
    bad: dict[str, Any]
    failed_rows: int
    message: str


CASES = [
    Case("NotNull", {"column": "id"}, {"column": "age"}, 1, "1 of 4 rows have no value"),
    Case("Unique", {"column": "id"}, {"column": "plan"}, 4, "4 of 4 rows repeat a value"),
    Case(
        "Range",
        {"column": "age", "min": 20, "max": 40},
        {"column": "age", "min": 25},
        1,
        r"1 of 4 rows are outside \[25, inf\]; values reach from 20 to 40",
    ),
    Case(
        "Regex",
        {"column": "email", "pattern": r"\w@x\.org"},
        {"column": "email", "pattern": r"[ab]@x\.org"},
        2,
        "2 of 4 rows do not match",
    ),
    Case(
        "OneOf",
        {"column": "plan", "values": ["basic", "gold"]},
        {"column": "plan", "values": ["gold"]},
        2,
        "2 of 4 rows have none of the 1 allowed values",
    ),
    Case(
        "Type",
        {"column": "when", "columnType": "Datetime"},
        {"column": "text", "columnType": "Numeric"},
        4,
        "4 of 4 rows are not Numeric; the column is Categorical",
    ),
    Case(
        "Type",
        {"column": "plan", "columnType": "Categorical"},
        {"column": "plan", "columnType": "Text"},
        0,
        "the column is Categorical, asked for is Text",
    ),
    Case(
        "Length",
        {"column": "text", "min": 3, "max": 5},
        {"column": "text", "max": 3},
        3,
        r"3 of 4 rows have a length outside \[-inf, 3\]",
    ),
    Case("RowCount", {"min": 4, "max": 4}, {"min": 5}, 0, r"rows is 4, limits \[5, inf\]"),
    Case("ColumnsPresent", {"columns": ["id"]}, {"columns": ["id", "z"]}, 0, "missing: z"),
    Case("PrimaryKey", {"columns": ["id"]}, {"columns": ["plan"]}, 4, "repeat or lack the key"),
    Case("PrimaryKey", {"columns": ["plan", "id"]}, {"columns": ["age"]}, 1, "1 of 4 rows"),
    Case("Freshness", {"column": "when", "maxAge": "99999d"}, {"column": "when", "maxAge": "1d"},
         0, "s old, limit 1d"),
    Case("Monotonic", {"column": "when"}, {"column": "text"}, 0,
         "2 values are less than the one before"),
    Case("MaxNullFraction", {"column": "age", "max": 0.25}, {"column": "age", "max": 0.2}, 0,
         r"missing values is 0\.25, limit 0\.2"),
    Case("Mean", {"column": "age", "min": 30, "max": 30}, {"column": "age", "max": 29}, 0,
         r"the mean is 30, limits \[-inf, 29\]"),
    Case("UniqueCount", {"column": "plan", "min": 2}, {"column": "plan", "max": 1}, 0,
         r"different values is 2, limits \[-inf, 1\]"),
    Case("Sql", {"expression": "id <> '9' AND plan IN ('basic', 'gold')"},
         {"expression": "age >= 30 OR plan = 'basic' AND age IS NOT NULL"}, 1,
         "1 of 4 rows do not satisfy"),
]  # fmt: skip


@pytest.fixture
def people(csv: Callable[..., Path]) -> Path:
    return csv(*ROWS)


def case_id(case: Case) -> str:
    return f"{case.type}-{','.join(case.good)}-{case.failed_rows}"


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_good_rows_pass(case: Case, people: Path, snapshot: Callable[..., Any]) -> None:
    record = snapshot(
        people, expectations=[{"name": "rule", "type": case.type, **case.good}]
    ).record

    (result,) = record.expectations
    assert (result.passed, result.failed_rows) == (True, 0)
    assert not record.blocked


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_bad_rows_fail_with_value_and_limit(
    case: Case, people: Path, snapshot: Callable[..., Any]
) -> None:
    privacy = {"columns": [{"name": "email", "action": "Allow"}]}
    record = snapshot(
        people, expectations=[{"name": "rule", "type": case.type, **case.bad}], privacy=privacy
    ).record

    (result,) = record.expectations
    assert (result.passed, result.failed_rows) == (False, case.failed_rows)
    assert record.blocked
    assert re.search(case.message, result.message)


def test_no_duplicate_rows_marks_copies_after_the_first(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    rule = {"name": "rule", "type": "NoDuplicateRows", "onFail": "Quarantine"}

    outcome = snapshot(csv("x,y", "1,a", "1,a", "1,a", "2,b"), expectations=[rule])

    assert outcome.record.expectations[0].failed_rows == 2
    assert sorted(outcome.table.column("x").to_pylist()) == [1, 2]


@pytest.mark.parametrize("limits", [{"min": 0.5}, {"max": 1e19}], ids=["least", "greatest"])
def test_limits_of_numbers_longer_than_those_of_floats(
    limits: dict[str, Any], snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    rule = {"name": "range", "type": "Range", "column": "n"} | limits
    path = csv("n,x", "1152921504606846977,1", "1152921504606846979,2")

    (found,) = snapshot(path, expectations=[rule]).record.expectations
    assert found.passed


def test_exactly_the_bad_rows_are_quarantined_with_reasons(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    bad = set(range(0, 1000, 100))
    path = csv("n,value", *(f"{n},{-1 if n in bad else n}" for n in range(1000)))
    rule = {"name": "not-negative", "type": "Range", "column": "value", "min": 0}

    outcome = snapshot(path, expectations=[{**rule, "onFail": "Quarantine"}])

    assert {row["values"]["n"] for row in outcome.quarantined} == bad
    assert {row["reason"] for row in outcome.quarantined} == {"not-negative"}
    assert outcome.record.quarantine.reasons == {"not-negative": 10}
    assert outcome.record.snapshot.rows == 990
    assert not outcome.record.blocked


def test_a_row_that_breaks_two_rules_is_counted_once(
    people: Path, snapshot: Callable[..., Any]
) -> None:
    rules = [
        {"name": "old", "type": "Range", "column": "age", "max": 35, "onFail": "Quarantine"},
        {"name": "gold", "type": "OneOf", "column": "plan", "values": ["basic"],
         "onFail": "Quarantine"},
    ]  # fmt: skip

    record = snapshot(people, expectations=rules).record

    assert record.quarantine.reasons == {"old": 1, "gold": 1}
    assert record.rows_read == 4 == record.snapshot.rows + record.quarantine.rows


def test_warn_reports_and_keeps_all(people: Path, snapshot: Callable[..., Any]) -> None:
    rule = {"name": "rule", "type": "NotNull", "column": "age", "onFail": "Warn"}

    record = snapshot(people, expectations=[rule]).record

    assert (record.blocked, record.snapshot.rows, record.expectations[0].passed) == (
        False, 4, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "reason", "message"),
    [
        ({"type": "NotNull", "column": "z"}, "MissingColumn", "no column z"),
        ({"type": "Range", "column": "plan", "min": 0}, "InvalidExpectation", "Numeric column"),
        ({"type": "Freshness", "column": "age", "maxAge": "1d"}, "InvalidExpectation", "Datetime"),
        ({"type": "Regex", "column": "plan", "pattern": "("}, "InvalidExpression", "RE2"),
        ({"type": "Regex", "column": "plan", "pattern": "(?=x)"}, "InvalidExpression", "RE2"),
        ({"type": "Sql", "expression": "nope > 1"}, "InvalidExpression", "nope"),
        ({"type": "Sql", "expression": "1; DROP TABLE x"}, "InvalidExpression", "SQL"),
        ({"type": "Sql", "expression": "true) FROM rows LIMIT 1; --"}, "InvalidExpression", "SQL"),
        ({"type": "Sql", "expression": "count(*) > 1"}, "InvalidExpression", "SQL|rows"),
        (
            {"type": "Sql", "expression": "(SELECT count(*) FROM read_csv('/etc/passwd')) > 0"},
            "InvalidExpression",
            "SQL",
        ),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_an_unsuitable_expectation_is_refused_by_name(
    rule: dict[str, Any],
    reason: str,
    message: str,
    people: Path,
    snapshot: Callable[..., Any],
) -> None:
    with pytest.raises(RunFailure, match=message) as caught:
        snapshot(people, expectations=[{"name": "rule", **rule}])
    assert caught.value.reason == reason
    assert "spec.expectations[name=rule]" in caught.value.message


def test_a_pathological_pattern_ends(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    rule = {"name": "rule", "type": "Regex", "column": "x", "pattern": "(a+)+$"}

    record = snapshot(csv("x,y", f"{'a' * 5000}!,1", "aaa,2"), expectations=[rule]).record

    assert record.expectations[0].failed_rows == 1


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        pytest.param(
            {"type": "Range", "column": "age", "min": 25},
            "1 of 4 rows are outside [25, inf]",
            id="the ends of a range",
        ),
        pytest.param(
            {"type": "Mean", "column": "age", "max": 29},
            "the mean is outside [-inf, 29]",
            id="a mean outside",
        ),
        pytest.param(
            {"type": "Mean", "column": "age", "max": 31},
            "the mean is within [-inf, 31]",
            id="a mean within",
        ),
        pytest.param(
            {"type": "Freshness", "column": "when", "maxAge": "1d"},
            "the newest value is older than the limit 1d",
            id="the newest of old values",
        ),
        pytest.param(
            {"type": "Freshness", "column": "when", "maxAge": "99999d"},
            "the newest value is not older than the limit 99999d",
            id="the newest of fresh values",
        ),
    ],
)
def test_values_of_hidden_columns_stay_out_of_messages(
    rule: dict[str, Any], message: str, people: Path, snapshot: Callable[..., Any]
) -> None:
    privacy = {"columns": [{"name": rule["column"], "action": "Mask"}]}

    record = snapshot(people, expectations=[{"name": "rule", **rule}], privacy=privacy).record

    assert record.expectations[0].message == message
