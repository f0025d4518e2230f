"""Fits a chosen candidate once more and packs it, proving that both agree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from modelyard_runtimes.model.format import EncoderDocument, MemberDocument
from modelyard_runtimes.model.members import open_member
from modelyard_runtimes.train.columns import FittedColumns, fit_columns
from modelyard_runtimes.train.engines.registry import learner_of
from modelyard_runtimes.train.learners.base import Encoded, FitRequest, Fitted, Packed
from modelyard_runtimes.train.learners.schedule import origin_of
from modelyard_runtimes.train.task import SearchData, derived_seed
from modelyard_runtimes.train.trial import Trial, TrialResult, fit_without

PARITY_ROWS = 2_000
"""Rows that both predict: every tree takes each of them somewhere, and predicting all rows twice
would take longer than the fit where classes are many."""


class ParityError(Exception):
    """A packed member predicts otherwise than the estimator it was made of."""


@dataclass(frozen=True)
class Refitted:
    """A member for the packed model.

    Attributes:
        encoder: Its transforms.
        packed: What is kept of it.
    """

    encoder: EncoderDocument
    packed: Packed


@dataclass(frozen=True)
class Refit:
    """Request to fit the candidate of a complete trial on all rows of the search."""

    result: TrialResult

    def load(self) -> None:
        """Import what its family of models is fitted with."""
        learner_of(self.result.parameters)[0].load()

    def run(self, data: SearchData) -> Refitted:
        """Return the packed member.

        Raises:
            ParityError: it predicts otherwise than the fitted estimator.
        """
        learner, parameters = learner_of(self.result.parameters)
        columns = fit_columns(data, data.fit_count, learner.encoding(parameters))
        origin = origin_of(self.result.parameters, self.result.number)
        seed = derived_seed(data.goal.seed, origin, data.fit_count)
        request = FitRequest(data.goal, columns.document, columns.rows, parameters, seed)
        fitted = learner.fit(replace(request, iterations=self.result.iterations))
        return _packed(columns, fitted, data.goal.task)


@dataclass(frozen=True)
class FoldRefit(Refit):
    """Request for the very fit of a complete trial that a fold was judged by.

    Attributes:
        fold: Number of the fold, which the fit does not see.
    """

    fold: int

    def run(self, data: SearchData) -> Refitted:
        """Return the packed member.

        Raises:
            ParityError: it predicts otherwise than the fitted estimator.
        """
        trial = Trial(self.result.number, self.result.parameters, ())
        found = fit_without(data, trial, self.fold)
        return _packed(found.columns, found.fitted, data.goal.task)


def _packed(columns: FittedColumns, fitted: Fitted, task: str) -> Refitted:
    packed, document, rows = fitted.pack(), columns.document, columns.rows
    check_parity(fitted, packed, some_of(rows), task)
    if packed.type != "Trees":
        document = document.model_copy(update={"center": rows.columns.mean(axis=0).tolist()})
    return Refitted(document, packed)


def some_of(rows: Encoded) -> Encoded:
    """Return rows evenly spread: all, or at least `PARITY_ROWS` and less than twice as many."""
    step = max(1, len(rows.target) // PARITY_ROWS)
    return rows.take(np.arange(0, len(rows.target), step))


def check_parity(fitted: Fitted, packed: Packed, rows: Encoded, task: str) -> None:
    """Compare the packed member with the estimator on rows it was fitted on.

    Raises:
        ParityError: they differ.
    """
    document = MemberDocument(
        type=packed.type,
        learner="",
        trial=0,
        weight=1,
        encoder=0,
        link=packed.link,
        votes=packed.votes,
        file="",
    )
    member = open_member(document, packed.content, rows.columns.shape[1], task)
    expected = fitted.predict(rows.columns)
    difference = float(np.abs(member.predict(rows.columns) - expected).max())
    if not difference <= fitted.parity * max(1.0, float(np.abs(expected).max())):
        raise ParityError(f"the packed model differs by {difference:g} from the fitted one")
