"""Fits all that stands between validated rows and a learner, on training rows only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelyard_runtimes.model.encoder import Encoder, selected
from modelyard_runtimes.model.format import EncoderDocument
from modelyard_runtimes.train.encoding import EncodingOptions, fit_encoder
from modelyard_runtimes.train.learners.base import Encoded
from modelyard_runtimes.train.task import SearchData


@dataclass(frozen=True)
class FittedColumns:
    """Training rows as a learner gets them.

    Attributes:
        document: The transforms, for all other rows.
        rows: The training rows, transformed.
    """

    document: EncoderDocument
    rows: Encoded


def fit_columns(data: SearchData, fold: int, options: EncodingOptions) -> FittedColumns:
    """Return transforms fitted on all rows but those of a fold.

    Args:
        data: The rows of the search.
        fold: The fold whose rows are not looked at; the number of folds leaves out none.
        options: What the learner wants.
    """
    rows = np.flatnonzero(data.folds != fold)
    selection = data.plan.selection(fold)
    inputs, categories = data.inputs.take(rows), list(data.categories)
    if selection is not None:
        inputs = selected(inputs, selection)
        categories = [categories[column] for column in selection.codes]
    document = fit_encoder(inputs, categories, options).model_copy(update={"selection": selection})
    columns = Encoder(document).encode(inputs)
    return FittedColumns(
        document, Encoded(columns, np.asarray(data.target[rows]), data.weights(rows))
    )
