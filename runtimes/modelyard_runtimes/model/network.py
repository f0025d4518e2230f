"""Evaluates a multilayer perceptron, with NumPy alone."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from modelyard_runtimes.model.arrays import read_array
from modelyard_runtimes.model.errors import ModelError
from modelyard_runtimes.model.schema import Floats


class Network:
    """Layers of linear combinations, all but the first of `max(x, 0)`, and residual blocks.

    Or the mean of several such networks of one architecture.

    Attributes:
        outputs: Numbers that a row gets: 1, or the number of classes.
    """

    def __init__(self, content: bytes, columns: int) -> None:
        """Read the layers.

        Args:
            content: Arrays in the .npy format, one after the other, first layer first. That of a
                layer has for each network a row for each of its inputs and the intercepts last, and
                a column for each output. One of four dimensions is a residual block: for each
                network both its combinations, each such an array, as wide as the layer before.
                Neither the first nor the last array is one. A single network may leave the first
                dimension out.
            columns: Number of columns that rows have.

        Raises:
            ModelError: the content is not that.
        """
        arrays = _read(content)
        if arrays[0].ndim < 3:
            arrays = [array[np.newaxis] for array in arrays]
        members = arrays[0].shape[0]
        if not members or any(array.shape[:1] != (members,) for array in arrays):
            raise ModelError("its arrays are not of one number of networks")
        self._steps = _Mean([_network(one, columns) for one in zip(*arrays, strict=True)])
        self.outputs = arrays[-1].shape[-1]

    def raw(self, rows: Floats) -> Floats:
        """Return rows x `outputs`, before any link function."""
        return self._steps.values(rows)

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
        whole = np.broadcast_to(np.eye(self.outputs), (len(rows), self.outputs, self.outputs))
        multipliers = self._steps.multipliers(whole, rows, reference)
        values = multipliers * (rows - reference)[:, None, :]
        base = self.raw(reference)[:, :, None]
        expected = np.broadcast_to(base, (len(rows), self.outputs, 1))
        return np.concatenate([values, expected], axis=2)


class _Step(ABC):
    """A part of a network: what it makes of its inputs, and how a difference goes through it."""

    @abstractmethod
    def values(self, inputs: Floats) -> Floats:
        """Return rows x outputs."""

    @abstractmethod
    def multipliers(self, after: Floats, inputs: Floats, bases: Floats) -> Floats:
        """Return by how much the network's outputs change with each input, between both rows.

        Args:
            after: That for each output of this part, rows x outputs of the network x outputs.
            inputs: Inputs of this part for the rows.
            bases: Those for the reference.
        """


class _Combination(_Step):
    """Linear combinations."""

    def __init__(self, array: Floats, width: int) -> None:
        if array.ndim != 2 or len(array) != width + 1:
            raise ModelError(f"a layer of shape {array.shape} cannot follow {width} columns")
        self._coefficients, self._intercepts = array[:-1], array[-1]

    def values(self, inputs: Floats) -> Floats:
        combined: Floats = inputs @ self._coefficients + self._intercepts
        return combined

    def multipliers(self, after: Floats, inputs: Floats, bases: Floats) -> Floats:
        del inputs, bases
        return after @ self._coefficients.T


class _Rectifier(_Step):
    """`max(x, 0)`; a difference is scaled by its mean slope between both inputs."""

    def values(self, inputs: Floats) -> Floats:
        return np.maximum(inputs, 0.0)

    def multipliers(self, after: Floats, inputs: Floats, bases: Floats) -> Floats:
        difference = inputs - bases
        same = difference == 0
        change = self.values(inputs) - self.values(bases)
        slope = np.where(same, inputs > 0, change / np.where(same, 1.0, difference))
        scaled: Floats = after * slope[:, None, :]
        return scaled


class _Chain(_Step):
    """Steps one after the other."""

    def __init__(self, steps: Sequence[_Step]) -> None:
        self._steps = steps

    def values(self, inputs: Floats) -> Floats:
        for step in self._steps:
            inputs = step.values(inputs)
        return inputs

    def multipliers(self, after: Floats, inputs: Floats, bases: Floats) -> Floats:
        met: list[tuple[_Step, Floats, Floats]] = []
        for step in self._steps:
            met.append((step, inputs, bases))
            inputs, bases = step.values(inputs), step.values(bases)
        for step, own, base in reversed(met):
            after = step.multipliers(after, own, base)
        return after


class _Block(_Step):
    """A residual block: what it makes of its inputs is added to them.

    A difference goes both ways, so the multipliers of both add up, and so do the contributions.
    """

    def __init__(self, array: Floats, width: int) -> None:
        if array.shape != (2, width + 1, width):
            raise ModelError(f"a block of shape {array.shape} cannot follow a layer of {width}")
        inner, outer = array
        self._steps = _Chain([_Combination(inner, width), _Rectifier(), _Combination(outer, width)])

    def values(self, inputs: Floats) -> Floats:
        return inputs + self._steps.values(inputs)

    def multipliers(self, after: Floats, inputs: Floats, bases: Floats) -> Floats:
        return after + self._steps.multipliers(after, inputs, bases)


class _Mean(_Step):
    """The mean of what several networks make of the same inputs."""

    def __init__(self, networks: Sequence[_Step]) -> None:
        self._networks = networks

    def values(self, inputs: Floats) -> Floats:
        return _mean([network.values(inputs) for network in self._networks])

    def multipliers(self, after: Floats, inputs: Floats, bases: Floats) -> Floats:
        return _mean([network.multipliers(after, inputs, bases) for network in self._networks])


def _mean(arrays: Sequence[Floats]) -> Floats:
    total: Floats = sum(arrays[1:], arrays[0])
    return total / len(arrays)


def _network(arrays: Sequence[Floats], columns: int) -> _Chain:
    """Return the steps of one network: a layer has two dimensions, a block has three."""
    first, *others = arrays
    if 3 in (first.ndim, arrays[-1].ndim):
        raise ModelError("a residual block cannot be the first or the last of a network")
    steps: list[_Step] = [_Combination(first, columns)]
    width = first.shape[1]
    for array in others:
        if array.ndim == 3:
            steps.append(_Block(array, width))
            continue
        steps += [_Rectifier(), _Combination(array, width)]
        width = array.shape[1]
    return _Chain(steps)


def _read(content: bytes) -> list[Floats]:
    stream = io.BytesIO(content)
    layers: list[Floats] = []
    while stream.tell() < len(content):
        layers.append(read_array(stream))
    if not layers:
        raise ModelError("it holds no layers")
    return layers
