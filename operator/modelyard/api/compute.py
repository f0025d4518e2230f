"""What pods ask for: quantities, requests and limits, shared by the kinds that run something."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from modelyard.api.meta import Model, Rule

QUANTITY_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"


def _as_text(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if whole else value


Quantity = Annotated[
    str,
    Field(
        pattern=QUANTITY_PATTERN,
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "minimum": 0,
            "maximum": 10**12 - 1,
        },
    ),
    BeforeValidator(_as_text),
]
"""A Kubernetes quantity such as `4`, `500m` or `16Gi`; a whole number may stand without quotes."""


class Amounts(Model):
    """An amount of each resource."""

    cpu: Quantity | None = Field(default=None, description='Processors, for example 2 or "500m".')
    memory: Quantity | None = Field(default=None, description='Bytes, for example "4Gi".')
    gpu: int | None = Field(
        default=None, ge=0, le=1024, description="Whole GPUs, the resource nvidia.com/gpu."
    )


def _within_limit(name: str) -> Rule:
    fields = f"self.requests.{name}", f"self.limits.{name}"
    asked, most = (f"quantity(string({field}))" for field in fields)
    return Rule(
        f"!has({fields[0]}) || !has({fields[1]}) || {asked}.compareTo({most}) <= 0",
        f"requests.{name} is more than limits.{name}; lower the one or raise the other",
        f".requests.{name}",
    )


class Resources(Model):
    """What each pod of a run asks for, and the most that it gets."""

    cel_rules = (
        _within_limit("cpu"),
        _within_limit("memory"),
        Rule(
            "!has(self.requests.gpu) || !has(self.limits.gpu) || "
            "self.requests.gpu == self.limits.gpu",
            "Kubernetes shares no GPU: requests.gpu and limits.gpu must be equal; set one of them",
            ".requests.gpu",
        ),
    )
    requests: Amounts = Field(
        default=Amounts(), description="What a node must have free for each pod."
    )
    limits: Amounts = Field(
        default=Amounts(),
        description="The most that each pod gets; what is not requested is requested as limited.",
    )

    def requested(self) -> Amounts:
        """Return what each pod asks for: what is only limited is requested as Kubernetes does."""
        return Amounts.model_validate(
            {**self.limits.model_dump(), **self.requests.model_dump(exclude_none=True)}
        )
