"""Writes trees of any library as a LightGBM model text: one format is packed, read and served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.train.task import Goal

END_OF_TREES = "end of trees\n"

COMPLETE = 0
"""Decision of a split that meets no missing numbers."""
MISSING_RIGHT = 8
MISSING_LEFT = 10
"""Decisions that send a missing number to a side (`decision_type` of LightGBM's tree.h)."""

LARGEST = float(np.finfo(np.float32).max)

Integers = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Tree:
    """One tree: a row goes left where its number is at most the threshold.

    LightGBM numbers inner nodes and leaves apart; a child that is leaf k is written as -(k + 1).

    Attributes:
        feature: Column of each inner node, the root first.
        threshold: Threshold of each.
        decision: COMPLETE, MISSING_RIGHT or MISSING_LEFT of each.
        left: Left child of each.
        right: Right child of each.
        value: Value of each leaf.
        rows: Training rows of each leaf; at least one, since SHAP values divide by them.
        inner_rows: Training rows of each inner node.
    """

    feature: Integers
    threshold: Floats
    decision: Integers
    left: Integers
    right: Integers
    value: Floats
    rows: Integers
    inner_rows: Integers


def objective_of(goal: Goal) -> str:
    """Return the objective, which tells how sums of leaves become predictions."""
    if goal.task == "Regression":
        return "regression"
    return f"multiclass num_class:{goal.classes}" if goal.outputs > 1 else "binary sigmoid:1"


def model_text(trees: Sequence[Tree], columns: int, outputs: int, objective: str | None) -> bytes:
    """Return the text, in the form of `Booster.model_to_string` (version v4).

    Args:
        trees: The trees; with more than one output they take turns.
        columns: Number of columns.
        outputs: Numbers predicted for a row.
        objective: How sums of leaves become predictions; None where their mean is the prediction.
    """
    return "".join(_lines(trees, columns, outputs, objective)).encode()


def in_single_precision(columns: Floats) -> npt.NDArray[np.float32]:
    """Return numbers for libraries that keep them as float32; beyond the largest they count as it.

    Such libraries refuse infinite numbers, which larger ones would be rounded to.
    """
    with np.errstate(over="ignore"):
        found = columns.astype(np.float32, order="C")
    return np.clip(found, -LARGEST, LARGEST, out=found)


def of_single_precision(thresholds: Floats) -> Floats:
    """Return thresholds that part any numbers as these part them `in_single_precision`.

    Libraries that keep numbers as float32 ask `float32(x) <= threshold`. The largest float64 that
    rounds to a float32 lies in the middle between this and the next one, which itself is rounded to
    the even one of both (IEEE 754, round half to even).
    """
    with np.errstate(over="ignore"):
        nearest = thresholds.astype(np.float32)
        below = np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
        above = np.nextafter(below, np.float32(np.inf)).astype(np.float64)
    middle = (below.astype(np.float64) + above) / 2
    is_even = below.view(np.uint32) % 2 == 0
    found = np.where(is_even, middle, np.nextafter(middle, -np.inf))
    return np.where(thresholds >= LARGEST, np.finfo(np.float64).max, found)


def _lines(
    trees: Sequence[Tree], columns: int, outputs: int, objective: str | None
) -> Iterator[str]:
    names = " ".join(f"c{column}" for column in range(columns))
    combined = "average_output" if objective is None else f"objective={objective}"
    yield (
        f"tree\nversion=v4\nnum_class={outputs}\nnum_tree_per_iteration={outputs}\n"
        f"label_index=0\nmax_feature_idx={columns - 1}\n{combined}\n"
        f"feature_names={names}\nfeature_infos={' '.join(['none'] * columns)}\n\n"
    )
    for number, tree in enumerate(trees):
        yield _tree_text(number, tree)
    yield END_OF_TREES


def _tree_text(number: int, tree: Tree) -> str:
    lines: dict[str, Any] = {"num_leaves": len(tree.value), "num_cat": 0}
    if len(tree.feature):
        lines |= {
            "split_feature": tree.feature,
            "split_gain": np.zeros_like(tree.feature),
            "threshold": tree.threshold,
            "decision_type": tree.decision,
            "left_child": tree.left,
            "right_child": tree.right,
        }
    lines |= {"leaf_value": tree.value, "leaf_weight": tree.rows, "leaf_count": tree.rows}
    if len(tree.feature):
        lines |= {
            "internal_value": np.zeros_like(tree.feature),
            "internal_weight": tree.inner_rows,
            "internal_count": tree.inner_rows,
        }
    lines |= {"is_linear": 0, "shrinkage": 1}
    body = "\n".join(f"{name}={_joined(value)}" for name, value in lines.items())
    return f"Tree={number}\n{body}\n\n\n"


def _joined(value: Any) -> str:
    return " ".join(map(repr, value.tolist())) if isinstance(value, np.ndarray) else str(value)


def child_names(leaf: npt.NDArray[np.bool_]) -> Integers:
    """Return how LightGBM names the nodes of a tree that numbers leaves and inner nodes as one."""
    leaves = np.cumsum(leaf, dtype=np.intp)
    return np.where(leaf, -leaves, np.arange(len(leaf)) - leaves)
