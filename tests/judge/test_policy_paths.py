"""A rule's path leads somewhere in the input of its gate, or is named with a remedy."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from modelyard.api.policy import Gate, PolicySpec
from modelyard.judge.policy_paths import unknown_path, unknown_paths

KNOWN: list[tuple[str, Sequence[Gate]]] = [
    ("gate", ["train"]),
    ("targetStage", ["promote"]),
    ("project.environment", ["train"]),
    ("project.owners.0", ["train"]),
    ("object.labels.team", ["dataset"]),
    ("object.spec.search.trials", ["train"]),
    ("object.spec.search.trials", ["dataset", "train"]),
    ("object.spec.schedule.every", ["train"]),
    ("dataset.status.fingerprint", ["train"]),
    ("experiment.status.leaderboard.0.metric", ["promote"]),
    ("modelVersion.stage", ["deploy"]),
    ("modelVersion.spec.documentation.owner", ["promote"]),
    ("modelVersion.status.metrics.roc_auc", ["promote"]),
    ("modelVersion.status.artifact.sizeBytes", ["deploy"]),
]


@pytest.mark.parametrize(("path", "gates"), KNOWN, ids=[path for path, _ in KNOWN])
def test_a_path_that_may_exist_at_one_of_the_gates_is_let_be(
    path: str, gates: Sequence[Gate]
) -> None:
    assert unknown_path(path, gates) is None


@pytest.mark.parametrize(
    ("path", "gate", "trouble"),
    [
        pytest.param(
            "modelVersion.status.metric.roc_auc",
            "promote",
            "modelVersion.status has no 'metric'; did you mean 'metrics'?",
            id="misspelt",
        ),
        pytest.param(
            "status.metrics.roc_auc",
            "promote",
            "the gate's input has no 'status'; it has dataset, experiment, gate",
            id="not from the root",
        ),
        pytest.param(
            "object.spec.search.trials", "dataset", "object.spec has no 'search'", id="another kind"
        ),
        pytest.param(
            "gate.name", "train", "gate has no 'name', it is a value itself", id="below a value"
        ),
        pytest.param(
            "experiment.status.leaderboard.metric",
            "promote",
            "has no 'metric', it is a list; name a position, the first is 0",
            id="a list",
        ),
        pytest.param(
            "object.status.verdicts", "deploy", "object.status has no 'verdicts'", id="never seen"
        ),
    ],
)
def test_a_path_that_leads_nowhere_is_named_with_what_there_is(
    path: str, gate: Gate, trouble: str
) -> None:
    found = unknown_path(path, [gate])
    assert found is not None
    assert trouble in found


def test_each_rule_is_looked_at() -> None:
    rules = [
        {"name": name, "path": path, "operator": "Exists", "value": True}
        for name, path in (("one", "object.name"), ("two", "object.nam"), ("three", "objekt"))
    ]
    spec = PolicySpec.model_validate({"gates": ["train"], "rules": rules})

    assert [finding.field for finding in unknown_paths(spec)] == [
        "spec.rules[1].path",
        "spec.rules[2].path",
    ]
