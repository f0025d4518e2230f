"""Compiling, linting and deciding, without an engine."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.adapters.regorus_worker import answer
from modelyard.api.policy import PolicySpec
from modelyard.judge.policy_lint import lint
from modelyard.judge.rego import PolicyInvalid, compile_policy, decide, engine_input, rego_source

HEAD = "package p\n\nallow if count(deny) == 0\n\n"


def spec(**fields: Any) -> PolicySpec:
    return PolicySpec.model_validate({"gates": ["deploy"], **fields})


AUC = {"name": "min-auc", "path": "modelVersion.status.metrics.roc_auc"}
AUC_RULE = {**AUC, "operator": "GreaterOrEqual", "value": 0.9, "message": "Add data."}


def test_rules_compile_to_rego_that_can_be_read() -> None:
    assert rego_source("minimum-auc", spec(rules=[AUC_RULE])) == (
        "# Compiled from the rules of Policy minimum-auc: change those, not this.\n"
        "package modelyard.policy.minimum_auc\n"
        "\n"
        "default allow := false\n"
        "\n"
        "allow if count(deny) == 0\n"
        "\n"
        "holds_min_auc(actual) if {\n"
        "\tis_number(actual)\n"
        "\tactual >= 0.9\n"
        "}\n"
        "\n"
        "deny contains reason if {\n"
        '\tactual := object.get(input, ["modelVersion", "status", "metrics", "roc_auc"], null)\n'
        "\tnot holds_min_auc(actual)\n"
        "\treason := {\n"
        '\t\t"rule": "min-auc",\n'
        '\t\t"path": "modelVersion.status.metrics.roc_auc",\n'
        '\t\t"must": "be >= 0.9",\n'
        '\t\t"message": "Add data.",\n'
        '\t\t"actual": actual,\n'
        "\t}\n"
        "}\n"
    )


@pytest.mark.parametrize(
    "written", ["package p", "# what for\n\npackage   a.b.c  # mine", "package modelyard.policy.x"]
)
def test_the_package_line_is_replaced_and_lines_stay_where_they_are(written: str) -> None:
    module = compile_policy("x", spec(rego=f"{written}\nallow := true\n"))
    assert module.package == f"modelyard.policy.x_{module.digest[7:19]}"
    assert f"package{' ' * (written.count('   ') * 2 + 1)}{module.package}" in module.source
    assert module.source.index("allow") > 0
    assert module.source.count("\n") == written.count("\n") + 2


def test_a_changed_text_is_another_module() -> None:
    first = compile_policy("x", spec(rego="package p\nallow := true"))
    second = compile_policy("x", spec(rego="package p\nallow := false"))
    assert first.digest != second.digest
    assert first.package != second.package


@pytest.mark.parametrize(
    ("operator", "value", "message"),
    [
        ("GreaterThan", True, "GreaterThan compares with a number or text; give one"),
        ("LessOrEqual", [1], "LessOrEqual compares with a number or text; give one"),
        ("Equal", {"a": 1}, "Equal compares with a number, text or boolean; give one"),
        ("In", "a", "In compares with a list; give at least one value"),
        ("Exists", "yes", "Exists compares with true or false; give one"),
        ("NotIn", [], "NotIn compares with a list; give at least one value"),
        ("In", [["a"]], "a list holds numbers, texts and booleans only"),
    ],
)
def test_a_rule_that_compares_nonsense_is_refused_with_its_path(
    operator: str, value: Any, message: str
) -> None:
    second = {**AUC, "name": "second", "operator": operator, "value": value}
    with pytest.raises(PolicyInvalid) as refused:
        compile_policy("x", spec(rules=[AUC_RULE, second]))
    assert str(refused.value) == f"spec.rules[1].value: {message}"


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ('x := http.send({"url": "u"})', 6, "the function http.send is not available to Policies"),
        ('x := crypto.sha256("a")', 6, "the function crypto.sha256 is not available to Policies"),
        ('x := io.jwt.decode("a")', 6, "the function io.jwt.decode is not available to Policies"),
        ("x := time.now_ns()", 6, "verdicts must not depend on the clock"),
        ('x := rand.intn("a", 2)', 6, "verdicts must not depend on chance"),
        ("x := opa.runtime()", 6, "verdicts must not depend on the engine"),
        ('x if net.cidr_contains("a", "b")', 6, "a Policy cannot call out"),
        ('x if trace("a")', 6, "reasons belong into `deny`"),
        ('x := strings.render_template("a", {})', 6, "use the built-ins of the Policy reference"),
        ("x if http.send", 0, ""),
        ("x if data.other.allow", 6, "a Policy has no data documents"),
        ('x if data["other"]', 6, "a Policy has no data documents"),
        ("import data.lib", 8, "a Policy has no data documents"),
        ("import future.keywords", 8, "import of future.keywords is not supported"),
        ('x := $"a{input.b}"', 6, "template strings are not supported; use sprintf"),
        ('x := sprintf("%5d", [1])', 14, "sprintf needs a literal format"),
        ("x := sprintf(input.format, [1])", 14, "sprintf needs a literal format"),
        ('x := [y | y := input.z[_]; foo(y, "http.send(")]', 28, "the function foo is not"),
    ],
)
def test_what_engines_do_not_share_is_refused_with_its_place(
    line: str, column: int, message: str
) -> None:
    findings = lint(f"{HEAD}{line}\n")
    if column:
        assert [(f.field, f.line, f.column) for f in findings] == [("spec.rego", 5, column)]
        assert message in findings[0].message
    else:
        assert findings == []


@pytest.mark.parametrize(
    "line",
    [
        "# http.send(1) and data.x",
        'deny contains "http.send(x)"',
        "x := `data.y\n trace(1)`",
        "f(y) := y\nx := f(1)",
        "x if not (input.a == 1)",
        "x := input.data.x",
        'x := input["a"].data',
        "import input.object as object_in_question",
        "import rego.v1",
        'x := sprintf("%v %s %d %.3f 100%%", [1, "a", 2, 0.5])',
    ],
)
def test_texts_comments_and_the_modules_own_functions_are_fine(line: str) -> None:
    assert lint(f"{HEAD}{line}\n") == []


@pytest.mark.parametrize(
    ("source", "messages"),
    [
        ("allow := true", ["the module has no package"]),
        ("package p\ndeny contains 1", ["the module has no rule `allow`"]),
        ("", ["the module has no package", "the module has no rule `allow`"]),
        ("package p\nx if {\nallow\n}", ["the module has no rule `allow`"]),
    ],
)
def test_a_module_needs_a_package_and_allow(source: str, messages: list[str]) -> None:
    found = [finding.message for finding in lint(source)]
    assert [text.split(";")[0] for text in found] == messages


def test_a_module_with_findings_does_not_compile() -> None:
    with pytest.raises(PolicyInvalid, match=r"spec\.rego:2:10: the function http\.send"):
        compile_policy("x", spec(rego="package p\nallow if http.send({})"))


@pytest.mark.parametrize("document", [None, {}, [], "x", {"deny": []}])
def test_no_answer_denies(document: Any) -> None:
    assert decide(document).reasons == ("`allow` is undefined for this input; undefined denies",)


def test_long_reasons_are_cut_to_what_a_status_holds() -> None:
    said = decide({"allow": True, "deny": ["x" * 5000]})
    assert [len(reason) for reason in said.reasons] == [1024]


def test_numbers_reach_both_engines_in_one_form() -> None:
    given = {"a": [1.0, 0.5, float("nan"), float("inf"), True, -0.0], "b": (2.0,), "c": None}
    expected = {"a": [1, 0.5, None, None, True, 0], "b": [2], "c": None}
    assert repr(engine_input(given)) == repr(expected)


def test_the_worker_answers_with_a_document_or_a_place() -> None:
    request = {"package": "p", "source": "package p\nallow := input.x > 1", "input": {"x": 2}}
    assert answer({**request, "query": "data.p"}) == {"document": {"allow": True}}
    assert answer({**request, "query": "data.q"}) == {"document": None}
    broken = {**request, "source": "package p\nallow if {", "query": "true"}
    failure = answer(broken)["failure"]
    assert (failure["line"], failure["message"]) == (2, "expecting expression")
