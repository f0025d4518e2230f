"""The members of an ensemble: what each predicts from its encoded columns."""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from modelyard_runtimes.model.arrays import read_array
from modelyard_runtimes.model.errors import ModelError, NotCompiled
from modelyard_runtimes.model.forest import compiled
from modelyard_runtimes.model.format import MemberDocument
from modelyard_runtimes.model.neighbors import Neighbors
from modelyard_runtimes.model.network import Network
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.model.trees import CACHED_TREES, Trees

_CLASS_OBJECTIVES = (b"binary", b"multiclass")
"""Objectives of trees whose sum is no probability yet."""


class Member(ABC):
    """One model of the ensemble. Two classes have one output, the positive one's."""

    def compile(self) -> str | None:
        """Predict by compiled code from now on, where that can be.

        Returns:
            How it predicts from now on; None where there is nothing to compile.
        """
        return None

    @abstractmethod
    def predict(self, encoded: Floats) -> Floats:
        """Return probabilities or values, rows x outputs."""

    @abstractmethod
    def margin(self, encoded: Floats) -> Floats:
        """Return rows x outputs, before the link function: what SHAP values add up to."""

    @abstractmethod
    def linked(self, margin: Floats) -> Floats:
        """Return the probabilities or values of margins, rows x outputs."""

    @abstractmethod
    def contributions(self, encoded: Floats, background: Floats) -> Floats:
        """Return SHAP values, rows x outputs x (columns + 1), the last the expected value.

        They add up to the margin. Those of networks and neighbours are approximate column by
        column.

        Args:
            encoded: Rows to explain.
            background: Rows whose mean all members but trees are explained against.
        """


class TreeMember(Member):
    """Boosted trees with their link function, or the mean of trees that give probabilities.

    Attributes:
        trees: The trees.
    """

    def __init__(self, content: bytes, columns: int) -> None:
        self.trees = Trees(content, columns)
        self._text, self._columns = content, columns
        self._evaluate: Callable[[Floats], Floats] = self.trees.predict
        objective = re.search(rb"^objective=(\w+)", content, re.MULTILINE)
        self._linked = objective is not None and objective[1] in _CLASS_OBJECTIVES
        if self.trees.outputs > 1 and self.trees.iterations * self.trees.outputs > CACHED_TREES:
            self._evaluate = self._by_parts

    def compile(self) -> str:
        """Predict by compiled code from now on, else by LightGBM, and say why."""
        try:
            self._evaluate = compiled(self._text, self._columns, self.trees.predict)
        except NotCompiled as reason:
            return f"LightGBM: {reason}"
        return "compiled"

    def predict(self, encoded: Floats) -> Floats:
        """Return probabilities or values."""
        return self._evaluate(encoded)

    def _by_parts(self, encoded: Floats) -> Floats:
        return self.linked(self.margin(encoded))

    def margin(self, encoded: Floats) -> Floats:
        """Return the sum, or mean, of the trees."""
        return self.trees.raw(encoded)

    def linked(self, margin: Floats) -> Floats:
        """Return margins of boosted classes as probabilities, all others as they are."""
        return probabilities(margin) if self._linked else margin

    def contributions(self, encoded: Floats, background: Floats) -> Floats:
        """Return SHAP values along the paths of the trees; they need no background."""
        del background
        return self.trees.contributions(encoded)


class LinearMember(Member):
    """A linear model: identity link for regression, logistic or softmax for classes."""

    def __init__(self, document: MemberDocument, content: bytes, columns: int, task: str) -> None:
        weights = coefficients(document, content, columns)
        self._weights, self._intercept = weights[:-1], weights[-1]
        self._classification = task == "Classification"

    def predict(self, encoded: Floats) -> Floats:
        """Return probabilities or values."""
        return self.linked(self.margin(encoded))

    def margin(self, encoded: Floats) -> Floats:
        """Return the linear combination."""
        combined: Floats = encoded @ self._weights + self._intercept
        return combined

    def linked(self, margin: Floats) -> Floats:
        """Return probabilities or values of margins."""
        return probabilities(margin) if self._classification else margin

    def contributions(self, encoded: Floats, background: Floats) -> Floats:
        """Return exact SHAP values: coefficient times distance from the background's mean."""
        mean = background.mean(axis=0)
        expected = self.margin(mean[None])[0]
        values = (encoded - mean)[:, None, :] * self._weights.T[None]
        base = np.broadcast_to(expected[None, :, None], (len(encoded), len(expected), 1))
        return np.concatenate([values, base], axis=2)


class MLPMember(Member):
    """A multilayer perceptron: identity link for regression, logistic or softmax for classes."""

    def __init__(self, document: MemberDocument, content: bytes, columns: int, task: str) -> None:
        try:
            self._network = Network(content, columns)
        except ModelError as error:
            raise ModelError(f"{document.file}: {error}") from error
        self._classification = task == "Classification"

    def predict(self, encoded: Floats) -> Floats:
        """Return probabilities or values."""
        return self.linked(self.margin(encoded))

    def margin(self, encoded: Floats) -> Floats:
        """Return the last layer's linear combination."""
        return self._network.raw(encoded)

    def linked(self, margin: Floats) -> Floats:
        """Return probabilities or values of margins."""
        return probabilities(margin) if self._classification else margin

    def contributions(self, encoded: Floats, background: Floats) -> Floats:
        """Return values of Deep SHAP against the background's mean; they add up exactly."""
        return self._network.contributions(encoded, background.mean(axis=0, keepdims=True))


class NeighborsMember(Member):
    """Stored rows that vote; what they say is a probability or value, there is no link."""

    def __init__(self, document: MemberDocument, content: bytes, columns: int) -> None:
        if document.votes is None:
            raise ModelError(f"{document.file}: nothing says how its rows vote")
        try:
            self._neighbors = Neighbors(content, columns, document.votes)
        except ModelError as error:
            raise ModelError(f"{document.file}: {error}") from error

    def predict(self, encoded: Floats) -> Floats:
        """Return probabilities or values."""
        return self._neighbors.predict(encoded)

    def margin(self, encoded: Floats) -> Floats:
        """Return the prediction."""
        return self.predict(encoded)

    def linked(self, margin: Floats) -> Floats:
        """Return the margin."""
        return margin

    def contributions(self, encoded: Floats, background: Floats) -> Floats:
        """Return sampled Shapley values against the background's mean; they add up exactly."""
        return self._neighbors.contributions(encoded, background.mean(axis=0, keepdims=True))


class SquareMember(Member):
    """A member that was fitted on square roots."""

    def __init__(self, root: Member) -> None:
        self._root = root

    def compile(self) -> str | None:
        """Predict the roots by compiled code from now on, where that can be."""
        return self._root.compile()

    def predict(self, encoded: Floats) -> Floats:
        """Return values."""
        return squares(self._root.predict(encoded))

    def margin(self, encoded: Floats) -> Floats:
        """Return the roots."""
        return self._root.margin(encoded)

    def linked(self, margin: Floats) -> Floats:
        """Return the values of roots."""
        return squares(margin)

    def contributions(self, encoded: Floats, background: Floats) -> Floats:
        """Return SHAP values of the roots."""
        return self._root.contributions(encoded, background)


def coefficients(document: MemberDocument, content: bytes, columns: int) -> Floats:
    """Return the coefficients of a linear member, (columns + 1) x outputs, the intercept last.

    Raises:
        ModelError: the content does not fit.
    """
    try:
        weights = read_array(io.BytesIO(content))
    except ModelError as error:
        raise ModelError(f"{document.file}: {error}") from error
    if weights.ndim != 2 or weights.shape[0] != columns + 1:
        raise ModelError(f"{document.file}: {weights.shape} coefficients for {columns} columns")
    return weights


def squares(roots: Floats) -> Floats:
    """Return the squares; 0 for what is negative, where no value has such a root."""
    return np.square(np.maximum(roots, 0.0))


def probabilities(margin: Floats) -> Floats:
    """Return the probability of the positive class, or of each of three and more classes."""
    return logistic(margin) if margin.shape[1] == 1 else softmax(margin)


def logistic(margin: Floats) -> Floats:
    """Return 1 / (1 + exp(-margin)), without overflow."""
    bounded = np.exp(-np.abs(margin))
    return np.where(margin >= 0, 1.0, bounded) / (1.0 + bounded)


def softmax(margin: Floats) -> Floats:
    """Return exp(margin) over its sum in each row, without overflow."""
    exponentials = np.exp(margin - margin.max(axis=1, keepdims=True))
    shares: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares


def open_member(document: MemberDocument, content: bytes, columns: int, task: str) -> Member:
    """Return the member that a document describes.

    Raises:
        ModelError: the file's content does not fit the document.
    """
    member: Member
    if document.type == "Linear":
        member = LinearMember(document, content, columns, task)
    elif document.type == "MLP":
        member = MLPMember(document, content, columns, task)
    elif document.type == "Neighbors":
        member = NeighborsMember(document, content, columns)
    else:
        member = TreeMember(content, columns)
    return SquareMember(member) if document.link == "Square" else member
