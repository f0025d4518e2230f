"""Evaluates a multilayer perceptron, with NumPy alone."""

from __future__ import annotations

import io

import numpy as np

from modelyard_runtimes.model.errors import ModelError
from modelyard_runtimes.model.schema import Floats


class Network:
    """Layers of linear combinations; all but the last are followed by `max(x, 0)`.

    Attributes:
        outputs: Numbers that a row gets: 1, or the number of classes.
    """

    def __init__(self, content: bytes, columns: int) -> None:
        """Read the layers.

        Args:
            content: Arrays in the .npy format, one after the other, first layer first. Each has a
                row for each of its inputs and the intercepts last, and a column for each output.
            columns: Number of columns that rows have.

        Raises:
            ModelError: the content is not that.
        """
        self._layers = _read(content)
        width = columns
        for layer in self._layers:
            if layer.ndim != 2 or len(layer) != width + 1:
                raise ModelError(f"a layer of shape {layer.shape} cannot follow {width} columns")
            width = layer.shape[1]
        self.outputs = width

    def raw(self, rows: Floats) -> Floats:
        """Return rows x `outputs`, before any link function."""
        return self._sums(rows)[-1]

    def contributions(self, rows: Floats, reference: Floats) -> Floats:
        """Return how each column moves the output away from that of a reference row.

        This is Deep SHAP with one reference: DeepLIFT's rescale rule (Shrikumar et al., "Learning
        Important Features Through Propagating Activation Differences", 2017; Lundberg and Lee, "A
        Unified Approach to Interpreting Model Predictions", 2017). It adds up exactly; as shares of
        single columns the values approximate SHAP values.

        Args:
            rows: Rows to explain, rows x columns.
            reference: One row, 1 x columns.

        Returns:
            Rows x `outputs` x (columns + 1), the last the output of the reference.
        """
        sums, bases = self._sums(rows), self._sums(reference)
        multipliers: Floats = np.broadcast_to(
            self._layers[-1][:-1].T, (len(rows), *self._layers[-1][:-1].T.shape)
        )
        for layer, total, base in zip(
            self._layers[-2::-1], sums[-2::-1], bases[-2::-1], strict=True
        ):
            multipliers = (multipliers * _slope(total, base)[:, None, :]) @ layer[:-1].T
        values = multipliers * (rows - reference)[:, None, :]
        expected = np.broadcast_to(bases[-1][:, :, None], (len(rows), self.outputs, 1))
        return np.concatenate([values, expected], axis=2)

    def _sums(self, rows: Floats) -> list[Floats]:
        """Return the linear combinations of each layer."""
        found: list[Floats] = []
        values = rows
        for layer in self._layers:
            found.append(values @ layer[:-1] + layer[-1])
            values = np.maximum(found[-1], 0.0)
        return found


def _slope(total: Floats, base: Floats) -> Floats:
    """Return by how much `max(x, 0)` changes between two sums for each unit that they differ."""
    difference = total - base
    same = difference == 0
    change = np.maximum(total, 0.0) - np.maximum(base, 0.0)
    slope: Floats = np.where(same, total > 0, change / np.where(same, 1.0, difference))
    return slope


def _read(content: bytes) -> list[Floats]:
    stream = io.BytesIO(content)
    layers: list[Floats] = []
    try:
        while stream.tell() < len(content):
            layers.append(np.asarray(np.load(stream, allow_pickle=False), dtype=np.float64))
    except (ValueError, EOFError, OSError) as error:
        raise ModelError("it does not hold the arrays of a network") from error
    if not layers:
        raise ModelError("it holds no layers")
    return layers
