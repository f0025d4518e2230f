"""Fits all that stands between validated rows and a learner, on training rows only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelyard_runtimes.model.derived import with_numbers
from modelyard_runtimes.model.encoder import Encoder, selected
from modelyard_runtimes.model.format import EncoderDocument
from modelyard_runtimes.train.derived import fit_derived
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


def fit_columns(data: SearchData, fit: int, options: EncodingOptions) -> FittedColumns:
    """Return transforms fitted on the rows that a fit sees.

    Args:
        data: The rows of the search.
        fit: Number of the fit, see `SearchData.left_out`.
        options: What the learner wants.
    """
    rows = np.flatnonzero(~data.left_out(fit))
    selection = data.plan.selection(fit)
    inputs, target = data.inputs.take(rows), np.asarray(data.target[rows])
    derived = fit_derived(data, inputs, target, fit, selection)
    seen, categories = inputs, list(data.categories)
    if selection is not None:
        seen = selected(inputs, selection)
        categories = [categories[column] for column in selection.codes]
    if derived.transforms:
        seen = with_numbers(seen, derived.columns)
    document = fit_encoder(seen, categories, options).model_copy(
        update={"selection": selection, "derived": derived.transforms}
    )
    columns = Encoder(document).encode(seen)
    return FittedColumns(document, Encoded(columns, target, data.weights(rows)))
