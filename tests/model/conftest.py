"""A small packed model, written by hand: no training is needed to test the predictor."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from modelyard.api.identity import canonical_json
from modelyard_runtimes.model import Model, load_files

HEAD = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx={last}
objective={objective}
feature_names={names}
feature_infos={infos}
"""
TREE = """
Tree={number}
num_leaves=2
num_cat=0
split_feature={column}
split_gain=1
threshold={threshold}
decision_type={decision}
left_child=-1
right_child=-2
leaf_value={left} {right}
leaf_weight=1 1
leaf_count=1 1
internal_value=0
internal_weight=2
internal_count=2
is_linear=0
shrinkage=1

"""


def trees(objective: str, *splits: tuple[int, float, int, float, float], columns: int = 3) -> bytes:
    """A tree for each split: column, threshold, type of decision, leaf on either side."""
    count = max(columns, *(column + 1 for column, *_ in splits))
    head = HEAD.format(
        objective=objective,
        last=count - 1,
        names=" ".join(f"c{column}" for column in range(count)),
        infos=" ".join(["none"] * count),
    )
    text = head + "".join(
        TREE.format(
            number=number,
            column=column,
            threshold=threshold,
            decision=decision,
            left=left,
            right=right,
        )
        for number, (column, threshold, decision, left, right) in enumerate(splits)
    )
    return f"{text}\nend of trees\n".encode()


def document() -> dict[str, Any]:
    """Return model.json: size < 10 is against, red is for; both members weigh the same."""
    numbers = {"fill": [None, 0.5], "mean": [0, 0], "scale": [1, 1]}
    levels = [[0, 1, 2, 3]]
    return {
        "task": "Classification",
        "target": "bought",
        "classes": ["no", "yes"],
        "positiveLabel": "yes",
        "features": [
            {"name": "size", "type": "Numeric", "required": True},
            {"name": "member", "type": "Boolean", "required": False},
            {
                "name": "colour",
                "type": "Categorical",
                "required": False,
                "categories": ["blue", "red"],
            },
        ],
        "encoders": [
            {"numeric": numbers, "categorical": {"style": "Ordinal", "levels": levels}},
            {
                "numeric": {**numbers, "fill": [0, 0.5]},
                "categorical": {"style": "OneHot", "levels": levels},
            },
        ],
        "members": [
            {
                "type": "Trees",
                "learner": "LightGBM",
                "trial": 0,
                "weight": 0.5,
                "encoder": 0,
                "file": "members/0.txt",
            },
            {
                "type": "Linear",
                "learner": "Linear",
                "trial": 1,
                "weight": 0.5,
                "encoder": 1,
                "file": "members/1.npy",
            },
        ],
        "privacy": {"member": "Mask"},
        "neverLogged": ["size"],
    }


def files() -> dict[str, bytes]:
    stream = io.BytesIO()
    # size, member, then blue, red, other, missing; the intercept last.
    np.save(stream, np.array([[0.0], [2.0], [-1.0], [1.0], [0.25], [-0.5], [0.0]]))
    return {
        "model.json": canonical_json(document()),
        "members/0.txt": trees("binary sigmoid:1", (0, 10, 8, -1, 1)),
        "members/1.npy": stream.getvalue(),
    }


@pytest.fixture
def packed() -> dict[str, bytes]:
    return files()


@pytest.fixture
def model(packed: dict[str, bytes]) -> Model:
    return load_files(packed)
