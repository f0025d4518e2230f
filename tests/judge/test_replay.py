"""Of two runs the first step that differs is named, in the order of the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from modelyard.api.artifacts import Manifest
from modelyard.api.identity import digest
from modelyard.api.records import (
    PROCESS_ENDED,
    TOOK_LONGER,
    DatasetRecord,
    Provenance,
    TrainRecord,
)
from modelyard.judge.replay import (
    Difference,
    SearchFacts,
    SnapshotFacts,
    changes,
    measured,
    search_difference,
    snapshot_difference,
    unrecorded,
)

ONE, OTHER = digest(b"1"), digest(b"2")
PROVENANCE: dict[str, Any] = {
    "codeVersion": "1",
    "codeDigest": ONE,
    "startedAt": "t",
    "finishedAt": "t",
    "environment": {"lightgbm": "4", "numpy": "2"},
    "platform": {"python": "CPython 3.11"},
}
Edit = Callable[[dict[str, Any]], None]


def artifact(which: str) -> dict[str, Any]:
    return {"uri": "file:///s/a", "digest": which, "sizeBytes": 1}


def dataset(**changed: Any) -> DatasetRecord:
    fields: dict[str, Any] = {
        "namespace": "team",
        "name": "rows",
        "identity": "1",
        "fingerprint": ONE,
        "snapshot": {"uri": "file:///s/a", "digest": ONE, "rows": 2, "columns": 1},
        "rowsRead": 2,
        "schema": [{"name": "x", "type": "Numeric", "distinct": 2}],
        "preview": [],
        "quarantine": {"rows": 0},
        "quality": {"score": 1},
        "expectations": [],
        "blocked": False,
        "pii": [],
        "provenance": PROVENANCE,
    }
    return DatasetRecord.model_validate({**fields, **changed})


def search(**changed: Any) -> TrainRecord:
    fields: dict[str, Any] = {
        "namespace": "team",
        "name": "search",
        "identity": "1",
        "taskType": "Regression",
        "metric": "rmse",
        "metrics": {"rmse": 1},
        "leaderboard": [{"rank": 1, "trial": "0", "learner": "Linear", "metric": 1.5}],
        "progress": {"done": 1, "total": 1},
        "artifact": artifact(ONE),
        "evidence": artifact(ONE),
        "cardUri": "file:///s/a/card.md",
        "fairness": [],
        "lineage": {"experiment": "search", "runIdentity": "1", "dataset": "rows",
                    "dataFingerprint": ONE},
        "snapshotUri": "file:///s/a",
        "snapshotDigest": ONE,
        "replayable": True,
        "provenance": PROVENANCE,
    }  # fmt: skip
    return TrainRecord.model_validate({**fields, **changed})


def trial(number: int, **changed: Any) -> dict[str, Any]:
    fields = {"number": number, "parameters": {"learner": "Linear", "depth": 3}, "state": "Complete",
              "folds": [0.5, 0.25], "iterations": None, "reason": ""}  # fmt: skip
    return {**fields, **changed}


def files(**digests: str) -> Manifest:
    entries = [{"path": path, "size": 1, "digest": one} for path, one in digests.items()]
    return Manifest.model_validate({"mediaType": "modelyard/model.v1", "files": entries})


@pytest.mark.parametrize(
    ("changed", "statistics", "step"),
    [
        pytest.param({}, {"x": {"mean": 1.0}}, None, id="nothing"),
        pytest.param({}, {"x": {"mean": 1.0 + 1e-13}}, None, id="only another order of sums"),
        pytest.param({"rowsRead": 3}, {"x": {"mean": 2.0}}, "rows read", id="more rows"),
        pytest.param(
            {"quarantine": {"rows": 1, "reasons": {"TypeMismatch": 1}}},
            {"x": {"mean": 1.0}},
            "rows set apart: TypeMismatch",
            id="a row set apart",
        ),
        pytest.param(
            {"schema": [{"name": "x", "type": "Numeric", "distinct": 1}]},
            {"x": {"mean": 1.0}},
            "column x: distinct",
            id="fewer values",
        ),
        pytest.param({"fingerprint": OTHER}, {"x": {"mean": 2.0}}, "column x: mean", id="a value"),
        pytest.param(
            {"fingerprint": OTHER},
            {"x": {"mean": 1.0 + 1e-13, "nulls": 4}},
            "column x: nulls",
            id="a value, and another order of sums",
        ),
        pytest.param(
            {"fingerprint": OTHER}, {"x": {"mean": 1.0}}, "fingerprint of the rows", id="a swap"
        ),
        pytest.param(
            {"snapshot": {"uri": "file:///s/b", "digest": OTHER, "rows": 2, "columns": 1}},
            {"x": {"mean": 1.0}},
            "snapshot",
            id="other bytes of the same rows",
        ),
    ],
)
def test_the_first_step_of_a_snapshot_is_named(
    changed: dict[str, Any], statistics: Mapping[str, Any], step: str | None
) -> None:
    recorded = SnapshotFacts(dataset(), {"x": {"mean": 1.0}})
    found = snapshot_difference(recorded, SnapshotFacts(dataset(**changed), statistics))
    assert (found and found.step) == step


TRIALS = {0: trial(0), 1: trial(1)}


@pytest.mark.parametrize(
    ("replayed", "difference"),
    [
        pytest.param(SearchFacts(search(), TRIALS), None, id="nothing"),
        pytest.param(
            SearchFacts(search(), {**TRIALS, 1: trial(1, folds=[0.5, 0.75])}),
            Difference("trial 1: folds[1]", 0.25, 0.75),
            id="a fold",
        ),
        pytest.param(
            SearchFacts(search(), {**TRIALS, 1: trial(1, folds=[0.5])}),
            Difference("trial 1: folds: number of entries", 2, 1),
            id="a fold less",
        ),
        pytest.param(
            SearchFacts(
                search(), {0: trial(0, folds=[9.0], parameters={"learner": "Linear"}), 1: trial(1)}
            ),
            Difference("trial 0: parameters: depth", 3, None),
            id="a parameter, told before what follows from it",
        ),
        pytest.param(
            SearchFacts(search(), {0: trial(0)}),
            Difference("trial 1", "Complete", None),
            id="a trial less",
        ),
        pytest.param(
            SearchFacts(search(), {**TRIALS, 2: trial(2)}),
            Difference("trial 2", None, "Complete"),
            id="a trial more",
        ),
        pytest.param(
            SearchFacts(None, {0: trial(0, state="Failed")}),
            Difference("trial 0: state", "Complete", "Failed"),
            id="a replay that ended at a trial",
        ),
        pytest.param(SearchFacts(None, {0: trial(0)}), None, id="a replay that ended for its own"),
        pytest.param(
            SearchFacts(
                search(leaderboard=[{"rank": 1, "trial": "0", "learner": "Linear", "metric": 2.0}]),
                TRIALS,
            ),
            Difference("leaderboard[0]: metric", 1.5, 2.0),
            id="the leaderboard",
        ),
        pytest.param(
            SearchFacts(
                search(artifact=artifact(OTHER), evidence=artifact(OTHER)),
                TRIALS,
                winner=files(model=ONE, member=OTHER),
            ),
            Difference("winner: member", ONE, OTHER),
            id="a file of the winner",
        ),
        pytest.param(
            SearchFacts(search(artifact=artifact(OTHER)), TRIALS),
            Difference("winner", ONE, OTHER),
            id="a winner whose files are not there",
        ),
        pytest.param(
            SearchFacts(
                search(evidence=artifact(OTHER)),
                TRIALS,
                winner=files(model=ONE, member=ONE),
                evidence=files(card=OTHER),
            ),
            Difference("evidence: card", ONE, OTHER),
            id="a file of the evidence",
        ),
    ],
)
def test_the_first_step_of_a_search_is_named(
    replayed: SearchFacts, difference: Difference | None
) -> None:
    recorded = SearchFacts(search(), TRIALS, files(model=ONE, member=ONE), files(card=ONE))
    assert search_difference(recorded, replayed) == difference


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"codeVersion": "2"}, ["code: Modelyard 1 then, 2 now"], id="the version"),
        pytest.param(
            {"codeDigest": OTHER}, ["code: version 1 as then, of other source files"], id="the code"
        ),
        pytest.param(
            {"environment": {"lightgbm": "5", "scipy": "1", "numpy": "2"}},
            ["environment: lightgbm 4 then, 5 now", "environment: scipy none then, 1 now"],
            id="libraries",
        ),
        pytest.param(
            {"platform": {"python": "CPython 3.12"}},
            ["platform: python CPython 3.11 then, CPython 3.12 now"],
            id="the platform",
        ),
    ],
)
def test_what_has_changed_since_is_told(changed: dict[str, Any], told: list[str]) -> None:
    then = Provenance.model_validate(PROVENANCE)
    now = Provenance.model_validate({**PROVENANCE, **changed})
    assert list(changes(then, now)) == told


def test_an_older_record_is_not_blamed_for_what_it_does_not_tell() -> None:
    older = {name: PROVENANCE[name] for name in ("codeVersion", "startedAt", "finishedAt")}
    record = dataset(provenance=older)
    assert list(changes(record.provenance, Provenance.model_validate(PROVENANCE))) == []
    assert unrecorded(record) == [
        "the configuration",
        "the digest of the code",
        "the versions of libraries",
        "the platform",
    ]


def test_only_what_a_machine_decided_is_given_to_the_replay() -> None:
    trials = {
        0: trial(0),
        1: trial(1, state="Failed", reason=f"{PROCESS_ENDED}killed by SIGKILL"),
        2: trial(2, state="Failed", reason=f"{TOOK_LONGER}30 s"),
        3: trial(3, state="Failed", reason="ValueError: of the candidate's own"),
    }
    board = [
        {"rank": 1, "trial": "0", "learner": "Linear", "metric": 1.5, "latencyMsP95": 0.5},
        {"rank": 2, "trial": "ensemble", "learner": "Weighted", "metric": 1.4},
    ]
    found = measured(trials, search(leaderboard=board, replayable=True))
    assert set(found.failed) == {1, 2}
    assert found.started is None
    assert found.latencies == {"0": 0.5}
    assert measured(trials, search(replayable=False)).started == 4
