"""Loads a packed model and predicts with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.calibration import calibrated
from modelyard_runtimes.model.encoder import Encoder
from modelyard_runtimes.model.errors import ModelError
from modelyard_runtimes.model.format import (
    ConformalDocument,
    Label,
    MemberDocument,
    ModelDocument,
)
from modelyard_runtimes.model.members import Member, open_member
from modelyard_runtimes.model.packed import parse, read
from modelyard_runtimes.model.schema import Floats, Inputs, InputSchema
from modelyard_runtimes.model.second_level import combined


class Model:
    """A packed model.

    Attributes:
        document: All that `model.json` says: task, classes, features, privacy.
        schema: The typed inputs.
        encoders: The transforms, shared by the members that were fitted alike.
        members: The models of the ensemble, in the order of `document.members`.
    """

    def __init__(self, document: ModelDocument, files: Mapping[str, bytes]) -> None:
        """Open the members.

        Args:
            document: The content of `model.json`.
            files: Content of the members' files by path.

        Raises:
            ModelError: a file does not fit the document.
        """
        self.document = document
        self.schema = InputSchema(document.features)
        self.encoders = [Encoder(encoder) for encoder in document.encoders]
        self.members = [self._open(member, files) for member in document.members]

    @property
    def classes(self) -> list[Label]:
        """Classes in the order of the probabilities; none for regression."""
        return self.document.classes

    def predict(self, columns: Mapping[str, Sequence[Any]] | Any) -> Floats:
        """Return probabilities, rows x classes, or for regression one value a row.

        Args:
            columns: Values by column, or a pyarrow.Table. None and NaN mean missing.

        Raises:
            ValidationError: a column or value does not fit the schema; it names the field.
        """
        return self.predict_inputs(self.schema.validate(columns))

    def predict_inputs(self, inputs: Inputs) -> Floats:
        """Return the predictions of rows that `schema.validate` returned."""
        return self._shaped(calibrated(self.document.calibration, self.outputs(inputs)))

    def outputs(self, inputs: Inputs) -> Floats:
        """Return what the members together predict, rows x outputs, before any calibration."""
        encoded, documents = self.encoded(inputs), self.document.members
        return combined(
            self.document.second_level,
            [document.weight for document in documents],
            [
                member.predict(encoded[document.encoder])
                for member, document in zip(self.members, documents, strict=True)
            ],
        )

    def encoded(self, inputs: Inputs) -> list[Floats]:
        """Return the rows as each of the encoders makes them."""
        return [encoder.transform(inputs) for encoder in self.encoders]

    def compile_trees(self) -> dict[str, str]:
        """Evaluate many rows at once by compiled code from now on; the answers stay the same.

        Returns:
            How each member of trees is evaluated, by its file: `compiled`, or by LightGBM and why.
        """
        files = (document.file for document in self.document.members)
        compiled = zip(files, (member.compile() for member in self.members), strict=True)
        return {file: how for file, how in compiled if how is not None}

    def labels(self, predictions: Floats) -> list[Label]:
        """Return the class of each row of probabilities; the value itself for regression.

        Two classes: the positive one from the threshold on. More: the most probable, the first of
        equals.
        """
        if self.document.task == "Regression":
            values: list[Label] = predictions.tolist()
            return values
        return [self.classes[position] for position in self.chosen(predictions)]

    def chosen(self, probabilities: Floats) -> npt.NDArray[np.intp]:
        """Return the position of each row's class, as `ModelDocument.chosen` does."""
        if len(self.classes) == 2:
            positive: npt.NDArray[np.bool_] = probabilities[:, 1] >= self.document.threshold
            return positive.astype(np.intp)
        most_probable: npt.NDArray[np.intp] = probabilities.argmax(axis=1)
        return most_probable

    def interval(self, predictions: Floats) -> tuple[Floats, Floats]:
        """Return the lower and upper ends of a regression's predictions, as `conformal` does.

        Raises:
            ModelError: it was trained without intervals.
        """
        radius = self._conformal().radius
        return predictions - radius, predictions + radius

    def plausible(self, probabilities: Floats) -> list[list[Label]]:
        """Return the classes that each row may have, in the order of the probabilities.

        Raises:
            ModelError: it was trained without sets of classes.
        """
        inside = self.are_plausible(probabilities)
        return [[self.classes[position] for position in np.flatnonzero(row)] for row in inside]

    def are_plausible(self, probabilities: Floats) -> npt.NDArray[np.bool_]:
        """Return whether each row may have each class, as `conformal` does for one row.

        Raises:
            ModelError: it was trained without sets of classes.
        """
        inside: npt.NDArray[np.bool_] = probabilities >= 1.0 - self._conformal().radius
        inside[np.arange(len(inside)), self.chosen(probabilities)] = True
        return inside

    def _conformal(self) -> ConformalDocument:
        if self.document.conformal is None:
            raise ModelError("the model has no intervals; declare spec.evaluation.intervals")
        return self.document.conformal

    def _shaped(self, outputs: Floats) -> Floats:
        if self.document.task == "Regression":
            return outputs[:, 0]
        if outputs.shape[1] == 1:
            return np.concatenate([1.0 - outputs, outputs], axis=1)
        return outputs

    def _open(self, document: MemberDocument, files: Mapping[str, bytes]) -> Member:
        width = self.encoders[document.encoder].width
        return open_member(document, files[document.file], width, self.document.task)


def load_files(files: Mapping[str, bytes]) -> Model:
    """Return the packed model in files given by path.

    Raises:
        ModelError: they are none that this version can read.
    """
    return Model(*parse(files))


def load(path: Path) -> Model:
    """Return the packed model in a folder.

    Raises:
        ModelError: it holds none that this version can read.
        OSError: a file cannot be read.
    """
    return Model(*read(path))
