"""Applies fitted transforms: validated inputs become the columns that a member was fitted on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.derived import derived_columns, with_numbers
from modelyard_runtimes.model.format import (
    Bins,
    CategoricalEncoding,
    CategoryNumbers,
    CategoryPairNumbers,
    Derived,
    EncoderDocument,
    InputSelection,
    NumberPair,
    NumericEncoding,
    TextEncoding,
)
from modelyard_runtimes.model.schema import Floats, Inputs

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return _WORD.findall(text.lower())


class Positions(Protocol):
    """Which feature each column of validated inputs comes from, as an InputSchema knows it."""

    @property
    def number_features(self) -> Sequence[int]:
        """For each column of `Inputs.numbers`, the position of its feature."""
        ...

    @property
    def code_features(self) -> Sequence[int]:
        """For each column of `Inputs.codes`, the position of its feature."""
        ...

    @property
    def text_features(self) -> Sequence[int]:
        """For each of `Inputs.texts`, the position of its feature."""
        ...


class _Sources(NamedTuple):
    """The features behind each column that the blocks get."""

    numbers: list[tuple[int, ...]]
    codes: list[int]
    texts: list[int]


class _Block(Protocol):
    """A run of columns that one kind of transform makes."""

    width: int

    def fill(self, inputs: Inputs, encoded: Floats) -> None: ...

    def sources(self, seen: _Sources) -> list[tuple[int, ...]]: ...


class Encoder:
    """The transforms of an EncoderDocument, ready to be applied.

    Attributes:
        width: Number of columns it makes.
    """

    def __init__(self, document: EncoderDocument) -> None:
        self._selection = document.selection
        self._derived = document.derived
        self._blocks: list[_Block] = [
            _Numbers(document.numeric),
            _Categories(document.categorical),
            *(_Words(position, text) for position, text in enumerate(document.texts)),
        ]
        self.width = sum(block.width for block in self._blocks)

    def transform(self, inputs: Inputs) -> Floats:
        """Return rows x `width`, C-contiguous."""
        return self.encode(self.seen(inputs))

    def seen(self, inputs: Inputs) -> Inputs:
        """Return what is encoded of validated rows."""
        seen = inputs if self._selection is None else selected(inputs, self._selection)
        if not self._derived:
            return seen
        return with_numbers(seen, derived_columns(self._derived, inputs))

    def encode(self, inputs: Inputs) -> Floats:
        """Return rows x `width` of rows that `seen` returned."""
        encoded = np.zeros((len(inputs), self.width), dtype=np.float64)
        start = 0
        for block in self._blocks:
            if block.width:
                block.fill(inputs, encoded[:, start : start + block.width])
            start += block.width
        return encoded

    def sources(self, positions: Positions) -> list[tuple[int, ...]]:
        """Return for each column it makes the positions of the features that it comes from."""
        derived = [_sources_of(one, positions) for one in self._derived]
        numbers, codes, texts = (
            list(positions.number_features),
            list(positions.code_features),
            list(positions.text_features),
        )
        if self._selection is not None:
            numbers = [numbers[column] for column in self._selection.numbers]
            codes = [codes[column] for column in self._selection.codes]
            texts = [texts[place] for place in self._selection.texts]
        seen = _Sources([*((feature,) for feature in numbers), *derived], codes, texts)
        return [source for block in self._blocks for source in block.sources(seen)]


def _sources_of(transform: Derived, positions: Positions) -> tuple[int, ...]:
    """Return the features that a derived number is made of."""
    match transform:
        case CategoryNumbers():
            return (positions.code_features[transform.code],)
        case Bins():
            return (positions.number_features[transform.number],)
        case NumberPair():
            features = positions.number_features
        case CategoryPairNumbers():
            features = positions.code_features
    return features[transform.left], features[transform.right]


def selected(inputs: Inputs, selection: InputSelection) -> Inputs:
    """Return some columns of the inputs."""
    return Inputs(
        inputs.numbers[:, selection.numbers],
        inputs.codes[:, selection.codes],
        tuple(inputs.texts[place] for place in selection.texts),
    )


class _Numbers:
    """Imputation, scaling, indicators of missing values, hinges and interactions."""

    def __init__(self, encoding: NumericEncoding) -> None:
        self._fill = np.array(
            [np.nan if value is None else value for value in encoding.fill], dtype=np.float64
        )
        self._mean = np.array(encoding.mean, dtype=np.float64)
        self._scale = np.array(encoding.scale, dtype=np.float64)
        self._imputed = not bool(np.all(np.isnan(self._fill)))
        self._plain = bool(np.all(self._mean == 0) and np.all(self._scale == 1))
        self._indicators = np.array(encoding.indicators, dtype=np.intp)
        self._hinged = np.array(
            [column for column, knots in enumerate(encoding.knots) for _ in knots], dtype=np.intp
        )
        self._knots = np.array([knot for knots in encoding.knots for knot in knots], np.float64)
        pairs = encoding.interactions
        self._left = np.array([pair.left for pair in pairs], dtype=np.intp)
        self._right = np.array([pair.right for pair in pairs], dtype=np.intp)
        self._weights = np.array([pair.weights for pair in pairs], dtype=np.float64).reshape(-1, 2)
        self._ratios = np.array([pair.kind == "Ratio" for pair in pairs], dtype=bool)
        self._hinges_end = len(self._fill) + len(self._indicators) + len(self._knots)
        self.width = self._hinges_end + len(pairs)

    def fill(self, inputs: Inputs, encoded: Floats) -> None:
        numbers = inputs.numbers
        count, indicated = len(self._fill), len(self._indicators)
        if self._imputed:
            numbers = np.where(np.isnan(numbers), self._fill, numbers)
        if not self._plain:
            numbers = (numbers - self._mean) / self._scale
        encoded[:, :count] = numbers
        if indicated:
            missing = np.isnan(inputs.numbers[:, self._indicators])
            encoded[:, count : count + indicated] = missing
        if len(self._knots):
            hinges = np.maximum(numbers[:, self._hinged] - self._knots, 0.0)
            encoded[:, count + indicated : self._hinges_end] = hinges
        if len(self._left):
            encoded[:, self._hinges_end :] = self._interact(numbers)

    def _interact(self, numbers: Floats) -> Floats:
        left, right = numbers[:, self._left], numbers[:, self._right]
        with np.errstate(all="ignore"):
            combined: Floats = left * self._weights[:, 0] + right * self._weights[:, 1]
            ratios = left[:, self._ratios] / right[:, self._ratios]
        ratios[~np.isfinite(ratios)] = np.nan
        combined[:, self._ratios] = ratios
        return combined

    def sources(self, seen: _Sources) -> list[tuple[int, ...]]:
        columns = [*range(len(self._fill)), *self._indicators, *self._hinged]
        pairs = zip(self._left, self._right, strict=True)
        return [
            *(seen.numbers[column] for column in columns),
            *(seen.numbers[left] + seen.numbers[right] for left, right in pairs),
        ]


class _Categories:
    """Levels of categories, as numbers or as 0/1 columns."""

    def __init__(self, encoding: CategoricalEncoding) -> None:
        longest = max((len(levels) for levels in encoding.levels), default=0)
        self._table = np.zeros((len(encoding.levels), longest), dtype=np.intp)
        for column, levels in enumerate(encoding.levels):
            self._table[column, : len(levels)] = levels
        self._columns = np.arange(len(encoding.levels))
        self._one_hot = encoding.style == "OneHot"
        widths = [max(levels) + 1 for levels in encoding.levels] if self._one_hot else []
        self._widths = widths if self._one_hot else [1] * len(encoding.levels)
        self._starts = np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(np.intp)
        self.width = sum(self._widths)

    def fill(self, inputs: Inputs, encoded: Floats) -> None:
        levels = self._table[self._columns, inputs.codes]
        if self._one_hot:
            rows = np.arange(len(inputs))[:, None]
            encoded[rows, self._starts + levels] = 1.0
        else:
            encoded[:] = levels

    def sources(self, seen: _Sources) -> list[tuple[int, ...]]:
        return [
            (feature,)
            for feature, width in zip(seen.codes, self._widths, strict=True)
            for _ in range(width)
        ]


class _Words:
    """Words of one Text feature."""

    def __init__(self, position: int, encoding: TextEncoding) -> None:
        self._position = position
        self._columns = {word: column for column, word in enumerate(encoding.words)}
        self._idf = np.array(encoding.idf, dtype=np.float64)
        self.width = len(encoding.words)

    def fill(self, inputs: Inputs, encoded: Floats) -> None:
        for row, text in enumerate(inputs.texts[self._position]):
            found = self._found(words_of(text))
            if len(found):
                idf = self._idf[found]
                encoded[row, found] = idf / np.sqrt(np.square(idf).sum())

    def _found(self, words: Sequence[str]) -> npt.NDArray[np.intp]:
        columns = {self._columns[word] for word in words if word in self._columns}
        return np.array(sorted(columns), dtype=np.intp)

    def sources(self, seen: _Sources) -> list[tuple[int, ...]]:
        return [(seen.texts[self._position],)] * self.width
