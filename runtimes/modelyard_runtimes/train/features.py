"""Chooses the features, with a reason for each column that is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from modelyard.api.dataset import ColumnType
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.runs import TrainConfig

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.columns import arrow_values
from modelyard_runtimes.model.format import FeatureSchema, category_text
from modelyard_runtimes.train.snapshot import Snapshot
from modelyard_runtimes.train.task import Rows

MAX_CATEGORIES = 1000
"""Known categories of a column; rarer ones count as other."""

_TYPES: dict[ColumnType, Any] = {
    "Numeric": "Numeric",
    "Boolean": "Boolean",
    "Ordinal": "Ordinal",
    "Categorical": "Categorical",
    "Datetime": "Datetime",
    "Text": "Text",
}


@dataclass(frozen=True)
class Choice:
    """The columns that are features, and why others are not.

    Attributes:
        features: The features, in the order of the snapshot's columns.
        left_out: Reason by name of each column that the model does not see.
    """

    features: list[FeatureSchema]
    left_out: dict[str, str]


def choose_features(snapshot: Snapshot, config: TrainConfig, rows: Rows) -> Choice:
    """Return the features.

    Args:
        snapshot: Rows and types.
        config: What is declared.
        rows: Rows of the search: only they tell categories, constants and missing values.

    Raises:
        RunFailure: a declared column does not exist, or no feature is left.
    """
    _check_declared(snapshot, config)
    table = snapshot.table.take(pa.array(rows))
    features: list[FeatureSchema] = []
    left_out: dict[str, str] = {}
    for name, kind in snapshot.types.items():
        column = table.column(name)
        reason = _declared_reason(name, config) or _own_reason(kind, column)
        if reason:
            left_out[name] = reason
        else:
            features.append(_feature(name, kind, column, snapshot.orders.get(name, [])))
    if not features:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in list(left_out.items())[:10])
        raise RunFailure(
            "NoFeatures", f"spec.features: no column is left to learn from ({reasons})"
        )
    return Choice(features, left_out)


def without_unselected(choice: Choice, kept: Sequence[int], method: str) -> Choice:
    """Return the choice with features that no member sees: they may be sent, and need not be.

    Args:
        choice: The features.
        kept: Positions of those that the members see.
        method: How they were selected.
    """
    unseen = [place for place in range(len(choice.features)) if place not in set(kept)]
    features, left_out = list(choice.features), dict(choice.left_out)
    for place in unseen:
        features[place] = features[place].model_copy(update={"required": False})
        left_out[features[place].name] = (
            f"spec.features.selection left it out by {method}; a request may send it"
        )
    return Choice(features, left_out)


def _check_declared(snapshot: Snapshot, config: TrainConfig) -> None:
    for path, names in _declared_columns(config.spec).items():
        for index, name in enumerate(names):
            if name not in snapshot.types and config.privacy.get(name) != "Drop":
                raise RunFailure(
                    "UnknownColumn",
                    f"{path}[{index}]: the snapshot has no column {name!r}; correct the name or "
                    "remove the entry",
                )


def _declared_columns(spec: ExperimentSpec) -> dict[str, list[str]]:
    return {
        "spec.features.exclude": spec.features.exclude,
        "spec.fairness.sensitive": spec.fairness.sensitive,
        "spec.leakage.accept": spec.leakage.accept if spec.leakage else [],
    }


def _declared_reason(name: str, config: TrainConfig) -> str:
    spec = config.spec
    if name == spec.task.target:
        return "it is the target"
    if name in spec.features.exclude:
        return "it is excluded by spec.features.exclude"
    if name in spec.fairness.sensitive:
        return "it is sensitive: groups are compared by it, nothing is learned from it"
    action = config.privacy.get(name, "Allow")
    if action != "Allow":
        return f"the privacy action {action} hides its values, requests would not match them"
    return ""


def _own_reason(kind: ColumnType, column: Any) -> str:
    if kind == "Identifier":
        return "it identifies rows"
    if kind == "Image":
        return "it names images, which no engine reads"
    distinct = pc.count_distinct(column, mode="only_valid").as_py()
    if distinct == 0:
        return "it has no values"
    if distinct == 1 and column.null_count == 0:
        return "it has the same value in all rows"
    return ""


def _feature(name: str, kind: ColumnType, column: Any, order: list[str]) -> FeatureSchema:
    return FeatureSchema(
        name=name,
        type=_TYPES[kind],
        required=column.null_count == 0,
        categories=_categories(column) if kind == "Categorical" else order,
        unknown_category="Missing" if kind == "Ordinal" else "Other",
    )


def _categories(column: Any) -> list[str]:
    counts = Counter(
        value if isinstance(value, str) else category_text(value)
        for value in arrow_values(column.drop_null())
    )
    frequent = sorted(counts, key=lambda category: (-counts[category], category))
    return sorted(frequent[:MAX_CATEGORIES])
