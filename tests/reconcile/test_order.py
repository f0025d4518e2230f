"""The order in which objects come does not matter: everything is judged by what is there."""

from __future__ import annotations

import random
from typing import Any

import pytest

SPECS: dict[tuple[str, str], dict[str, Any]] = {
    ("Project", "team"): {},
    ("Dataset", "cells"): {"source": {"builtin": "breast_cancer"}},
    ("Experiment", "tumor"): {
        "datasetRef": {"name": "cells"},
        "task": {"type": "Classification", "target": "target"},
    },
    ("Deployment", "tumor"): {"model": {"experiment": "tumor"}},
    ("Monitor", "tumor"): {"deploymentRef": {"name": "tumor"}},
    ("Policy", "accurate"): {
        "gates": ["deploy"],
        "rules": [
            {
                "name": "auc",
                "path": "modelVersion.status.metrics.roc_auc",
                "operator": "GreaterOrEqual",
                "value": 0.9,
            }
        ],
    },
}


@pytest.mark.parametrize("seed", range(12))
async def test_objects_applied_in_any_order_end_ready(world: Any, seed: int) -> None:
    """Some orders come at once, others with a reconcile of everything between two objects."""
    chance = random.Random(seed)
    order = list(SPECS)
    chance.shuffle(order)
    for kind, name in order:
        await world.commit(kind, name, SPECS[kind, name])
        if chance.random() < 0.5:
            await world.settle()
    await world.settle()
    await world.finish_dataset("cells")
    await world.settle()
    await world.finish_experiment("tumor")
    await world.settle()
    world.serve("tumor")
    await world.settle()
    assert {key: world.ready(*key)[0] for key in SPECS} == dict.fromkeys(SPECS, "True")
