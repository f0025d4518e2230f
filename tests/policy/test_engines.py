"""One corpus, two engines: the same verdicts with the same reasons.

Every case states what must come out, so regorus and OPA agree where both pass.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from modelyard.api.policy import PolicySpec
from modelyard.judge.policy_lint import COMMON_BUILTINS
from modelyard.judge.rego import compile_policy
from modelyard.judge.rego_tokens import tokens
from modelyard.ports.policy import Decision, PolicyEngine

pytestmark = pytest.mark.asyncio(loop_scope="module")


def rules(*entries: dict[str, Any]) -> PolicySpec:
    return PolicySpec.model_validate({"gates": ["deploy"], "rules": list(entries)})


def rego(*lines: str) -> PolicySpec:
    text = "\n".join(["package modelyard.policy.example", *lines])
    return PolicySpec.model_validate({"gates": ["deploy"], "rego": text})


async def decision(engine: PolicyEngine, spec: PolicySpec, gate_input: Any) -> Decision:
    return await engine.evaluate(compile_policy("example", spec), gate_input)


# Operator, threshold, values that pass, values that do not. Whatever the type, none may pass by it.
OPERATORS: list[tuple[str, Any, list[Any], list[Any]]] = [
    ("GreaterThan", 0.85, [0.8500000001, 1, 1e300], [0.85, 0.8499999999, "0.9", True, None, [1]]),
    ("GreaterOrEqual", 0.85, [0.85, 0.9, 1.0, 2], [0.8499999, 0, -0.0, "1", True, {"a": 1}, [0.9]]),
    ("GreaterOrEqual", 0, [0, 0.0, -0.0, 5e-324], [-5e-324, -1, False, "", None, []]),
    ("LessThan", 10, [9, 9.999999999, -1e300], [10, 10.0, 10.0000001, "9", False, None, {}]),
    ("LessOrEqual", 0.05, [0.05, 0.05000000000000000, 0], [0.05000000000000001, 0.06, "0", None]),
    ("LessOrEqual", 1e-05, [0.00001, 1e-7], [0.000011, 1e21, "1e-9"]),
    ("GreaterThan", "2024-01-01", ["2024-01-02", "2024-01-01a"], ["2024-01-01", "", 2025, True]),
    ("Equal", "Staging", ["Staging"], ["staging", "Staging ", 1, None, True, ["Staging"]]),
    ("Equal", "Grün ✓", ["Grün ✓"], ["Gru\u0308n ✓", "grün ✓", ""]),
    ("Equal", 1, [1, 1.0], [True, "1", 0, 1.0000001, None]),
    ("Equal", True, [True], [False, 1, "true", None]),
    ("Equal", False, [False], [True, 0, "", None]),
    ("NotEqual", "None", ["Production", ""], ["None", 1, None, False, []]),
    ("NotEqual", 0, [1, -1, 0.5], [0, 0.0, -0.0, "1", None, True]),
    ("In", ["a", "b"], ["a", "b"], ["c", "", "A", 1, None, ["a"]]),
    ("In", [1, "1", True], [1, 1.0, "1", True], [2, "2", False, None]),
    ("NotIn", ["a", "b"], ["c", "", "A"], ["a", "b", 1, None, ["c"]]),
    ("Exists", True, [0, "", False, [], {}, "x"], [None]),
    ("Exists", False, [None], [0, "", False, [], {}, "x"]),
]
OPERATOR_CASES = [
    (operator, threshold, actual, allowed)
    for operator, threshold, passing, failing in OPERATORS
    for actual, allowed in [*((v, True) for v in passing), *((v, False) for v in failing)]
]


@pytest.mark.parametrize(
    ("operator", "threshold", "actual", "allowed"),
    OPERATOR_CASES,
    ids=[f"{c[2]!r}-{c[0]}-{c[1]!r}" for c in OPERATOR_CASES],
)
async def test_a_rule_compares_values_and_never_types(
    engine: PolicyEngine, operator: str, threshold: Any, actual: Any, allowed: bool
) -> None:
    rule = {"name": "r", "path": "object.spec.x", "operator": operator, "value": threshold}
    spec = rules(rule)
    said = await decision(engine, spec, {"object": {"spec": {"x": actual}}})
    assert said.allowed is allowed
    assert len(said.reasons) == (0 if allowed else 1)
    if not allowed:
        whole = int(actual) if isinstance(actual, float) and actual.is_integer() else actual
        shown = "undefined" if actual is None else json.dumps(whole, ensure_ascii=False)
        assert said.reasons[0].startswith(f'rule "r": object.spec.x is {shown}, must ')


AUC = {
    "name": "auc",
    "path": "modelVersion.status.metrics.roc_auc",
    "operator": "GreaterOrEqual",
    "value": 0.999,
    "message": "Train longer.",
}


@pytest.mark.parametrize(
    ("rule", "gate_input", "reason"),
    [
        (
            AUC,
            {"modelVersion": {"status": {"metrics": {"roc_auc": 0.9931}}}},
            'rule "auc": modelVersion.status.metrics.roc_auc is 0.9931, must be >= 0.999. '
            "Train longer.",
        ),
        (
            AUC,
            {"modelVersion": {"status": {}}},
            'rule "auc": modelVersion.status.metrics.roc_auc is undefined, must be >= 0.999. '
            "Train longer.",
        ),
        (
            {**AUC, "message": ""},
            {"modelVersion": {"status": {"metrics": {"roc_auc": 1e-07}}}},
            'rule "auc": modelVersion.status.metrics.roc_auc is 1e-07, must be >= 0.999',
        ),
        (
            {"name": "stage", "path": "targetStage", "operator": "In", "value": ["Staging", "Ä"]},
            {"targetStage": 'Pro"duction'},
            'rule "stage": targetStage is "Pro\\"duction", must be one of ["Staging", "Ä"]',
        ),
        (
            {"name": "2-nd", "path": "object.spec.list.1", "operator": "NotIn", "value": [2, True]},
            {"object": {"spec": {"list": [1, 2]}}},
            'rule "2-nd": object.spec.list.1 is 2, must not be one of [2, true]',
        ),
        (
            {"name": "owner", "path": "object.labels.my-team", "operator": "Exists", "value": True},
            {"object": {"labels": {}}},
            'rule "owner": object.labels.my-team is undefined, must exist',
        ),
        (
            {"name": "deep", "path": "object.name.x.y", "operator": "Exists", "value": True},
            {"object": {"name": "text"}},
            'rule "deep": object.name.x.y is undefined, must exist',
        ),
        (
            {"name": "zeros", "path": "object.labels.007", "operator": "Equal", "value": "x"},
            {"object": {"labels": {"007": "y"}}},
            'rule "zeros": object.labels.007 is "y", must be == "x"',
        ),
        (
            {"name": "long", "path": "object.spec", "operator": "Equal", "value": "x"},
            {"object": {"spec": ["ab"] * 100}},
            f'rule "long": object.spec is {json.dumps(["ab"] * 100)[:199]}…, must be == "x"',
        ),
    ],
    ids=lambda value: value.get("name") if isinstance(value, dict) else None,
)
async def test_a_reason_names_rule_path_value_and_threshold(
    engine: PolicyEngine, rule: dict[str, Any], gate_input: Any, reason: str
) -> None:
    assert await decision(engine, rules(rule), gate_input) == Decision(False, (reason,))


INPUT = {
    "n": 3,
    "half": 0.5,
    "text": "Grüße, Welt",
    "words": ["b", "a", "c", "a"],
    "numbers": [3, 1, 2.5],
    "empty": [],
    "object": {"b": 1, "a": {"x": [1, 2]}},
    "null": None,
    "time": "2024-02-29T12:30:00Z",
}
# An expression and the JSON of its value; None where it is undefined.
VALUES: list[tuple[str, str | None]] = [
    ("abs(-2.5)", "2.5"),
    ("abs(input.n - 5)", "2"),
    ("ceil(2.1)", "3"),
    ("ceil(-2.1)", "-2"),
    ("floor(2.9)", "2"),
    ("floor(-2.1)", "-3"),
    ("round(2.5)", "3"),
    ("round(-0.4)", "0"),
    ("round(input.half * 3)", "2"),
    ("input.n + 0.1", "3.1"),
    ("input.n / 2", "1.5"),
    ("input.n % 2", "1"),
    ("input.n * input.half", "1.5"),
    ("7 / 7", "1"),
    ("numbers.range(1, 4)", "[1,2,3,4]"),
    ("numbers.range(3, 1)", "[3,2,1]"),
    ("count(input.words)", "4"),
    ("count({w | some w in input.words})", "3"),
    ("count(input.object)", "2"),
    ("count(input.text)", "11"),
    ("count(input.empty)", "0"),
    ("sum(input.numbers)", "6.5"),
    ("sum(input.empty)", "0"),
    ("product([2, 3])", "6"),
    ("product([])", "1"),
    ("max(input.numbers)", "3"),
    ("min(input.numbers)", "1"),
    ("max(input.empty)", None),
    ("max(input.words)", '"c"'),
    ("sort(input.words)", '["a","a","b","c"]'),
    ("sort(input.numbers)", "[1,2.5,3]"),
    ("array.concat([1], [2, 3])", "[1,2,3]"),
    ("array.reverse([1, 2, 3])", "[3,2,1]"),
    ("array.slice([1, 2, 3], 1, 3)", "[2,3]"),
    ("array.slice([1, 2, 3], 2, 1)", "[]"),
    ('concat("/", ["a", "b"])', '"a/b"'),
    ('concat(",", {"b", "a"})', '"a,b"'),
    ('contains(input.text, "üß")', "true"),
    ('contains(input.text, "grü")', "false"),
    ('contains("", "")', "true"),
    ('startswith(input.text, "Grü")', "true"),
    ('endswith(input.text, "Welt")', "true"),
    ('indexof("Grüße", "ß")', "3"),
    ('indexof("abc", "z")', "-1"),
    ("lower(input.text)", '"grüße, welt"'),
    ('upper("abc")', '"ABC"'),
    ('upper("éa")', '"ÉA"'),
    ('replace("a.b.c", ".", "-")', '"a-b-c"'),
    ('split("a,b,,c", ",")', '["a","b","","c"]'),
    ('split("", ",")', '[""]'),
    ('substring("Grüße", 2, 2)', '"üß"'),
    ('substring("abc", 1, -1)', '"bc"'),
    ('trim("xxaxx", "x")', '"a"'),
    ('trim_left("xax", "x")', '"ax"'),
    ('trim_right("xax", "x")', '"xa"'),
    ('trim_prefix("v1.2", "v")', '"1.2"'),
    ('trim_suffix("a.csv", ".csv")', '"a"'),
    ('trim_space(" a\\t\\n")', '"a"'),
    ("format_int(255, 16)", '"ff"'),
    ("format_int(-7, 2)", '"-111"'),
    ('sprintf("%d of %d", [1, input.n])', '"1 of 3"'),
    ('sprintf("%v is %v", ["x", 0.9931])', '"x is 0.9931"'),
    ('sprintf("%.2f", [2.346])', '"2.35"'),
    ('sprintf("%s|%v|%v", ["a", true, null])', '"a|true|null"'),
    ('sprintf("%v", [[1, "a"]])', '"[1, \\"a\\"]"'),
    ('sprintf("100%%", [])', '"100%"'),
    ('strings.any_prefix_match("model-a", ["x", "model-"])', "true"),
    ('strings.any_prefix_match("model-a", ["x"])', "false"),
    ('strings.any_suffix_match(["a.csv", "b"], ".csv")', "true"),
    ('strings.replace_n({"a": "1", "b": "2"}, "abc")', '"12c"'),
    ('strings.reverse("üab")', '"baü"'),
    ('regex.match("^[a-z]+-[0-9]{2}$", "abc-12")', "true"),
    ('regex.match("^[a-z]+$", "abc1")', "false"),
    ('regex.match("^\\\\p{Lu}", "Ärger")', "true"),
    ("regex.match(`^\\w+@\\w+\\.org$`, `a@b.org`)", "true"),
    ('regex.match("(?i)AUC", "auc")', "true"),
    ('regex.is_valid("[")', "false"),
    ('regex.is_valid("[a]")', "true"),
    ('regex.find_n("[0-9]+", "a1b22c333", 2)', '["1","22"]'),
    ('regex.replace("a1b2", "[0-9]", "#")', '"a#b#"'),
    ('regex.split("[,;]", "a,b;c")', '["a","b","c"]'),
    ('glob.match("*.example.org", ["."], "a.example.org")', "true"),
    ('glob.match("*.example.org", ["."], "a.b.example.org")', "false"),
    ('glob.match("team-*", [], "team-a")', "true"),
    ('object.get(input.object, "zz", "d")', '"d"'),
    ('object.get(input.object, ["a", "x", 1], 0)', "2"),
    ('object.get(input, "null", "d")', "null"),
    ("object.keys(input.object)", '["a","b"]'),
    ('object.remove(input.object, ["a"])', '{"b":1}'),
    ('object.filter(input.object, ["b"])', '{"b":1}'),
    ('object.union({"a": 1, "b": {"c": 1}}, {"b": {"d": 2}})', '{"a":1,"b":{"c":1,"d":2}}'),
    ('object.subset({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}})', "true"),
    ('json.marshal({"b": [1, null], "a": "ü"})', '"{\\"a\\":\\"ü\\",\\"b\\":[1,null]}"'),
    ('json.unmarshal("{\\"a\\": [1, 2.5]}")', '{"a":[1,2.5]}'),
    ('json.is_valid("{")', "false"),
    ('json.filter({"a": {"b": 1, "c": 2}}, ["a/b"])', '{"a":{"b":1}}'),
    ('json.remove({"a": {"b": 1, "c": 2}}, ["a/b"])', '{"a":{"c":2}}'),
    ("is_array(input.words)", "true"),
    ('is_boolean("true")', "false"),
    ("is_null(input.null)", "true"),
    ("is_number(input.half)", "true"),
    ("is_object(input.object)", "true"),
    ("is_set({1})", "true"),
    ("is_string(input.n)", "false"),
    ("is_null(input.missing)", None),
    ("type_name(input.null)", '"null"'),
    ("type_name({1})", '"set"'),
    ('to_number("2.5")', "2.5"),
    ('to_number("-3")', "-3"),
    ("to_number(true)", "1"),
    ("to_number(null)", "0"),
    ("{1, 2} & {2, 3}", "[2]"),
    ("{1, 2} | {2, 3}", "[1,2,3]"),
    ("{1, 2} - {2, 3}", "[1]"),
    ("intersection({{1, 2}, {2, 3}})", "[2]"),
    ("union({{1}, {2, 1}})", "[1,2]"),
    ("{w | some w in input.words}", '["a","b","c"]'),
    ("[w | some w in input.words; w != `a`]", '["b","c"]'),
    ("{k: v | some k, v in input.object; is_number(v)}", '{"b":1}'),
    ("[i | some i, w in input.words; w == `a`]", "[1,3]"),
    ('time.parse_rfc3339_ns("2024-01-01T00:00:00Z")', "1704067200000000000"),
    ('time.parse_rfc3339_ns("2024-01-01T01:00:00.5+01:00")', "1704067200500000000"),
    ('time.parse_duration_ns("1h30m")', "5400000000000"),
    ("time.date(time.parse_rfc3339_ns(input.time))", "[2024,2,29]"),
    ("time.clock(time.parse_rfc3339_ns(input.time))", "[12,30,0]"),
    ("time.weekday(time.parse_rfc3339_ns(input.time))", '"Thursday"'),
    ("time.add_date(time.parse_rfc3339_ns(input.time), 0, 0, 1)", "1709296200000000000"),
    ('semver.compare("1.10.0", "1.9.3")', "1"),
    ('semver.compare("1.0.0-rc1", "1.0.0")', "-1"),
    ('semver.is_valid("1.2")', "false"),
    ('base64.encode("ü")', '"w7w="'),
    ('base64.decode("w7w=")', '"ü"'),
    ('units.parse_bytes("10Mi")', "10485760"),
    ('units.parse_bytes("1.5KB")', "1500"),
    ("input.missing", None),
    ("input.object.a.x[5]", None),
    ("input.words[0]", '"b"'),
    ("input.object[`a`].x[1]", "2"),
    ("input.n == 3.0", "true"),
    ("`a` < `b`", "true"),
    ("9007199254740993 - 9007199254740992", "1"),
]


@pytest.mark.parametrize(("expression", "value"), VALUES, ids=[v[0] for v in VALUES])
async def test_an_expression_has_the_same_value_everywhere(
    engine: PolicyEngine, expression: str, value: str | None
) -> None:
    spec = rego(
        "allow if false",
        f"deny contains json.marshal(value) if value := {expression}",
    )
    said = await decision(engine, spec, INPUT)
    undefined = "`allow` is undefined for this input; undefined denies"
    assert said.reasons == (undefined if value is None else value,)


# Bodies of `allow` and whether they hold for INPUT.
CONDITIONS = [
    ("every w in input.words { count(w) == 1 }", True),
    ("every w in input.words { w == `a` }", False),
    ("every w in input.empty { w == `a` }", True),
    ("every i, w in input.words { i < 4; w != `z` }", True),
    ("every k, v in input.object { k != v }", True),
    ("some w in input.words; w == `c`", True),
    ("some w in input.words; w == `z`", False),
    ("not input.missing", True),
    ("not input.missing.deeper == 1", True),
    ("not input.n == 3", False),
    ("not input.null", False),
    ("input.null == null", True),
    ("input.missing == null", False),
    ("input.missing != 1", False),
    ("`a` in input.words", True),
    ("`z` in input.words", False),
    ("1 in {1, 2}", True),
    ("`b`, 1 in input.object", True),
    ("not 3 in {1, 2}", True),
    ("x := input.n; x > 2; x < 4", True),
    ("{1, 2} == {2, 1}", True),
    ("[1, 2] == [2, 1]", False),
    ('input.object == {"a": {"x": [1, 2]}, "b": 1}', True),
    ("input.words[_] == `c`", True),
    ("input.words[i] == input.words[j]; i < j", True),
    ("input.object[k].x[0] == 1; k == `a`", True),
    ("count([w | w := input.words[_]; w == `a`]) == 2", True),
    ("input.half > 0.4999999999999999", True),
    ("input.half + 0.25 >= 0.75", True),
    ("input.text == `Grüße, Welt`", True),
    ("input.n > `a`", False),
    ("input.text > 3", True),
    ("true", True),
    ("false", False),
    ("input.empty", True),
    ("input.object.b", True),
    ("[a, b] := [1, 2]; b == a + 1", True),
    ("some x, y in input.words; x == 0; y == `b`", True),
    (
        "t := time.parse_rfc3339_ns(input.time); t < time.parse_rfc3339_ns(`2024-03-01T00:00:00Z`)",
        True,
    ),
    ("input.words[0] == `b` with input.words as [`b`]", True),
    ("input.n == 4 with input.n as 4", True),
]


@pytest.mark.parametrize(("body", "holds"), CONDITIONS, ids=[c[0] for c in CONDITIONS])
async def test_a_condition_holds_on_both_or_on_none(
    engine: PolicyEngine, body: str, holds: bool
) -> None:
    said = await decision(engine, rego("default allow := false", f"allow if {{ {body} }}"), INPUT)
    assert said == (Decision(True) if holds else Decision(False, ("`allow` is false",)))


MODULES: list[tuple[str, list[str], Decision]] = [
    (
        "undefined allow denies",
        ["allow if input.missing"],
        Decision(False, ("`allow` is undefined for this input; undefined denies",)),
    ),
    (
        "allow must be a boolean",
        ['allow := "yes"'],
        Decision(False, ('`allow` is "yes", must be true or false',)),
    ),
    (
        "a number is no boolean",
        ["allow := 1"],
        Decision(False, ("`allow` is 1, must be true or false",)),
    ),
    ("deny beats allow", ["allow := true", 'deny contains "no"'], Decision(False, ("no",))),
    (
        "an empty deny lets allow pass",
        ["allow := true", 'deny contains "no" if input.missing'],
        Decision(True),
    ),
    (
        "reasons are sorted and told once",
        ["default allow := false", 'deny contains "b"', 'deny contains "ä"', 'deny contains "a"'],
        Decision(False, ("a", "b", "ä")),
    ),
    (
        "ten reasons at most",
        ["allow := true", 'deny contains sprintf("%d", [n]) if some n in numbers.range(10, 21)'],
        Decision(False, (*map(str, range(10, 19)), "and 3 more")),
    ),
    (
        "exactly ten reasons are all told",
        ["allow := true", 'deny contains sprintf("%d", [n]) if some n in numbers.range(10, 19)'],
        Decision(False, tuple(map(str, range(10, 20)))),
    ),
    (
        "an object as reason is told as JSON",
        ["allow := true", 'deny contains {"code": 7, "why": ["x"]}'],
        Decision(False, ('{"code": 7, "why": ["x"]}',)),
    ),
    (
        "deny must be a set",
        ["allow := true", 'deny := "no"'],
        Decision(False, ('`deny` is "no", must be a set of reasons',)),
    ),
    ("import rego.v1 is fine", ["import rego.v1", "allow if input.n == 3"], Decision(True)),
    (
        "parts of input can be imported",
        ["import input.object as o", "allow if o.b == 1"],
        Decision(True),
    ),
    (
        "functions with several clauses",
        ["f(x) := `low` if x < 2", "f(x) := `high` if x >= 2", "allow if f(input.n) == `high`"],
        Decision(True),
    ),
    (
        "else",
        [
            "level := 1 if input.missing",
            "else := 2 if input.n == 3",
            "else := 3",
            "allow if level == 2",
        ],
        Decision(True),
    ),
    (
        "partial objects",
        ["size[k] := count(k) if some k, _ in input.object", 'allow if size == {"a": 1, "b": 1}'],
        Decision(True),
    ),
    (
        "rules over several lines with comments",
        ["# deny nothing", "allow if {", "\t# three", "\tinput.n == 3 # yes", "}"],
        Decision(True),
    ),
    (
        "default functions",
        ["default f(_) := 7", "f(x) := 1 if x == 9", "allow if f(2) == 7"],
        Decision(True),
    ),
]


@pytest.mark.parametrize(
    ("lines", "expected"), [m[1:] for m in MODULES], ids=[m[0] for m in MODULES]
)
async def test_a_module_decides_the_same_everywhere(
    engine: PolicyEngine, lines: list[str], expected: Decision
) -> None:
    assert await decision(engine, rego(*lines), INPUT) == expected


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["allow if input.n / (input.n - 3) > 1"], 2),
        (["", "allow if {", "\tto_number(input.text) > 1", "}"], 4),
        (["allow := true", "deny contains `x` if count(input.n) > 1"], 3),
        (["allow := 1 if input.n == 3", "allow := 2 if input.half == 0.5"], 3),
        (["allow if lower(input.n) == `3`"], 2),
        (["allow if allow"], 2),
    ],
    ids=["division by zero", "no number", "wrong type", "conflict", "wrong argument", "recursion"],
)
async def test_what_fails_to_evaluate_denies_and_names_the_line(
    engine: PolicyEngine, lines: list[str], line: int
) -> None:
    said = await decision(engine, rego(*lines), INPUT)
    assert not said.allowed
    assert [r.partition(" failed:")[0] for r in said.reasons] == [f"spec.rego:{line}: evaluation"]


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["allow if { input.n > }"], (2, 22)),
        (["", "allow if y > 1"], (3, 10)),
        (["allow { true }"], (2, 7)),
    ],
    ids=["syntax", "unsafe variable", "syntax of Rego v0"],
)
async def test_what_does_not_compile_is_reported_with_line_and_column(
    engine: PolicyEngine, lines: list[str], place: tuple[int, int]
) -> None:
    findings = await engine.check(compile_policy("example", rego(*lines)))
    assert [(f.field, f.line) for f in findings] == [("spec.rego", place[0])]
    assert findings[0].column > 0
    assert findings[0].message


async def test_what_compiles_has_no_findings(engine: PolicyEngine) -> None:
    assert await engine.check(compile_policy("example", rules(AUC))) == ()


async def test_versions_of_a_policy_do_not_mix(engine: PolicyEngine) -> None:
    strict, lax = rules({**AUC, "value": 0.99}), rules({**AUC, "value": 0.5})
    gate_input = {"modelVersion": {"status": {"metrics": {"roc_auc": 0.9}}}}
    said = [(await decision(engine, spec, gate_input)).allowed for spec in (strict, lax, strict)]
    assert said == [False, True, False]


async def test_the_corpus_is_large_and_uses_every_common_builtin() -> None:
    texts = [v[0] for v in VALUES] + [c[0] for c in CONDITIONS]
    used = {token.text for text in texts for token in tokens(text) if token.kind == "name"}
    assert COMMON_BUILTINS - used == set()
    assert len(OPERATOR_CASES) + len(VALUES) + len(CONDITIONS) + len(MODULES) >= 200
