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


class FeaturePair(Model):
    """Two features that become one column, or one for each of several classes."""

    cel_rules = (
        Rule(
            "self.left != self.right",
            "a feature has no interaction with itself; name another",
            ".right",
        ),
    )
    left: Column = Field(description="The one feature.")
    right: Column = Field(description="The other feature, of the same type.")
    operation: Literal["Sum", "Difference", "Product", "Ratio", "Cross"] = Field(
        description="Sum, Difference, Product and Ratio are of Numeric features, and missing where "
        "one is or the result is not finite; Cross is of Categorical ones: the mean of the target "
        "by both, as TargetEncoding gives it by one."
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
            "(self.type == 'Interactions') == has(self.pairs)",
            "pairs belongs to Interactions, which needs it; name pairs of features",
            ".pairs",
        ),
        Rule(
            "!has(self.columns) || self.type != 'Interactions'",
            "Interactions are made of pairs; remove columns",
            ".columns",
        ),
        Rule(
            "!has(self.buckets) || self.type == 'HashEncoding'",
            "buckets belongs to HashEncoding; remove it",
            ".buckets",
        ),
        Rule(
            "!has(self.smoothing) || self.type in ['TargetEncoding', 'Interactions']",
            "smoothing belongs to TargetEncoding and Interactions; remove it",
            ".smoothing",
        ),
        Rule(
            "!has(self.bins) || self.type == 'Binning'",
            "bins belongs to Binning; remove it",
            ".bins",
        ),
    )
    type: Literal[
        "TargetEncoding",
        "FrequencyEncoding",
        "HashEncoding",
        "GroupStatistics",
        "Binning",
        "Interactions",
    ] = Field(
        description="TargetEncoding gives the mean of the target by category, for training rows "
        "without their own; FrequencyEncoding the share of rows with a category; HashEncoding "
        "1 or -1 in the bucket that a category's name falls into; GroupStatistics mean and "
        "standard deviation of a number among the rows of a category; Binning the place of a "
        "number among its quantiles; Interactions what pairs of features make together."
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
        description="TargetEncoding and Interactions: the mean of all rows counts as so many rows "
        "of each category; 10 when unset.",
    )
    buckets: int | None = Field(
        default=None,
        ge=2,
        le=256,
        description="HashEncoding: number of columns of each feature; 8 when unset.",
    )
    pairs: list[FeaturePair] | None = Field(
        default=None,
        min_length=1,
        max_length=50,
        description="Interactions: the pairs of features.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
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
