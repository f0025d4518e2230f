"""What can go wrong with a packed model."""

from __future__ import annotations


class ModelError(Exception):
    """The files are not a packed model that this version can read."""


class NotCompiled(Exception):
    """Trees that are left to LightGBM; the text says why."""


class NotFinite(ArithmeticError):
    """A model predicts NaN or infinity, for which no label or value may stand."""

    def __init__(self) -> None:
        super().__init__("the model predicts NaN or infinity for these values")


class ValidationError(ValueError):
    """An input does not fit the model's schema.

    Attributes:
        field: Name of the feature that is at fault.
        row: Position of the first row at fault, from 0; None when the whole column is.
        problem: What is wrong and what is expected; does not quote the value.
    """

    def __init__(self, field: str, problem: str, row: int | None = None) -> None:
        where = f"field {field!r}" if row is None else f"row {row}, field {field!r}"
        super().__init__(f"{where}: {problem}")
        self.field = field
        self.problem = problem
        self.row = row
