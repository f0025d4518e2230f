"""Rows through a packed model: single ones without arrays, where those take longer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelyard_runtimes.model.errors import NotFinite
from modelyard_runtimes.model.packed import Packed
from modelyard_runtimes.model.single import SingleRow

if TYPE_CHECKING:
    from modelyard_runtimes.model.predictor import Model

Columns = Mapping[str, Sequence[Any]]
Rows = Sequence[Sequence[Any]]


class RowPredictor:
    """A packed model that several threads may use.

    Attributes:
        document: What the model says of itself.
        names: Names of its features, in order.
        single: What predicts single rows without arrays; None where the model needs them.
    """

    def __init__(self, packed: Packed) -> None:
        """Open the model; where single rows need no arrays, those are left for the first that do.

        Raises:
            ModelError: the files do not fit the document.
        """
        self._packed = packed
        self.document = packed.document
        self.names = tuple(feature.name for feature in self.document.features)
        self.single = SingleRow(packed) if SingleRow.is_known(self.document) else None
        if self.single is None:
            self.model  # noqa: B018 - opens it

    @cached_property
    def model(self) -> Model:
        """The model with its arrays."""
        from modelyard_runtimes.model import Model  # noqa: PLC0415 - NumPy is slow to import

        return Model(*self._packed)

    def values(self, rows: Rows) -> list[Any]:
        """Return the probabilities of each row, or one value a row for regression.

        Args:
            rows: Rows, each with the values of all features in order.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
            NotFinite: a prediction is no finite number.
        """
        if len(rows) == 1 and self.single is not None:
            found = self.single.predict(rows[0])
            if found is not None:
                return [found] if self.document.classes else found
        return self.values_of(self.by_column(rows))

    def values_of(self, columns: Columns) -> list[Any]:
        """Return the same of rows given by column.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
            NotFinite: a prediction is no finite number.
        """
        import numpy as np  # noqa: PLC0415 - the model has loaded it

        predicted = self.model.predict(columns)
        if not np.isfinite(predicted).all():
            raise NotFinite
        values: list[Any] = predicted.tolist()
        return values

    def by_column(self, rows: Rows) -> Columns:
        """Return the values of rows by column."""
        return dict(zip(self.names, zip(*rows, strict=True), strict=True))
