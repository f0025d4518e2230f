"""The smoke test of a Deployment: what a model must answer before it gets requests."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from modelyard.api.meta import Model, Name, Rule, named_list


class Expectation(Model):
    """What a model must answer to one instance."""

    cel_rules = (
        Rule(
            "!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
            "minimum must not exceed maximum; swap them",
            ".minimum",
        ),
        Rule(
            "self.status == 200 || (!has(self.label) && !has(self.minimum) && !has(self.maximum))",
            "a refused instance gets no prediction; remove label, minimum and maximum, or status",
            ".status",
        ),
    )
    status: Literal[200, 400] = Field(
        default=200,
        description="HTTP status of the answer: 200 with a prediction, 400 where the instance "
        "must be refused.",
    )
    label: str | None = Field(
        default=None,
        max_length=256,
        description="Classification: the predicted class, as a text, for example '1'.",
    )
    minimum: float | None = Field(
        default=None,
        description="Smallest predicted value; of a classification, smallest probability of the "
        "predicted class.",
    )
    maximum: float | None = Field(
        default=None, description="Largest predicted value or probability, as with minimum."
    )


class SmokeCheck(Model):
    """One instance that a model server must answer before it gets requests."""

    name: Name = Field(description="Name of the check, given when it fails.")
    instance: dict[str, Any] = Field(
        description="Value by feature, as in a request. It stands in git: write no personal data.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True, "maxProperties": 1000},
    )
    expect: Expectation = Field(
        default=Expectation(), description="What it must answer; any prediction when unset."
    )


class SmokeTest(Model):
    """What every model server answers, inside the server and unlogged, before it gets requests."""

    checks: list[SmokeCheck] = Field(
        min_length=1,
        max_length=20,
        description="Instances with what is expected of them; all must hold.",
        json_schema_extra=named_list(),
    )
