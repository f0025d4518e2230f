"""What is declared about features, in positions of columns: all that a fit needs to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from modelyard.api.meta import Model

from modelyard_runtimes.model.format import InputSelection
from modelyard_runtimes.model.schema import InputSchema


class Step(Model):
    """A declared transform.

    Attributes:
        type: Its type.
        columns: Columns of numbers, or of categories, that it is made of; both of a pair.
        by: Column of categories that groups the rows, where it has one.
        size: Its smoothing, or number of bins.
        buckets: Of a hash encoding, for each column what each known category gets: a column of
            `size` by position, and 1 or -1.
    """

    type: str
    columns: tuple[int, ...]
    by: int | None = None
    size: float = 0.0
    buckets: tuple[tuple[tuple[int, int], ...], ...] = ()


class FeaturePlan(Model):
    """Which features a fit sees, and what is made of them.

    Attributes:
        number_features: Feature of each column of numbers.
        code_features: Feature of each column of categories.
        text_features: Feature of each column of texts.
        kept: Features that each fit sees, ascending, and last those of the fit on all rows; None
            where every fit sees all.
        steps: The declared transforms.
    """

    number_features: tuple[int, ...] = ()
    code_features: tuple[int, ...] = ()
    text_features: tuple[int, ...] = ()
    kept: tuple[tuple[int, ...], ...] | None = None
    steps: tuple[Step, ...] = ()

    @classmethod
    def of(cls, schema: InputSchema, steps: tuple[Step, ...] = ()) -> Self:
        """Return the plan by which every fit sees all features."""
        return cls(
            number_features=tuple(schema.number_features),
            code_features=tuple(schema.code_features),
            text_features=tuple(schema.text_features),
            steps=steps,
        )

    def selection(self, fit: int) -> InputSelection | None:
        """Return what a fit sees, by its number."""
        if self.kept is None:
            return None
        seen = set(self.kept[fit])

        def places(features: Sequence[int]) -> list[int]:
            return [place for place, feature in enumerate(features) if feature in seen]

        return InputSelection(
            numbers=places(self.number_features),
            codes=places(self.code_features),
            texts=places(self.text_features),
        )
