"""Policies as Rego modules: from a spec to the module, from an engine's answer to a decision.

Undefined denies. `deny` beats `allow`. Every text that reaches a person is made here and not by
an engine, so that OPA and regorus give the same verdicts with the same reasons.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.api.identity import canonical_json, digest
from modelyard.api.policy import PolicySpec
from modelyard.judge.policy_lint import Finding, lint
from modelyard.judge.policy_rules import rules_body
from modelyard.judge.rego_tokens import tokens

MAX_REASONS = 10
"""Most reasons of a decision; the last one then counts what was left out."""
_MAX_REASON = 1024
_MAX_VALUE = 200
_RULE_REASON = {"rule", "path", "must", "message", "actual"}


@dataclass(frozen=True)
class RegoModule:
    """A Policy as an engine takes it."""

    package: str
    """Dotted package path, of its own for every digest: `modelyard.policy.<name>_<hex>`."""
    source: str
    """Text of the module; lines are those of `spec.rego`."""
    digest: str
    """Digest of the text as its author wrote it, or as the rules compile to."""


@dataclass(frozen=True)
class Decision:
    """What a Policy says: whether the object may pass, and if not, why."""

    allowed: bool
    reasons: tuple[str, ...] = ()
    """Sorted, at most ten; empty when allowed."""


class PolicyInvalid(Exception):
    """A Policy cannot be compiled; nothing it judges may pass."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("; ".join(str(finding) for finding in self.findings))


def rego_source(name: str, spec: PolicySpec) -> str:
    """Return the Rego of a Policy: `spec.rego` itself, or what `spec.rules` compile to.

    Raises:
        PolicyInvalid: a rule compares with something that cannot be compared.
    """
    if spec.rego is not None:
        return spec.rego
    try:
        body = rules_body(spec.rules)
    except ValueError as error:
        field, _, message = str(error).partition(": ")
        raise PolicyInvalid([Finding(field, 0, 0, message)]) from None
    head = f"# Compiled from the rules of Policy {name}: change those, not this.\n"
    return f"{head}package {_package(name)}\n\n{body}"


def compile_policy(name: str, spec: PolicySpec) -> RegoModule:
    """Return the module that engines evaluate for a Policy.

    The package line of `spec.rego` may say anything: it is replaced by the module's own package.

    Args:
        name: Name of the Policy.
        spec: Its spec, with exactly one of rules and rego.

    Raises:
        PolicyInvalid: with what `lint` found, or a rule that cannot be compared.
    """
    source = rego_source(name, spec)
    if spec.rego is not None and (findings := lint(source)):
        raise PolicyInvalid(findings)
    source_digest = digest(source.encode())
    package = f"{_package(name)}_{source_digest.removeprefix('sha256:')[:12]}"
    return RegoModule(package, _with_package(source, package), source_digest)


def spec_digest(spec: PolicySpec) -> str:
    """Return what stands for a Policy's digest in verdicts when it does not compile."""
    return digest(canonical_json(spec.to_json()))


def _package(name: str) -> str:
    sanitised = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return f"modelyard.policy.{sanitised if sanitised[:1].isalpha() else f'p_{sanitised}'}"


def _with_package(source: str, package: str) -> str:
    _, written = list(tokens(source))[:2]
    return source[: written.start] + package + source[written.start + len(written.text) :]


def engine_input(document: Any) -> Any:
    """Return an input in the one form that both engines read alike.

    Whole floats become integers (OPA tells 1.0 from 1 in texts), NaN and infinities become null,
    which no rule accepts.
    """
    if isinstance(document, Mapping):
        return {str(key): engine_input(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [engine_input(value) for value in document]
    if isinstance(document, float):
        if not math.isfinite(document):
            return None
        return int(document) if document.is_integer() else document
    return document


def decide(document: Any) -> Decision:
    """Return the decision in an engine's answer.

    Args:
        document: Value of the module's package: an object with `allow` and, if defined, `deny`;
            None when it is undefined.
    """
    document = document if isinstance(document, Mapping) else {}
    reasons = _deny_reasons(document.get("deny", []))
    allow = document.get("allow")
    if not reasons and allow is not True:
        reasons = [_why_not_allowed(allow)]
    return Decision(not reasons, bounded(reasons))


def failed_evaluation(line: int, message: str) -> Decision:
    """Return the denial for a module that an engine could not evaluate.

    Args:
        line: Line of the module; 0 when the engine names none.
        message: The engine's own words.
    """
    place = f"spec.rego:{line}" if line else "spec.rego"
    return Decision(allowed=False, reasons=bounded([f"{place}: evaluation failed: {message}"]))


def bounded(reasons: Iterable[str]) -> tuple[str, ...]:
    """Return reasons sorted, without duplicates, cut to what a status may hold."""
    unique = sorted({_cut(reason, _MAX_REASON) for reason in reasons})
    if len(unique) <= MAX_REASONS:
        return tuple(unique)
    kept = unique[: MAX_REASONS - 1]
    return (*kept, f"and {len(unique) - len(kept)} more")


def _why_not_allowed(allow: Any) -> str:
    if allow is None:
        return "`allow` is undefined for this input; undefined denies"
    if allow is False:
        return "`allow` is false"
    return f"`allow` is {_json(allow)}, must be true or false"


def _deny_reasons(deny: Any) -> list[str]:
    if not isinstance(deny, list):
        return [f"`deny` is {_json(deny)}, must be a set of reasons"]
    return [_reason(element) for element in deny]


def _reason(element: Any) -> str:
    if isinstance(element, str):
        return element
    if isinstance(element, dict) and set(element) == _RULE_REASON:
        actual = element["actual"]
        found = "undefined" if actual is None else _json(actual)
        text = f'rule "{element["rule"]}": {element["path"]} is {found}, must {element["must"]}'
        return f"{text}. {element['message']}" if element["message"] else text
    return _json(element)


def _json(value: Any) -> str:
    text = json.dumps(engine_input(value), ensure_ascii=False, sort_keys=True)
    return _cut(text, _MAX_VALUE)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
