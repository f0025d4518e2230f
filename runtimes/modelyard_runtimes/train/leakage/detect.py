"""All detectors on one problem, and what follows from what they find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from modelyard.api.experiment import ExperimentSpec, Leakage

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.schema import InputSchema
from modelyard_runtimes.train.leakage.finding import Finding
from modelyard_runtimes.train.leakage.rows import identifiers, kept_together, repeated_rows
from modelyard_runtimes.train.leakage.target import (
    MUCH,
    exact_sum,
    powers,
    strong_columns,
    telling_columns,
)
from modelyard_runtimes.train.leakage.time import later_columns, undeclared_time
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.task import Rows, SearchData

MAX_TOLD = 10


@dataclass(frozen=True)
class Evidence:
    """What the detectors look at.

    Attributes:
        snapshot: All rows and columns.
        schema: The features.
        search: The rows of the search: no detector looks at a target of the holdout.
        original: For each row with a target the first one that equals it.
    """

    snapshot: Snapshot
    schema: InputSchema
    search: SearchData
    original: Rows


def refuse_leaks(evidence: Evidence, spec: ExperimentSpec) -> list[str]:
    """Return what a reader of the model card must know: what was accepted, and what may be amiss.

    Raises:
        RunFailure: something gives the answer away and is not accepted; names all of it.
    """
    declared = spec.leakage or Leakage()
    accepted = set(declared.accept)
    power = powers(evidence.schema, evidence.search, min(MUCH, declared.max_power))
    found = list(_findings(evidence, power, spec, declared))
    refused = [one for one in found if not one.columns or not accepted.issuperset(one.columns)]
    if refused:
        told = [one.message for one in refused[:MAX_TOLD]]
        more = [f"and {len(refused) - MAX_TOLD} more"] if len(refused) > MAX_TOLD else []
        raise RunFailure("LeakageFound", " ".join([*told, *more]))
    return [
        *(f"Accepted by spec.leakage.accept: {one.message}" for one in found),
        *strong_columns(power, declared.max_power),
        *undeclared_time(evidence.schema, spec.validation),
        *kept_together(evidence.original),
    ]


def _findings(
    evidence: Evidence, power: dict[str, float], spec: ExperimentSpec, declared: Leakage
) -> Iterator[Finding]:
    yield from telling_columns(power, declared.max_power)
    yield from exact_sum(evidence.schema, evidence.search, set(declared.accept))
    yield from identifiers(evidence.snapshot, evidence.schema)
    yield from later_columns(evidence.snapshot, evidence.schema, spec.validation.time_column)
    yield from repeated_rows(evidence.original, declared.max_repeated_rows)
