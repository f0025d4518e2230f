"""Which columns an Experiment learns from, which of them it keeps, and what is made of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.meta import Column, Model, Rule


class Selection(Model):
    """Which features are kept, found anew on the training rows of every fit that is judged."""

    cel_rules = (
        Rule(
            "has(self.maxFeatures) || self.method == 'Boruta'",
            "this method ranks features and does not say how many are good; set maxFeatures, or "
            "use Boruta",
            ".maxFeatures",
        ),
    )
    method: Literal["MutualInformation", "ChiSquared", "Importance", "Boruta"] = Field(
        description="MutualInformation and ChiSquared look at each feature alone, Importance at "
        "all in a random forest; Boruta keeps those that a forest finds more important than "
        "shuffled ones, as often as chance does not explain."
    )
    max_features: int | None = Field(
        default=None,
        ge=1,
        le=2000,
        description="Most features that are kept; Boruta keeps all that it confirms when unset.",
    )


class Features(Model):
    """Which columns may be used."""

    exclude: list[Column] = Field(
        default=[],
        max_length=1000,
        description="Columns left out, besides identifiers and the target.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    selection: Selection | None = Field(
        default=None, description="Which features are kept; all when unset."
    )
