"""Fits multilayer perceptrons with PyTorch: on the CPU, in one thread, repeatably."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found,unused-ignore]
from torch.nn import functional  # type: ignore[import-not-found,unused-ignore]

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.learners.base import Encoded, FitRequest, Fitted, Packed, Parameters
from modelyard_runtimes.train.learners.torch_network import Drop, TorchNetwork
from modelyard_runtimes.train.task import Goal

MAX_EPOCHS = 100
PATIENCE = 10
"""Epochs without a lower validation loss after which training ends."""

STEPS = 20
SMALLEST_BATCH, LARGEST_BATCH = 16, 256
"""Rows of a step: so many that an epoch has `STEPS` steps, within these bounds."""

USUAL_WIDTH = 64
"""Width of the layers behind which the learning rate is the declared one."""

MAX_NORM = 1.0
"""Longer gradients are shortened, so that no outlier throws the coefficients off."""

TINY = 1e-6
"""Added to the length of a gradient, which may be 0."""


@dataclass(frozen=True)
class TargetScale:
    """Values of a regression are learned as `(value - mean) / deviation`; classes as they are."""

    mean: float = 0.0
    deviation: float = 1.0


class FittedMLP(Fitted):
    """A multilayer perceptron."""

    def __init__(
        self,
        goal: Goal,
        scale: TargetScale,
        network: TorchNetwork,
        losses: Sequence[float] = (),
    ) -> None:
        """Keep the network.

        Args:
            goal: What is predicted.
            scale: How the target was scaled.
            network: What was fitted.
            losses: Validation loss after each epoch.
        """
        self._goal = goal
        self._scale = scale
        self._network = network.double()
        self.losses = tuple(losses)

    def predict(self, columns: Floats) -> Floats:
        """Return probabilities or values."""
        with torch.no_grad():
            outputs = self._network.outputs(torch.from_numpy(columns), _keep).mean(dim=0)
            if self._goal.outputs > 1:
                outputs = torch.softmax(outputs, dim=1)
            elif self._goal.classes:
                outputs = torch.sigmoid(outputs)
            predicted = np.asarray(outputs.numpy(), dtype=np.float64)
        return predicted * self._scale.deviation + self._scale.mean

    def pack(self) -> Packed:
        """Return the arrays as .npy, one after the other, in the unit of the target."""
        layers = list(self._network.arrays())
        layers[-1] = layers[-1] * self._scale.deviation
        layers[-1][:, -1] += self._scale.mean
        stream = io.BytesIO()
        for layer in layers:
            np.save(stream, layer)
        return Packed("MLP", stream.getvalue())


def train(request: FitRequest) -> FittedMLP:
    """Fit with AdamW until the validation loss rests, or for exactly `request.iterations` epochs.

    All that is random comes from one generator of the request's seed.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    generator = np.random.default_rng(request.seed)
    scale = _target_scale(request)
    rows = _Rows.of(request.rows, request.goal, scale)
    columns = request.rows.columns.shape[1]
    network = TorchNetwork.first(columns, request.goal.outputs, request.parameters, generator)
    optimizer = _optimizer(network)
    values = dict(request.parameters)
    valid = _Rows.of(request.valid, request.goal, scale) if request.valid else None
    losses: list[float] = []
    best, deadline = network, request.deadline()
    for epoch in range(request.iterations or MAX_EPOCHS):
        values |= request.changes.get(epoch, {})
        drop = _set(optimizer, values, generator)
        for batch in _batches(len(rows.inputs), generator):
            optimizer.zero_grad()
            batch_rows = rows.take(batch)
            outputs = network.outputs(batch_rows.inputs, drop)
            # Members learn apart from each other: no loss depends on two of them.
            sum(batch_rows.loss(one) for one in outputs).backward()
            _shorten(network.tensors)
            optimizer.step()
        if valid is None:
            continue
        with torch.no_grad():
            losses.append(float(valid.loss(network.outputs(valid.inputs, _keep).mean(dim=0))))
            if losses[-1] == min(losses):
                best = network.copy()
        if len(losses) - int(np.argmin(losses)) > PATIENCE or time.monotonic() >= deadline:
            break
    return FittedMLP(request.goal, scale, best, losses)


@dataclass(frozen=True)
class _Rows:
    """Rows as tensors: inputs (rows x columns), target and weights, all in single precision."""

    goal: Goal
    inputs: torch.Tensor
    target: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def of(cls, rows: Encoded, goal: Goal, scale: TargetScale) -> _Rows:
        target = (rows.target - scale.mean) / scale.deviation
        arrays = (rows.columns, target, rows.weights)
        return cls(goal, *(torch.from_numpy(array.astype(np.float32)) for array in arrays))

    def take(self, rows: torch.Tensor) -> _Rows:
        return _Rows(self.goal, self.inputs[rows], self.target[rows], self.weights[rows])

    def loss(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean of the losses of rows x outputs."""
        if self.goal.outputs > 1:
            losses = functional.cross_entropy(outputs, self.target.long(), reduction="none")
        elif self.goal.classes:
            losses = functional.binary_cross_entropy_with_logits(
                outputs[:, 0], self.target, reduction="none"
            )
        else:
            distance = outputs[:, 0] - self.target
            losses = distance.abs() if self.goal.metric == "mae" else distance.square()
        return (losses * self.weights).sum() / self.weights.sum()


def _shorten(tensors: Sequence[torch.Tensor]) -> None:
    """Shorten the gradient of each member that is longer than `MAX_NORM`."""
    squares = sum(tensor.grad.square().sum(dim=(1, 2)) for tensor in tensors)
    factors = (MAX_NORM / (squares.sqrt() + TINY)).clamp(max=1.0)
    for tensor in tensors:
        tensor.grad.mul_(factors[:, None, None])


def _keep(values: torch.Tensor) -> torch.Tensor:
    return values


def _dropout(share: float, generator: np.random.Generator) -> Drop:
    """Return what drops this share of the values and scales the others up.

    Srivastava et al., "Dropout", 2014.
    """
    if share == 0:
        return _keep

    def drop(values: torch.Tensor) -> torch.Tensor:
        kept = generator.random(tuple(values.shape)) >= share
        return values * torch.from_numpy((kept / (1 - share)).astype(np.float32))

    return drop


def _target_scale(request: FitRequest) -> TargetScale:
    if request.goal.classes:
        return TargetScale()
    target = request.rows.target
    return TargetScale(float(target.mean()), float(target.std()) or 1.0)


def _optimizer(network: TorchNetwork) -> Any:
    """Return AdamW in groups, each with the factors of its learning rate and of its decay.

    Only coefficients decay, intercepts do not.

    A step moves each coefficient by about the learning rate, so what `n` of them add up to moves by
    `n` times that: behind a wide layer they step the less. Thereby one learning rate suits every
    width: Yang et al., "Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer", 2021.
    """
    first, *others = network.tensors[::2]
    groups = [
        {"params": network.tensors[1::2], "rate_factor": 1.0, "decay_factor": 0.0},
        {"params": [first], "rate_factor": 1.0, "decay_factor": 1.0},
        *(
            {
                "params": [one],
                "rate_factor": min(1.0, USUAL_WIDTH / one.shape[1]),
                "decay_factor": 1.0,
            }
            for one in others
        ),
    ]
    return torch.optim.AdamW(groups, fused=True)


def _set(optimizer: Any, values: Parameters, generator: np.random.Generator) -> Drop:
    """Have the next steps follow the values of the hyperparameters; return what drops."""
    for group in optimizer.param_groups:
        group["lr"] = float(values["learning_rate"]) * group["rate_factor"]
        group["weight_decay"] = float(values["weight_decay"]) * group["decay_factor"]
    return _dropout(float(values["dropout"]), generator)


def _batches(rows: int, generator: np.random.Generator) -> Iterator[torch.Tensor]:
    """Yield the positions of the rows of each step of an epoch, in random order."""
    size = min(max(rows // STEPS, SMALLEST_BATCH), LARGEST_BATCH)
    order = torch.from_numpy(generator.permutation(rows))
    yield from order.split(size)
