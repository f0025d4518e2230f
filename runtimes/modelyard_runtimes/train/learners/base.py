"""What a family of models offers to a trial and to the refit of the winner."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Literal

import numpy as np

from modelyard_runtimes.model.format import EncoderDocument, Votes
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.encoding import EncodingOptions
from modelyard_runtimes.train.task import Goal, Rows

MAX_DEPTH = 32
"""Depth of trees. SHAP values of deeper ones lose their additivity to rounding: measured on 256
words, off by 1e-10 at depth 32 and by 1 at depth 73."""

Value = float | int | str
Parameters = Mapping[str, Value]
"""Hyperparameters of one candidate by name, without its learner."""


@dataclass(frozen=True)
class Encoded:
    """Encoded rows to fit or validate on.

    Attributes:
        columns: Rows x columns.
        target: Position of the class, or the value, of each row.
        weights: Weight of each row.
    """

    columns: Floats
    target: Floats
    weights: Floats

    def take(self, rows: Rows) -> Encoded:
        """Return some of the rows."""
        return Encoded(self.columns[rows], self.target[rows], self.weights[rows])


@dataclass(frozen=True)
class Packed:
    """What a packed model keeps of a fitted one.

    Attributes:
        type: Type of the member.
        content: The member's file.
        link: What becomes of the values of a regression.
        votes: How neighbours vote; None for all others.
    """

    type: Literal["Trees", "Linear", "MLP", "Neighbors"]
    content: bytes
    link: Literal["Identity", "Square"] = "Identity"
    votes: Votes | None = None


@dataclass(frozen=True)
class FitRequest:
    """What an estimator is fitted on, and how.

    Attributes:
        goal: What is predicted.
        encoder: How the columns were made.
        rows: Training rows.
        parameters: Hyperparameters.
        seed: Seed of everything random.
        valid: Rows to measure the loss on after each iteration, to find how many are best.
        iterations: Exact number of iterations, where the learner has some; the most, where `valid`
            is set.
        seconds: Time after which no further iteration begins; None for any.
        changes: Hyperparameters by the iteration from which on they have other values.
    """

    goal: Goal
    encoder: EncoderDocument
    rows: Encoded
    parameters: Parameters
    seed: int
    valid: Encoded | None = None
    iterations: int | None = None
    seconds: float | None = None
    changes: Mapping[int, Parameters] = field(default_factory=dict)

    def deadline(self) -> float:
        """Return when no further iteration begins, by `time.monotonic`, if the fit begins now."""
        return math.inf if self.seconds is None else time.monotonic() + self.seconds


def best_iterations(losses: Sequence[float]) -> int:
    """Return after how many iterations the loss was least, the first of equals."""
    return int(np.argmin(losses)) + 1


class Fitted(ABC):
    """A fitted estimator. Where there are rows to validate on, it is the one of the least loss.

    Attributes:
        losses: Loss on the rows to validate on after each iteration; empty where there are none.
        parity: Greatest difference between packed and fitted predictions, relative to the greatest
            of them.
    """

    losses: tuple[float, ...] = ()
    parity: float = 1e-9

    def best_iterations(self) -> int:
        """Return after how many iterations the loss on the rows to validate on was least."""
        return best_iterations(self.losses)

    @abstractmethod
    def predict(self, columns: Floats) -> Floats:
        """Return predictions, rows x outputs."""

    @abstractmethod
    def pack(self) -> Packed:
        """Return what a packed model keeps."""


class Learner(ABC):
    """A family of models.

    Attributes:
        iterative: Whether a fit is a number of iterations, of which there may be too many.
        training: Module that a fit imports, where libraries come with it that nothing else needs.
        changing: Hyperparameters that may change during a fit.
        generation: Iterations between two changes.
    """

    iterative: bool = False
    training: str = ""
    changing: tuple[str, ...] = ()
    generation: int = 0

    def load(self) -> None:
        """Import what only a process that fits such a model needs, which may take seconds."""
        if self.training:
            import_module(self.training)

    @abstractmethod
    def encoding(self, parameters: Parameters) -> EncodingOptions:
        """Return how the columns are to be encoded."""

    @abstractmethod
    def fit(self, request: FitRequest) -> Fitted:
        """Fit one estimator."""
