"""The network that PyTorch fits: its architecture, where it begins, what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch  # type: ignore[import-not-found,unused-ignore]

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.learners.base import Parameters

NARROWEST = 8
"""Least width of a layer, however often it is halved."""

Drop = Callable[[torch.Tensor], torch.Tensor]
"""Returns the values of a hidden layer with some of them dropped."""

Pair = tuple[torch.Tensor, torch.Tensor]
"""Of each member the coefficients (members x inputs x outputs) and intercepts (members x 1 x
outputs) of one linear combination."""


@dataclass(frozen=True)
class TorchNetwork:
    """Members of one architecture, each with a first layer, residual blocks and further layers.

    `max(x, 0)` goes before each of these. Members differ in where they begin, learn apart from each
    other, and their outputs are averaged: Lakshminarayanan et al., "Simple and Scalable Predictive
    Uncertainty Estimation using Deep Ensembles", 2017.

    A block is `x + max(x A + a, 0) B + b`. Nothing but the sum is on the way of `x`, neither
    before nor after it, so that gradients reach the first layer whole: He et al., "Identity
    Mappings in Deep Residual Networks", 2016. That is also the block that Gorishniy et al.,
    "Revisiting Deep Learning Models for Tabular Data", 2021, found best for tables, less its batch
    normalisation: columns are scaled already, and blocks begin as the identity.

    Attributes:
        tensors: Coefficients and intercepts in turn: of the first layer, of both combinations of
            each block, of the further layers.
        blocks: Number of blocks.
    """

    tensors: Sequence[torch.Tensor]
    blocks: int

    @classmethod
    def first(
        cls, columns: int, outputs: int, parameters: Parameters, generator: np.random.Generator
    ) -> TorchNetwork:
        """Return what training begins with.

        Coefficients have variance `2 / inputs` and intercepts are 0: He et al., "Delving Deep into
        Rectifiers", 2015. The second combination of a block is 0, as in Zhang et al., "Fixup
        Initialization", 2019: without normalisation each block would else double the variance.
        """
        # Trials that were recorded before there were blocks or members do not name them.
        blocks, members = int(parameters.get("blocks", 0)), int(parameters.get("members", 1))
        generators = generator.spawn(members)
        sizes = pairwise([columns, *hidden_widths(parameters), outputs])
        inputs, width = next(sizes)
        pairs = [_drawn(inputs, width, generators)]
        for _ in range(blocks):
            pairs += [_drawn(width, width, generators), _zeros(members, width)]
        pairs += [_drawn(*size, generators) for size in sizes]
        return cls([tensor.requires_grad_() for pair in pairs for tensor in pair], blocks)

    def outputs(self, inputs: torch.Tensor, drop: Drop) -> torch.Tensor:
        """Return members x rows x outputs, before any link function."""
        first, blocks, further = self._parts()
        values = _combined(inputs.expand(len(first[0]), -1, -1), first)
        for inner, outer in blocks:
            values = values + _combined(drop(_combined(values, inner).relu()), outer)
        for pair in further:
            values = _combined(drop(values.relu()), pair)
        return values

    def arrays(self) -> Iterator[Floats]:
        """Yield what a packed network reads: an array for each layer and for each block."""
        first, blocks, further = self._parts()
        yield _array(first)
        for inner, outer in blocks:
            yield np.stack([_array(inner), _array(outer)], axis=1)
        for pair in further:
            yield _array(pair)

    def double(self) -> TorchNetwork:
        """Return it in double precision, apart from any training."""
        return TorchNetwork([tensor.detach().double() for tensor in self.tensors], self.blocks)

    def copy(self) -> TorchNetwork:
        """Return one that further training does not change."""
        return TorchNetwork([tensor.detach().clone() for tensor in self.tensors], self.blocks)

    def _parts(self) -> tuple[Pair, list[tuple[Pair, Pair]], list[Pair]]:
        """Return the first layer, the blocks and the further layers."""
        first, *pairs = zip(self.tensors[::2], self.tensors[1::2], strict=True)
        inside, further = pairs[: 2 * self.blocks], pairs[2 * self.blocks :]
        return first, list(zip(inside[::2], inside[1::2], strict=True)), further


def hidden_widths(parameters: Parameters) -> list[int]:
    """Return the width of each hidden layer."""
    width, layers = int(parameters["width"]), range(int(parameters["layers"]))
    if parameters["shape"] == "Halving":
        return [max(width >> layer, NARROWEST) for layer in layers]
    return [width for _ in layers]


def _drawn(inputs: int, outputs: int, generators: Sequence[np.random.Generator]) -> Pair:
    size = (inputs, outputs)
    drawn = np.stack([one.normal(scale=np.sqrt(2 / inputs), size=size) for one in generators])
    return torch.from_numpy(drawn.astype(np.float32)), torch.zeros(len(drawn), 1, outputs)


def _zeros(members: int, width: int) -> Pair:
    return torch.zeros(members, width, width), torch.zeros(members, 1, width)


def _combined(values: torch.Tensor, pair: Pair) -> torch.Tensor:
    """Return members x rows x outputs of members x rows x inputs."""
    coefficients, intercepts = pair
    return torch.baddbmm(intercepts, values, coefficients)


def _array(pair: Pair) -> Floats:
    coefficients, intercepts = pair
    return np.concatenate([coefficients.numpy(), intercepts.numpy()], axis=1)
