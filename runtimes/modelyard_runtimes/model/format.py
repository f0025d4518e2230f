"""The form of `model.json`, media type modelyard/model.v1.

    model.json            a ModelDocument as canonical JSON
    members/<n>.txt       trees: a LightGBM model text, header and trees only
    members/<n>.npy       linear: coefficients, a row for each column, the last the intercept;
                          networks: such an array for each layer, one after the other; a residual
                          block is two of them in one array of three dimensions;
                          neighbours: a line for each stored training row: its encoded columns, its
                          outputs (share of the positive class, three and more classes: of each; or
                          the value), and the weight of its vote

Nothing in it depends on the clock, the host or a path: equal training gives equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from modelyard.api.meta import Model
from modelyard.api.privacy import PrivacyAction
from pydantic import Field

Label = bool | int | float | str
"""A class of the target, in the type it has in the data."""

FeatureType = Literal["Numeric", "Boolean", "Ordinal", "Categorical", "Datetime", "Text"]


class FeatureSchema(Model):
    """One input of the model."""

    name: str = Field(description="Name of the column.")
    type: FeatureType = Field(description="Type a value must have.")
    required: bool = Field(
        description="Whether the column must be given: it never lacked a value in training."
    )
    nullable: Literal[True] = Field(
        default=True, description="A single value may be missing; it is imputed."
    )
    categories: list[str] = Field(
        default=[],
        description="Known categories, sorted; of an Ordinal feature the lowest first.",
    )
    unknown_category: Literal["Other", "Missing"] = Field(
        default="Other",
        description="An unknown category counts as the rare ones do, or, of an Ordinal feature, as "
        "missing.",
    )


class Interaction(Model):
    """Two number columns as one, which trees split obliquely; missing where either is."""

    kind: Literal["Sum", "Ratio"] = Field(
        description="Sum is `left * weights[0] + right * weights[1]`, Ratio `left / right`, "
        "missing where that is not finite."
    )
    left: int = Field(ge=0, description="Number column.")
    right: int = Field(ge=0, description="Number column.")
    weights: tuple[float, float] = Field(default=(1.0, 1.0), description="Weights of a sum.")


class NumericEncoding(Model):
    """Numbers: `(fill_missing(x) - mean) / scale`, indicators of missing, hinges, interactions.

    A hinge of knot k is `max(x - k, 0)` of the scaled number; a few make a linear model piecewise
    linear. Interactions are of the scaled numbers too. `fill`, `mean`, `scale` and `knots` are as
    long as there are number columns.
    """

    fill: list[float | None] = Field(description="Replaces a missing number; None lets it be.")
    mean: list[float] = Field(description="Subtracted.")
    scale: list[float] = Field(description="Divided by.")
    indicators: list[int] = Field(default=[], description="Columns whose absence is a feature.")
    knots: list[list[float]] = Field(default=[], description="Knots of the hinges by column.")
    interactions: list[Interaction] = Field(default=[], description="Pairs of number columns.")


class CategoricalEncoding(Model):
    """Categories: each code of the schema becomes a level, rare ones share one.

    `levels[j][code]` is the level of a code in column j; the last two codes are other and missing.
    """

    style: Literal["Ordinal", "OneHot"] = Field(
        description="Ordinal gives the level as a number, OneHot a 0/1 column for each level."
    )
    levels: list[list[int]] = Field(description="Level by column and code.")


class TextEncoding(Model):
    """Words: presence times inverse document frequency, each row scaled to length 1."""

    words: list[str] = Field(description="The vocabulary.")
    idf: list[float] = Field(description="Inverse document frequency of each word.")


class InputSelection(Model):
    """Columns of the validated inputs that a member sees, by position, ascending."""

    numbers: list[int]
    codes: list[int]
    texts: list[int]


class CategoryNumbers(Model):
    """A number for each code of a category column; the last two codes are other and missing."""

    kind: Literal["CategoryNumbers"] = "CategoryNumbers"
    code: int = Field(ge=0, description="Category column.")
    values: list[float] = Field(description="Number by code.")


class Bins(Model):
    """The number of edges that are not above a number; missing where that is."""

    kind: Literal["Bins"] = "Bins"
    number: int = Field(ge=0, description="Number column.")
    edges: list[float] = Field(description="Rising.")


class NumberPair(Model):
    """What two numbers make; missing where one is, or where that is not finite."""

    kind: Literal["NumberPair"] = "NumberPair"
    left: int = Field(ge=0, description="Number column.")
    right: int = Field(ge=0, description="Number column.")
    operation: Literal["Sum", "Difference", "Product", "Ratio"]


class CategoryPairNumbers(Model):
    """A number for each pair of codes of two category columns."""

    kind: Literal["CategoryPairNumbers"] = "CategoryPairNumbers"
    left: int = Field(ge=0, description="Category column.")
    right: int = Field(ge=0, description="Category column.")
    values: list[list[float]] = Field(description="Number by left and by right code.")


Derived = Annotated[
    CategoryNumbers | Bins | NumberPair | CategoryPairNumbers, Field(discriminator="kind")
]
"""A number that is made of the validated inputs."""


class EncoderDocument(Model):
    """Turns validated inputs into the columns that a member was fitted on.

    The columns that `selection` names are encoded by `numeric`, `categorical` and `texts`; behind
    its numbers stand those that `derived` makes.
    """

    selection: InputSelection | None = Field(
        default=None, description="What is seen of the inputs; None for all."
    )
    derived: list[Derived] = Field(default=[], description="Further columns of numbers.")
    numeric: NumericEncoding
    categorical: CategoricalEncoding
    texts: list[TextEncoding] = Field(default=[], description="One for each Text feature.")
    center: list[float] = Field(
        default=[],
        description="Mean of each column over the rows it was fitted on, against which members "
        "that are no trees are explained.",
    )


class Votes(Model):
    """How the stored rows nearest to a row predict it: by the weighted mean of their outputs."""

    neighbors: int = Field(ge=1, description="How many vote; all where fewer are stored.")
    weighting: Literal["Uniform", "Distance"] = Field(
        description="Uniform counts a vote by the weight of its row, Distance by that over the "
        "distance; rows at distance 0 decide alone."
    )


def _is_unset(votes: Votes | None) -> bool:
    return votes is None


class MemberDocument(Model):
    """One model of the ensemble."""

    type: Literal["Trees", "Linear", "MLP", "Neighbors"]
    learner: str = Field(description="Family of models.")
    trial: int = Field(ge=0, description="Number of the trial that found it.")
    weight: float = Field(
        gt=0, description="Weight in the mean, where all sum to 1, or at the second level."
    )
    encoder: int = Field(ge=0, description="Position in `encoders`.")
    link: Literal["Identity", "Square"] = Field(
        default="Identity",
        description="Regression: a value is predicted as it is, or as its square, 0 where it is "
        "negative.",
    )
    votes: Votes | None = Field(
        default=None,
        exclude_if=_is_unset,  # models without neighbours have the bytes they had before
        description="Neighbours: how they vote; left out for all others.",
    )
    file: str = Field(description="Path of its file.")


LEAST_STACKED = 1e-4
"""At the second level a member's probabilities are kept this far off 0, so that one that is all too
sure, as trees of single rows are, does not decide alone."""


class SecondLevel(Model):
    """What combines the outputs of the members in place of their mean.

    Logit: of two classes `1 / (1 + exp(-z))` with `z = intercept + sum(weight * log(p / (1 - p)))`
    over the members, of more the softmax of `z = intercept + sum(weight * log(p))` of each class.
    Identity, for values: `intercept + sum(weight * value)`.
    """

    scale: Literal["Logit", "Identity"]
    intercepts: list[float] = Field(description="By output.")


LEAST = 1e-12
"""Probabilities are kept this far off 0 and 1, where a logit has no value."""


class CalibrationCurve(Model):
    """What a predicted probability becomes. One of both forms.

    Platt: `1 / (1 + exp(-(slope * log(p / (1 - p)) + intercept)))`. Isotonic: straight lines
    between `inputs` and `values`, and the first and last value beyond them.
    """

    slope: float | None = Field(default=None, gt=0)
    intercept: float = 0.0
    inputs: list[float] = Field(default=[], description="Rising predicted probabilities.")
    values: list[float] = Field(default=[], description="What each becomes; never falling.")


class ConformalDocument(Model):
    """Which values, or classes, are plausible for a row (Vovk et al., 2005)."""

    coverage: float = Field(description="Share of new rows whose true value is to lie inside.")
    radius: float = Field(
        ge=0,
        description="Regression: distance from the prediction. Classes: those whose probability "
        "is at least 1 minus this are plausible, and the predicted one always.",
    )

    def interval(self, value: float) -> tuple[float, float]:
        """Return the lower and the upper end for a predicted value."""
        return value - self.radius, value + self.radius

    def plausible(self, probabilities: Sequence[float], chosen: int) -> list[bool]:
        """Return whether a row may have each class, by the probabilities of all.

        Args:
            probabilities: Those of the row.
            chosen: Position of its predicted class; a threshold may choose a less probable one.
        """
        least = 1.0 - self.radius
        return [
            place == chosen or probability >= least
            for place, probability in enumerate(probabilities)
        ]


class ModelDocument(Model):
    """All of a packed model but the members' files."""

    format: Literal["modelyard/model.v1"] = "modelyard/model.v1"
    task: Literal["Classification", "Regression"]
    target: str = Field(description="Name of the predicted column.")
    classes: list[Label] = Field(
        default=[], description="Classes in the order of the probabilities; none for regression."
    )
    positive_label: Label | None = Field(
        default=None, description="Two classes: the positive one, which is the second."
    )
    threshold: float = Field(
        default=0.5, description="Two classes: positive from this probability on."
    )
    calibration: list[CalibrationCurve] = Field(
        default=[],
        description="A curve for the positive class's probability, or for each of three and more, "
        "which are then scaled to sum to 1; none when predictions stay as they are.",
    )
    conformal: ConformalDocument | None = Field(
        default=None, description="How sure a prediction is; None when that was not asked for."
    )
    features: list[FeatureSchema] = Field(description="Inputs, in order.")
    encoders: list[EncoderDocument]
    members: list[MemberDocument] = Field(min_length=1)
    second_level: SecondLevel | None = Field(
        default=None, description="Combines the members; None for their weighted mean."
    )
    privacy: dict[str, PrivacyAction] = Field(
        default={}, description="Privacy action by column, for payload logs."
    )
    never_logged: list[str] = Field(
        default=[], description="Columns with personal data and no declared action."
    )

    def chosen(self, probabilities: Sequence[Sequence[float]]) -> list[int]:
        """Return the position of each row's class."""
        if len(self.classes) == 2:
            threshold = self.threshold
            return [int(positive >= threshold) for _, positive in probabilities]
        return [row.index(max(row)) for row in probabilities]


def category_text(value: Any) -> str:
    """Return the text of a category that is given in another type: true, 3, 2.5, 1e-05.

    Whole floats are texts as integers are, as long as each integer is a float of its own.
    """
    kind = getattr(getattr(value, "dtype", None), "kind", "")  # of a NumPy scalar
    if isinstance(value, bool) or kind == "b":
        return "true" if value else "false"
    if isinstance(value, float) or kind == "f":
        number = float(value)
        if number.is_integer() and abs(number) < 2**53:
            return str(int(number))
        return repr(float(str(value)))  # of fewer bits, as short as tells it from its neighbours
    return str(value)
