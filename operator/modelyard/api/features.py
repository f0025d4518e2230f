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


class Transform(Model):
    """Further numbers that are made of features, besides what each learner gets by itself.

    They are fitted on the training rows of every fit that is judged, and stand in the packed model.
    """

    cel_rules = (
        Rule(
            "(self.type == 'GroupStatistics') == has(self.by)",
            "by belongs to GroupStatistics, which needs it; name the column that groups the rows",
            ".by",
        ),
        Rule(
            "!has(self.smoothing) || self.type == 'TargetEncoding'",
            "smoothing belongs to TargetEncoding; remove it",
            ".smoothing",
        ),
        Rule(
            "!has(self.bins) || self.type == 'Binning'",
            "bins belongs to Binning; remove it",
            ".bins",
        ),
    )
    type: Literal["TargetEncoding", "FrequencyEncoding", "GroupStatistics", "Binning"] = Field(
        description="TargetEncoding gives the mean of the target by category, for training rows "
        "without their own; FrequencyEncoding the share of rows with a category; "
        "GroupStatistics mean and standard deviation of a number among the rows of a category; "
        "Binning the place of a number among its quantiles."
    )
    columns: list[Column] | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Categorical features of the encodings, Numeric ones of GroupStatistics and "
        "Binning; all of them when unset.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    by: Column | None = Field(
        default=None, description="GroupStatistics: Categorical feature that groups the rows."
    )
    smoothing: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        description="TargetEncoding: the mean of all rows counts as so many rows of each "
        "category; 10 when unset.",
    )
    bins: int | None = Field(
        default=None, ge=2, le=256, description="Binning: number of quantiles; 10 when unset."
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
    transforms: list[Transform] | None = Field(
        default=None,
        min_length=1,
        max_length=20,
        description="Numbers that are made of features; none when unset.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
