"""The prepared problem: rows split, target read, features chosen, everything as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.records import MetaFeatures
from modelyard.api.runs import TrainConfig

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.errors import ValidationError
from modelyard_runtimes.model.schema import Floats, Inputs, InputSchema
from modelyard_runtimes.train.declared import check_declared
from modelyard_runtimes.train.declared_features import steps_of
from modelyard_runtimes.train.feature_plan import FeaturePlan
from modelyard_runtimes.train.features import Choice, choose_features, without_unselected
from modelyard_runtimes.train.groups import groups_of
from modelyard_runtimes.train.leakage.detect import Evidence, refuse_leaks
from modelyard_runtimes.train.metrics import metric_of
from modelyard_runtimes.train.one_fold import first_fold, judges_one_fold
from modelyard_runtimes.train.rare import least_rows, told
from modelyard_runtimes.train.selection import select_features
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.split import split_rows
from modelyard_runtimes.train.target import Target, read_target
from modelyard_runtimes.train.task import Goal, Rows, SearchData, derived_seed

_HOLDOUT, _FOLDS = 1, 2


@dataclass(frozen=True)
class Holdout:
    """The rows that only the winner sees, once.

    Attributes:
        rows: Their positions in the snapshot.
        inputs: Their validated features.
        target: Position of the class, or the value, of each.
        groups: Group of each row by sensitive column.
        slices: Group of each row by column of `spec.fairness.slices`.
    """

    rows: Rows
    inputs: Inputs
    target: Floats
    groups: dict[str, list[str]]
    slices: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """All that a run works on.

    Attributes:
        target: The target of all rows.
        choice: Features and the reasons of the columns that are none.
        schema: The features, as inputs of the model.
        search: The rows of the search.
        holdout: The rows of the holdout.
        groups: Group of each row of the search by sensitive column.
        warnings: What a reader of the card must know of the data.
    """

    target: Target
    choice: Choice
    schema: InputSchema
    search: SearchData
    holdout: Holdout
    groups: dict[str, list[str]]
    warnings: list[str]

    def judged_groups(self) -> dict[str, list[str]]:
        """Return the group of each row that candidates are judged on, by sensitive column."""
        rows = np.flatnonzero(self.search.folds >= 0)
        return {name: [found[row] for row in rows] for name, found in self.groups.items()}

    @cached_property
    def meta_features(self) -> MetaFeatures:
        """What the data of the search are like."""
        inputs = self.search.inputs
        numbers, texts = inputs.numbers, len(inputs.texts)
        features = numbers.shape[1] + inputs.codes.shape[1] + texts
        codes = self.search.target.astype(np.intp) if self.target.classes else None
        return MetaFeatures(
            rows=len(self.search.target),
            features=features,
            numeric=numbers.shape[1] / features,
            text=texts / features,
            missing=float(np.isnan(numbers).mean()) if numbers.size else 0.0,
            classes=len(self.target.classes),
            majority=0.0 if codes is None else float(np.bincount(codes).max() / len(codes)),
        )


def prepare(snapshot: Snapshot, config: TrainConfig) -> Problem:
    """Return the problem that a configuration poses on a snapshot.

    Raises:
        RunFailure: it cannot be posed; the message names the field.
    """
    spec = config.spec
    target = read_target(snapshot, spec)
    seeds = derived_seed(spec.seed, _HOLDOUT), derived_seed(spec.seed, _FOLDS)
    least = least_rows(spec, len(target.classes))
    kept, held, folds, original = split_rows(snapshot, target, spec, seeds, least)
    choice = choose_features(snapshot, config, target.rows[kept])
    schema = InputSchema(choice.features)
    check_declared(spec, schema, choice.left_out, len(target.classes))
    search = SearchData(
        goal=Goal(
            task=spec.task.type,
            classes=len(target.classes),
            metric=metric_of(spec.task, len(target.classes)),
            balanced=spec.task.imbalance or "None",
            seed=spec.seed,
            never_negative=not target.classes and bool(target.values[kept].min() >= 0),
        ),
        inputs=_inputs(schema, snapshot, target.rows[kept]),
        categories=tuple(
            len(feature.categories) for feature in choice.features if feature.type == "Categorical"
        ),
        target=target.values[kept],
        folds=folds,
        plan=FeaturePlan.of(schema, steps_of(spec.features.transforms or [], schema)),
    )
    holdout = Holdout(
        rows=target.rows[held],
        inputs=_inputs(schema, snapshot, target.rows[held]),
        target=target.values[held],
        groups=_groups(snapshot, "sensitive", spec.fairness.sensitive, target.rows[held]),
        slices=_groups(snapshot, "slices", spec.fairness.slices or [], target.rows[held]),
    )
    groups = _groups(snapshot, "sensitive", spec.fairness.sensitive, target.rows[kept])
    evidence = Evidence(snapshot, schema, search, original)
    warnings = [*_left_out(target), *refuse_leaks(evidence, spec)]
    if judges_one_fold(config, search):
        search = replace(search, folds=first_fold(search, spec.validation.folds, seeds[1]))
    if spec.features.selection is not None:
        found = select_features(search, spec.features.selection)
        search = replace(search, plan=search.plan.model_copy(update={"kept": found}))
        choice = without_unselected(choice, found[-1], spec.features.selection.method)
        schema = InputSchema(choice.features)
    return Problem(target, choice, schema, search, holdout, groups, warnings)


def _left_out(target: Target) -> list[str]:
    """Say which classes the model does not know, and how many rows of each there were."""
    if not target.rare:
        return []
    return [
        f"Left out by spec.task.rareClasses, and never predicted: {len(target.rare)} of "
        f"{len(target.rare) + len(target.classes)} classes, which have too few rows for the folds "
        f"and the holdout: {told(target.rare)}"
    ]


def _inputs(schema: InputSchema, snapshot: Snapshot, rows: Rows) -> Inputs:
    # A required column may lack values in the holdout: it is there, so they are imputed.
    table = snapshot.table.select(list(schema.names)).take(pa.array(rows))
    try:
        return schema.validate(table)
    except ValidationError as error:
        raise RunFailure(
            "InvalidFeature",
            f"column {error.field!r} {error.problem} in every row; clean the source, declare the "
            "column's type in the Dataset, or list it in spec.features.exclude",
        ) from error


def _groups(
    snapshot: Snapshot, field_name: str, columns: Sequence[str], rows: Rows
) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in columns:
        if name not in snapshot.types:
            raise RunFailure(
                "UnknownColumn",
                f"spec.fairness.{field_name}: the Dataset's privacy drops column {name!r}, so "
                "groups cannot be compared by it; remove the entry or change the privacy action",
            )
        # Of all rows, so that quarters of numbers are the same in the search and the holdout.
        values = np.array(groups_of(snapshot.table.column(name).to_pylist()), dtype=object)
        groups[name] = values[rows].tolist()
    return groups
