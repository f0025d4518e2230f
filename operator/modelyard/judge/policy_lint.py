"""Finds what a Policy's Rego must not do, before any engine sees it.

Policies give the same verdict on OPA and on regorus. So only built-ins may be used that the
parity tests cover, and nothing that looks at the network, the clock, chance or data outside the
gate's input.

Two differences remain that no reading of the text can find. OPA adds and multiplies decimals where
regorus does so in binary (0.1 + 0.2 > 0.3 holds only on regorus), so thresholds belong beside the
value, not into sums. And sprintf writes numbers below 0.0001 and from 1e21 differently.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from modelyard.judge.rego_tokens import Token, tokens

COMMON_BUILTINS = frozenset(
    [
        "abs",
        "array.concat",
        "array.reverse",
        "array.slice",
        "base64.decode",
        "base64.encode",
        "ceil",
        "concat",
        "contains",
        "count",
        "endswith",
        "floor",
        "format_int",
        "glob.match",
        "indexof",
        "intersection",
        "is_array",
        "is_boolean",
        "is_null",
        "is_number",
        "is_object",
        "is_set",
        "is_string",
        "json.filter",
        "json.is_valid",
        "json.marshal",
        "json.remove",
        "json.unmarshal",
        "lower",
        "max",
        "min",
        "numbers.range",
        "object.filter",
        "object.get",
        "object.keys",
        "object.remove",
        "object.subset",
        "object.union",
        "product",
        "regex.find_n",
        "regex.is_valid",
        "regex.match",
        "regex.replace",
        "regex.split",
        "replace",
        "round",
        "semver.compare",
        "semver.is_valid",
        "sort",
        "split",
        "sprintf",
        "startswith",
        "strings.any_prefix_match",
        "strings.any_suffix_match",
        "strings.replace_n",
        "strings.reverse",
        "substring",
        "sum",
        "time.add_date",
        "time.clock",
        "time.date",
        "time.parse_duration_ns",
        "time.parse_rfc3339_ns",
        "time.weekday",
        "to_number",
        "trim",
        "trim_left",
        "trim_prefix",
        "trim_right",
        "trim_space",
        "trim_suffix",
        "type_name",
        "union",
        "units.parse_bytes",
        "upper",
    ]
)
"""Built-ins that give the same answers on OPA and regorus; the parity tests use each of them."""

_KEYWORDS = frozenset(
    ["as", "default", "else", "every", "if", "import", "in", "not", "package", "some", "with"]
)
_SPRINTF_FORMAT = re.compile(r"(?:[^%]|%%|%[vsd]|%\.\d+f)*")
_REMEDIES = {
    "http.": "a Policy cannot call out; put what it needs into the gated object's labels or spec",
    "net.": "a Policy cannot call out; put what it needs into the gated object's labels or spec",
    "time.now_ns": "verdicts must not depend on the clock; compare times that are in the input",
    "rand.": "verdicts must not depend on chance",
    "uuid.": "verdicts must not depend on chance",
    "opa.": "verdicts must not depend on the engine",
    "print": "reasons belong into `deny`",
    "trace": "reasons belong into `deny`",
}


class Finding(NamedTuple):
    """A fault of a Policy: where, and what to do."""

    field: str
    """Path of the field, for example `spec.rego`."""
    line: int
    """Line within the field's text, from 1; 0 when the fault has no place."""
    column: int
    """Column, from 1; 0 when the fault has no place."""
    message: str

    def __str__(self) -> str:
        place = f":{self.line}:{self.column}" if self.line else ""
        return f"{self.field}{place}: {self.message}"


def lint(source: str) -> list[Finding]:
    """Return the faults of a Rego module of `spec.rego` that need no engine to be found.

    Syntax is the engine's to judge (`PolicyEngine.check`).
    """
    found = list(tokens(source))
    findings = [
        *_missing_parts(found),
        *_imports(found),
        *_references(found),
        *_calls(found),
        *_formats(found),
    ]
    return sorted(findings, key=lambda finding: (finding.line, finding.column))


def _at(token: Token, message: str) -> Finding:
    return Finding("spec.rego", token.line, token.column, message)


def _missing_parts(found: list[Token]) -> list[Finding]:
    missing = []
    if not found or found[0].text != "package":
        message = "the module has no package; begin with `package modelyard.policy.<name>`"
        missing.append(Finding("spec.rego", 1, 1, message))
    if not any(_is_head(found, index) and t.text == "allow" for index, t in enumerate(found)):
        message = "the module has no rule `allow`; add `allow if count(deny) == 0` or another"
        missing.append(Finding("spec.rego", 1, 1, message))
    return missing


def _is_head(found: list[Token], index: int) -> bool:
    """Whether the token begins a rule: outside of brackets, first on its line or after default."""
    token, before = found[index], found[index - 1] if index else None
    if token.kind != "name" or token.depth:
        return False
    return before is None or before.line < token.line or before.text == "default"


def _imports(found: list[Token]) -> list[Finding]:
    findings = []
    for before, token in pairwise(found):
        if before.text != "import" or before.depth:
            continue
        root = token.text.split(".")[0]
        if token.text != "rego.v1" and root not in {"input", "data"}:
            message = f"import of {token.text} is not supported; import rego.v1 or a part of input"
            findings.append(_at(token, message))
    return findings


def _references(found: list[Token]) -> list[Finding]:
    findings = []
    for index, token in enumerate(found):
        after_dot = index > 0 and found[index - 1].text == "."
        if token.kind == "template":
            findings.append(_at(token, "template strings are not supported; use sprintf"))
        in_package = index > 0 and found[index - 1].text == "package"
        is_data = token.kind == "name" and token.text.split(".")[0] == "data"
        if is_data and not after_dot and not in_package:
            message = "a Policy has no data documents; write constants into the module"
            findings.append(_at(token, message))
    return findings


def _calls(found: list[Token]) -> list[Finding]:
    functions = {
        token.text
        for index, token in enumerate(found)
        if _is_head(found, index) and "." not in token.text
    }
    known = functions | COMMON_BUILTINS | _KEYWORDS
    called = [
        token
        for token, after in pairwise(found)
        if token.kind == "name" and after.text == "(" and token.text not in known
    ]
    return [_at(token, _refusal(token.text)) for token in called]


def _formats(found: list[Token]) -> list[Finding]:
    findings = []
    for name, bracket, text in zip(found, found[1:], found[2:], strict=False):
        if name.text != "sprintf" or bracket.text != "(":
            continue
        if text.kind != "string" or not _SPRINTF_FORMAT.fullmatch(text.text):
            message = "sprintf needs a literal format with no other verbs than %v, %s, %d and %.2f"
            findings.append(_at(text, message))
    return findings


def _refusal(name: str) -> str:
    remedies = (text for prefix, text in _REMEDIES.items() if name.startswith(prefix))
    remedy = next(remedies, "use the built-ins of the Policy reference")
    return f"the function {name} is not available to Policies; {remedy}"
