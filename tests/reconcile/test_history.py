"""What a status remembers: the last ten runs, and which version served when."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.experiment import LeaderboardEntry, PastRun
from modelyard.api.meta import SOURCE_REVISION
from modelyard.api.runs import WarmTrial
from modelyard.judge.history import LONGEST_HISTORY, with_run


def revision(commit: str) -> dict[str, Any]:
    return {"annotations": {SOURCE_REVISION: commit}}


async def test_an_experiment_tells_its_runs_with_commit_and_winner_the_latest_first(
    world: Any,
) -> None:
    first = await world.trained()
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 7}, **revision("c2"))
    await world.settle()
    child = world.get("Experiment", "tumor")["status"]["run"]["child"]
    world.set_status("Workflow", child, {"phase": "Running"})
    await world.settle()
    running = world.get("Experiment", "tumor")["status"]["history"]
    assert [past["state"] for past in running] == ["Running", "Succeeded"]

    await world.commit(
        "Experiment", "tumor", spec | {"seed": 7, "description": "d"}, **revision("c3")
    )
    second = await world.finish_experiment("tumor", 0.97)
    await world.settle()
    history = world.get("Experiment", "tumor")["status"]["history"]
    assert [past["modelVersion"] for past in history] == [second, first]
    assert history[0]["bestMetric"] == "0.97"
    assert history[0]["sourceRevision"] == "c2", "the commit that asked for the run"

    await world.commit("Experiment", "tumor", spec, **revision("c4"))
    await world.settle()
    history = world.get("Experiment", "tumor")["status"]["history"]
    assert [past["modelVersion"] for past in history] == [first, second]
    assert "sourceRevision" not in history[0], "it was first asked for without a commit"


async def test_an_experiment_tells_its_pareto_front_and_the_trials_it_reused(world: Any) -> None:
    await world.trained()
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 7})
    await world.settle()
    board = [
        {"rank": n, "trial": str(n), "learner": "Linear", "metric": 0.9, "pareto": n != 2}
        for n in range(1, 30)
    ]
    reused = {"experiment": "other", "identity": "ab", "trial": 3, "learner": "Linear"}
    await world.finish_experiment(
        "tumor",
        leaderboard=[LeaderboardEntry.model_validate(entry) for entry in board],
        warm_start=[
            WarmTrial.model_validate({**reused, "parameters": {"knots": 2}}),
            WarmTrial.model_validate({**reused, "parameters": {"knots": 3}, "tried": False}),
        ],
    )
    await world.settle()
    status = world.get("Experiment", "tumor")["status"]
    assert [entry["rank"] for entry in status["pareto"]] == [1, *range(3, 22)]
    assert status["reusedTrials"] == [reused]


async def test_a_deployment_tells_which_version_served_since_when(world: Any) -> None:
    first = await world.trained()
    await world.commit("Deployment", "api", {"model": {"experiment": "tumor"}}, **revision("c1"))
    await world.settle()
    assert world.get("Deployment", "api")["status"]["history"] == []
    world.serve("api")
    await world.settle()
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 7})
    await world.settle()
    second = await world.finish_experiment("tumor", 0.97)
    world.clock.move(3600)
    await world.settle()
    assert len(world.get("Deployment", "api")["status"]["history"]) == 1, (
        "the servers did not say so"
    )
    world.serve("api")
    await world.settle()
    history = world.get("Deployment", "api")["status"]["history"]
    assert [(past["modelVersion"], past["since"]) for past in history] == [
        (second, "2026-01-01T01:00:00Z"),
        (first, "2026-01-01T00:00:00Z"),
    ]
    digests = [
        world.get("ModelVersion", name)["status"]["artifact"]["digest"] for name in (second, first)
    ]
    assert [past["modelDigest"] for past in history] == digests
    assert history[1]["sourceRevision"] == "c1"


def test_a_run_that_is_asked_for_again_is_the_latest_and_stands_there_once() -> None:
    history: list[PastRun] = []
    for number, name in enumerate("abab"):
        run = PastRun(identity=name, state="Succeeded", source_revision=f"c{number}")
        history = with_run(history, run)
    assert [(past.identity, past.source_revision) for past in history] == [("b", "c1"), ("a", "c0")]


@pytest.mark.parametrize("state", ["Running", "Succeeded", "Failed"])
def test_a_history_is_bounded(state: Any) -> None:
    history: list[PastRun] = []
    for number in range(25):
        history = with_run(history, PastRun(identity=f"{number}", state=state))
    assert [past.identity for past in history] == [str(24 - n) for n in range(LONGEST_HISTORY)]


@pytest.mark.parametrize(
    ("state", "then"),
    [("Running", "Superseded"), ("Succeeded", "Succeeded"), ("Failed", "Failed")],
)
def test_a_run_that_did_not_end_before_the_next_is_superseded(state: Any, then: str) -> None:
    earlier = with_run([], PastRun(identity="earlier", state=state))
    waiting = with_run(earlier, PastRun(identity="next", state="Waiting"))
    assert [past.state for past in waiting] == [then]
    assert [
        past.state for past in with_run(waiting, PastRun(identity="next", state="Running"))
    ] == [
        "Running",
        then,
    ]
