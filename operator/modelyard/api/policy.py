"""Policy: what must hold at a gate, as rules or as Rego."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from modelyard.api.meta import Digest, Model, Name, Rule, Status, Text, named_list

Gate = Literal["dataset", "train", "promote", "deploy"]
GATES: tuple[Gate, ...] = ("dataset", "train", "promote", "deploy")
Environment = Literal["development", "staging", "production"]

_ANY: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}


class PolicyRule(Model):
    """One comparison; all rules of a Policy must hold.

    A value that is missing holds under no operator but Exists with false.
    """

    name: Name = Field(description="Name of the rule, given in the reason when it does not hold.")
    path: str = Field(
        max_length=512,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_-]+)*$",
        description="Path in the gate's input, for example modelVersion.status.metrics.roc_auc.",
    )
    operator: Literal[
        "GreaterThan",
        "GreaterOrEqual",
        "LessThan",
        "LessOrEqual",
        "Equal",
        "NotEqual",
        "In",
        "NotIn",
        "Exists",
    ] = Field(description="How the value at the path is compared.")
    value: Any = Field(
        description="What it is compared with: a number, text, boolean, a list for In and NotIn, "
        "or true or false for Exists.",
        json_schema_extra=_ANY,
    )
    message: Text = Field(default="", description="Added to the reason: what to do about it.")


class Match(Model):
    """Which objects a Policy judges; empty means all."""

    environments: list[Environment] = Field(
        default=[],
        max_length=3,
        description="Environments of the Project; all when empty.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    labels: dict[str, str] = Field(
        default={},
        description="Labels the gated object must have; any when empty.",
        json_schema_extra={"maxProperties": 20},
    )
    stages: list[Literal["Staging", "Production", "Archived"]] = Field(
        default=[],
        max_length=3,
        description="promote: target stages that are judged; all when empty.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class PolicyTest(Model):
    """A test of the Policy itself; a Policy whose tests fail denies everything it judges."""

    name: Name = Field(description="Name of the test.")
    input: dict[str, Any] = Field(description="Input of the gate.", json_schema_extra=_ANY)
    allow: bool = Field(description="Whether the Policy must allow it.")


class PolicySpec(Model):
    """Desired state of a Policy."""

    cel_rules = (
        Rule(
            "has(self.rego) != (has(self.rules) && self.rules.size() > 0)",
            "set exactly one of rules and rego",
        ),
    )
    description: Text = Field(default="", description="What the Policy is for, in a sentence.")
    gates: list[Gate] = Field(
        min_length=1,
        max_length=4,
        description="Gates at which the Policy is asked.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    match: Match = Field(default=Match(), description="Which objects it judges.")
    rules: list[PolicyRule] = Field(
        default=[],
        max_length=50,
        description="Comparisons that must all hold; compiled to Rego.",
        json_schema_extra=named_list(),
    )
    rego: str | None = Field(
        default=None,
        min_length=1,
        max_length=65536,
        description="A Rego v1 module with `allow` and, for reasons, the set `deny`. "
        "Undefined denies.",
    )
    enforcement: Literal["Deny", "Warn"] = Field(
        default="Deny", description="Deny closes the gate; Warn only reports."
    )
    tests: list[PolicyTest] = Field(
        default=[],
        max_length=200,
        description="Tests of the Policy, run before it takes effect.",
        json_schema_extra=named_list(),
    )


class PolicyStatus(Status):
    """Observed state of a Policy."""

    digest: Digest | None = Field(default=None, description="Digest of the Rego that is evaluated.")
    tests_passed: int | None = Field(default=None, ge=0, description="Number of tests that passed.")
    tests_total: int | None = Field(default=None, ge=0, description="Number of tests.")
