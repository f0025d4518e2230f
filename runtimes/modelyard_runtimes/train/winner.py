"""Chooses the winner out of fold, fits it once more and packs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from modelyard.api.artifacts import MODEL_FILE
from modelyard.api.experiment import ENSEMBLE, LeaderboardEntry
from modelyard.api.identity import canonical_json
from modelyard.api.runs import TrainConfig

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.format import (
    EncoderDocument,
    MemberDocument,
    ModelDocument,
    SecondLevel,
)
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.confidence import interval_of_folds
from modelyard_runtimes.train.decision import Decision
from modelyard_runtimes.train.ensemble import (
    COMBINE,
    Candidates,
    Combination,
    cross_fitted,
    graded,
    greedy,
)
from modelyard_runtimes.train.executor import Executor, Outcome
from modelyard_runtimes.train.metrics import sign
from modelyard_runtimes.train.problem import Problem
from modelyard_runtimes.train.refit import FoldRefit, Refit, Refitted
from modelyard_runtimes.train.search import candidates, ranked, remedy
from modelyard_runtimes.train.task import SearchData
from modelyard_runtimes.train.trial import TrialResult
from modelyard_runtimes.train.trial_log import TrialLog

CLEAR = 3.0
"""Standard errors of a difference by folds from which on it is not taken for luck. The search that
found the trials saw all folds, and the best of many owes most to them: two are met too often."""

_SUFFIX = {"Trees": "txt", "Linear": "npy", "MLP": "npy", "Neighbors": "npy"}


Members = list[tuple[TrialResult, float]]


@dataclass(frozen=True)
class Finalist:
    """A candidate that may win.

    Attributes:
        members: Trials that are part of it, with their weights.
        outputs: Its out-of-fold predictions.
        second_level: What combines the members; None for their weighted mean.
    """

    members: Members
    outputs: Floats
    second_level: SecondLevel | None = None


@dataclass(frozen=True)
class Choice:
    """The winner.

    Attributes:
        winner: The best by the metric, or by objectives where they are declared.
        leaderboard: All candidates, the best by the metric first, then by their values.
        finalists: Whom objectives may choose, by the name in the leaderboard.
    """

    winner: Finalist
    leaderboard: list[LeaderboardEntry]
    finalists: dict[str, Finalist]

    @property
    def entry(self) -> LeaderboardEntry:
        """The winner's, which is not the first where objectives chose."""
        return next(one for one in self.leaderboard if self.finalists.get(one.trial) is self.winner)


def choose(
    data: SearchData, results: Sequence[TrialResult], log: TrialLog, kind: str, members: int
) -> Choice:
    """Return the best trial, or an ensemble that does as well out of fold.

    Args:
        data: The rows of the search.
        results: All trials that ended.
        log: Holds the out-of-fold predictions of the best.
        kind: Type of ensemble that trials may be combined to.
        members: Most trials in it; of one there is none.
    """
    best = ranked(results, data.goal.metric)
    entries = [(result.folds, str(result.number), result.learner) for result in best]
    eligible = candidates(best)
    outputs = [log.outputs(result.number) for result in eligible]
    finalists = {
        str(result.number): Finalist([(result, 1.0)], own)
        for result, own in zip(eligible, outputs, strict=True)
    }
    won = str(best[0].number)
    if members > 1 and len(best) > 1:
        many = Candidates(data, outputs, [result.learner for result in eligible])
        found, folds = _combined(many, kind, members)
        if len(found.weights) > 1:
            entries.append((folds, ENSEMBLE, kind))
            parts = [(eligible[place], weight) for place, weight in found.weights.items()]
            finalists[ENSEMBLE] = Finalist(parts, found.of(outputs), found.second_level)
            if _pays(many, folds):
                won = ENSEMBLE
    # The value of the best of many trials owes a part to luck, so an ensemble that pays stands
    # first even where its own value, which owes none, is a little less.
    better = sign(data.goal.metric)
    entries.sort(key=lambda one: (one[1] != won, -better * float(np.mean(one[0]))))
    leaderboard = [
        LeaderboardEntry(
            rank=rank,
            trial=trial,
            learner=learner,
            metric=float(np.mean(folds)),
            interval=interval_of_folds(folds),
        )
        for rank, (folds, trial, learner) in enumerate(entries, start=1)
    ]
    return Choice(finalists[won], leaderboard, finalists)


def _combined(
    candidates: Candidates, kind: str, members: int
) -> tuple[Combination, tuple[float, ...]]:
    """Return an ensemble of a type and its cross-fitted values by fold.

    Weighted is the best of each family, graded by how surely they trail the best, unless a greedy
    selection is clearly better.
    """
    values = cross_fitted(COMBINE[kind], candidates, members)
    if kind == "Weighted":
        plain = graded(candidates, members, None)
        plain_values = cross_fitted(graded, candidates, members)
        lead, error = _lead(candidates, values, plain_values)
        if lead <= CLEAR * error and len(plain.weights) > 1:
            return plain, plain_values
    return COMBINE[kind](candidates, members, None), values


def _lead(
    candidates: Candidates, first: Sequence[float], second: Sequence[float]
) -> tuple[float, float]:
    """Return by how much the first values by fold are better, and the standard error of that."""
    gains: Floats = sign(candidates.data.goal.metric) * np.subtract(first, second)
    return float(gains.mean()), float(gains.std(ddof=1)) / len(gains) ** 0.5


def _pays(candidates: Candidates, many: Sequence[float]) -> bool:
    """Return whether selecting an ensemble, with these values by fold, does as well as one trial.

    Both choices are made without the fold that they are judged by: the value by which the best of
    many trials was chosen is partly luck, the more the more trials there were. Unless it is clearly
    better the ensemble is taken, whose predictions vary less.
    """
    lead, error = _lead(candidates, many, cross_fitted(greedy, candidates, max_models=1))
    return lead > -CLEAR * error


def fit(executor: Executor, members: Members, folds: int | None) -> list[list[Refitted]]:
    """Return the fits that are packed of each member, in the order of the members.

    Args:
        executor: Runs the fits.
        members: Trials with their weights.
        folds: Folds whose fits are kept of each; None where it is fitted once, on all rows.

    Raises:
        RunFailure: a member could not be fitted.
    """
    wanted = [
        [Refit(result)] if folds is None else [FoldRefit(result, fold) for fold in range(folds)]
        for result, _ in members
    ]
    fitted = iter(_fitted(executor, [job for jobs in wanted for job in jobs]))
    return [[next(fitted) for _ in jobs] for jobs in wanted]


def _fitted(executor: Executor, wanted: Sequence[Refit]) -> list[Refitted]:
    jobs = dict(enumerate(wanted))
    for key, job in jobs.items():
        executor.submit(key, job)
    fitted: dict[int, Refitted] = {}
    died: set[int] = set()
    while len(fitted) < len(jobs):
        for outcome in executor.wait():
            if outcome.status == "Done":
                fitted[outcome.key] = outcome.value
            elif outcome.status == "Died" and outcome.key not in died:
                died.add(outcome.key)
                executor.submit(outcome.key, jobs[outcome.key])
            else:
                raise _refit_failure(outcome, jobs[outcome.key].result)
    return [fitted[key] for key in sorted(fitted)]


def _refit_failure(outcome: Outcome, result: TrialResult) -> RunFailure:
    return RunFailure(
        "RefitFailed",
        f"trial {result.number} ({result.learner}) could not be fitted once more: "
        f"{outcome.reason}. {remedy([outcome.reason])}",
    )


def pack(
    problem: Problem,
    config: TrainConfig,
    chosen: Finalist,
    fitted: Sequence[Sequence[Refitted]],
    decision: Decision,
) -> dict[str, bytes]:
    """Return the files of the packed model."""
    encoders: list[EncoderDocument] = []
    members: list[MemberDocument] = []
    files: dict[str, bytes] = {}
    parts = [
        (result, weight / len(fits), refitted)
        for (result, weight), fits in zip(chosen.members, fitted, strict=True)
        for refitted in fits
    ]
    for number, (result, weight, refitted) in enumerate(parts):
        if refitted.encoder not in encoders:
            encoders.append(refitted.encoder)
        path = f"members/{number}.{_SUFFIX[refitted.packed.type]}"
        files[path] = refitted.packed.content
        members.append(
            MemberDocument(
                type=refitted.packed.type,
                learner=result.learner,
                trial=result.number,
                weight=weight,
                encoder=encoders.index(refitted.encoder),
                link=refitted.packed.link,
                votes=refitted.packed.votes,
                file=path,
            )
        )
    classes = problem.target.classes
    document = ModelDocument(
        task=config.spec.task.type,
        target=config.spec.task.target,
        classes=classes,
        positive_label=classes[1] if len(classes) == 2 else None,
        threshold=decision.threshold,
        calibration=decision.calibration,
        conformal=decision.conformal,
        features=problem.choice.features,
        encoders=encoders,
        members=members,
        second_level=chosen.second_level,
        privacy={name: config.privacy[name] for name in sorted(config.privacy)},
        never_logged=sorted(config.pii),
    )
    # Unlike to_json this keeps None, which in `fill` is a value of its own.
    content = document.model_dump(mode="json", by_alias=True)
    return {MODEL_FILE: canonical_json(content), **files}
