"""Fits the transforms of a member, on training rows only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.encoder import words_of
from modelyard_runtimes.model.format import (
    CategoricalEncoding,
    EncoderDocument,
    Interaction,
    NumericEncoding,
    TextEncoding,
)
from modelyard_runtimes.model.schema import Floats, Inputs

MAX_WORDS = 256
MIN_WORD_ROWS = 3
MAX_INTERACTING = 8
"""Number columns that are paired at most: those with the most different values."""
MIN_INTERACTING_VALUES = 3

MOST_HINGED = 50_000_000
"""Numbers that hinges may make: 400 MB. Of more rows they tell less, too."""
MOST_ONE_HOT = 100_000_000
"""Numbers that 0/1 columns may make: 800 MB."""

LEAST_DEVIATION = float(np.finfo(np.float64).tiny)
"""Of less the inverse may be too large for a float."""

Interactions = Literal["None", "Sums", "Ratios"]


@dataclass(frozen=True)
class EncodingOptions:
    """How a learner wants its columns.

    Attributes:
        missing: Keep leaves numbers missing in columns that lacked some in training; Impute
            replaces them by the median and adds an indicator.
        scaling: Standard subtracts the mean and divides by the standard deviation.
        categories: Ordinal or OneHot.
        min_count: A category with fewer training rows counts as other.
        knots: Hinges of each number column, at its quantiles.
        interactions: Sums makes sum and difference of each pair of number columns, in units of
            their standard deviations; Ratios divides the one by the other.
    """

    missing: Literal["Keep", "Impute"]
    scaling: Literal["None", "Standard"]
    categories: Literal["Ordinal", "OneHot"]
    min_count: int = 1
    knots: int = 0
    interactions: Interactions = "None"


def fit_encoder(
    inputs: Inputs, categories: Sequence[int], options: EncodingOptions
) -> EncoderDocument:
    """Return the transforms fitted on these rows.

    Args:
        inputs: Training rows, and none else.
        categories: Number of known categories of each Categorical feature.
        options: What the learner wants.
    """
    return EncoderDocument(
        numeric=_fit_numbers(inputs.numbers, options),
        categorical=_fit_categories(inputs.codes, categories, options),
        texts=[_fit_words(texts) for texts in inputs.texts],
    )


def _fit_numbers(numbers: Floats, options: EncodingOptions) -> NumericEncoding:
    columns = range(numbers.shape[1])
    gaps = [column for column in columns if np.isnan(numbers[:, column]).any()]
    medians = [_median(numbers[:, column]) for column in columns]
    keep = set(gaps) if options.missing == "Keep" else set()
    fill = [None if column in keep else medians[column] for column in columns]
    mean, scale = [0.0] * len(fill), [1.0] * len(fill)
    knots: list[list[float]] = []
    if options.scaling == "Standard":
        complete = np.where(np.isnan(numbers), medians, numbers)
        means, deviations = _spread(complete)
        mean, scale = means.tolist(), deviations.tolist()
        scaled = (complete - means) / deviations
        wanted = options.knots if numbers.size * options.knots <= MOST_HINGED else 0
        knots = [_knots(scaled[:, column], wanted) for column in columns]
    return NumericEncoding(
        fill=fill,
        mean=mean,
        scale=scale,
        indicators=gaps if options.missing == "Impute" else [],
        knots=knots,
        interactions=_interactions(numbers, options.interactions),
    )


def _interactions(numbers: Floats, kind: Interactions) -> list[Interaction]:
    if kind == "None":
        return []
    values = [column[~np.isnan(column)] for column in numbers.T]
    counts = [len(np.unique(column)) for column in values]
    most = sorted(range(len(counts)), key=lambda column: -counts[column])[:MAX_INTERACTING]
    chosen = sorted(column for column in most if counts[column] >= MIN_INTERACTING_VALUES)
    pairs = list(combinations(chosen, 2))
    if kind == "Ratios":
        return [Interaction(kind="Ratio", left=left, right=right) for left, right in pairs]
    weight = {column: float(1 / _spread(values[column])[1]) for column in chosen}
    return [
        Interaction(kind="Sum", left=left, right=right, weights=(weight[left], signed))
        for left, right in pairs
        for signed in (weight[right], -weight[right])
    ]


def _spread(values: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation along the rows; the deviation is 1 where there is none."""
    low, high = values.min(axis=0), values.max(axis=0)
    # A power of two as the unit changes no digit, and no square is too large or small for a float.
    exponents = np.frexp(np.maximum(-low, high))[1]
    parts = np.ldexp(values, -exponents)
    mean = np.ldexp(parts.mean(axis=0), exponents)
    deviation = np.ldexp(parts.std(axis=0), exponents)
    # Rounding sets the mean of equal values apart from them, and another value infinitely far off.
    equal = low == high
    mean = np.where(equal & (mean != low), low, mean)
    return mean, np.where(equal | (deviation < LEAST_DEVIATION), 1.0, deviation)


def _median(values: Floats) -> float:
    present = values[~np.isnan(values)]
    # Of halves, since the sum of the two in the middle may be too large for a float.
    return float(2 * np.median(present / 2)) if len(present) else 0.0


def _knots(values: Floats, count: int) -> list[float]:
    """Return at most `count` inner quantiles; none for a column of two values."""
    low, high = values.min(), values.max()
    if count == 0 or len(np.unique(values[:1000])) <= 2:
        return []
    quantiles = np.unique(np.quantile(values, np.linspace(0, 1, count + 2)[1:-1]))
    return [float(knot) for knot in quantiles if low < knot < high]


def _fit_categories(
    codes: npt.NDArray[np.int32], categories: Sequence[int], options: EncodingOptions
) -> CategoricalEncoding:
    counts = [
        np.bincount(codes[:, column], minlength=known + 2)
        for column, known in enumerate(categories)
    ]
    min_count = options.min_count
    levels = [_levels(count, min_count) for count in counts]
    while options.categories == "OneHot" and min_count < len(codes):
        if len(codes) * sum(max(found) + 1 for found in levels) <= MOST_ONE_HOT:
            break
        min_count *= 2
        levels = [_levels(count, min_count) for count in counts]
    return CategoricalEncoding(style=options.categories, levels=levels)


def _levels(counts: npt.NDArray[np.intp], min_count: int) -> list[int]:
    """Return the level of each code, of which the last two are other and missing.

    Frequent categories come first, equals by code; then one level for all others, then missing.
    """
    known = counts[:-2]
    frequent = [
        int(code) for code in np.argsort(-known, kind="stable") if known[code] >= max(min_count, 1)
    ]
    other = len(frequent)
    levels = [other] * len(counts)
    for level, code in enumerate(frequent):
        levels[code] = level
    levels[-1] = other + 1
    return levels


def _fit_words(texts: Sequence[str]) -> TextEncoding:
    """Return the most frequent words; idf is `log((1 + rows) / (1 + rows with it)) + 1`.

    The formula is scikit-learn's smooth idf.
    """
    counts = Counter(word for text in texts for word in set(words_of(text)))
    frequent = sorted(
        (word for word, count in counts.items() if count >= MIN_WORD_ROWS),
        key=lambda word: (-counts[word], word),
    )
    words = sorted(frequent[:MAX_WORDS])
    idf = [float(np.log((1 + len(texts)) / (1 + counts[word])) + 1) for word in words]
    return TextEncoding(words=words, idf=idf)
