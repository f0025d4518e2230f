"""Where a run stands: a record or a failure is final, whatever became of the child."""

from typing import Any

import pytest
from modelyard.api.artifacts import Failure
from modelyard.api.runtime import UNTOLD_STATUS
from modelyard.judge.run import RETRY_SECONDS, RunFacts, child_state, judge_run

FAILURE = Failure(reason="UnreadableSource", message="spec.source.path: no such file.")
PASSING = Failure(reason="UnreadableSource", message="spec.source.uri: wrong keys", retryable=True)
UNTOLD = f"main: Error (exit code {UNTOLD_STATUS})"


def workflow(phase: str | None, message: str = "") -> dict[str, Any]:
    status = {"phase": phase, "message": message} if phase else {}
    return {"kind": "Workflow", "metadata": {"name": "w"}, "spec": {}, "status": status}


def facts(**changes: Any) -> RunFacts:
    base: dict[str, Any] = {
        "identity": "0" * 64,
        "child_name": "w",
        "recorded": False,
        "failure": None,
        "child": None,
    }
    return RunFacts(**(base | changes))


@pytest.mark.parametrize(
    ("given", "state", "reason", "starts"),
    [
        pytest.param(facts(), "Waiting", "SearchRunning", True, id="nothing yet: it starts"),
        pytest.param(
            facts(child=workflow("Running")), "Running", "SearchRunning", True, id="a running child"
        ),
        pytest.param(facts(recorded=True), "Succeeded", None, False, id="a record, the child gone"),
        pytest.param(
            facts(recorded=True, child=workflow("Failed")), "Succeeded", None, False,
            id="a record, whatever the child says",
        ),
        pytest.param(
            facts(recorded=True, cancelled=True), "Succeeded", None, False,
            id="a record, cancelled too late",
        ),
        pytest.param(
            facts(failure=FAILURE), "Failed", "UnreadableSource", False, id="a stored failure"
        ),
        pytest.param(
            facts(failure=PASSING), "Waiting", "UnreadableSource", True,
            id="a passing failure, its child cleared: it starts again",
        ),
        pytest.param(
            facts(failure=PASSING, child=workflow("Running")), "Running", "UnreadableSource", True,
            id="a passing failure, tried again",
        ),
        pytest.param(
            facts(failure=PASSING, child=workflow("Failed")), "Waiting", "UnreadableSource", False,
            id="a passing failure, resting",
        ),
        pytest.param(
            facts(child=workflow("Failed", UNTOLD)), "Waiting", "StoreUnavailable", False,
            id="a failure that the store did not take",
        ),
        pytest.param(
            facts(failure=PASSING, cancelled=True, child=workflow("Failed")), "Failed",
            "Cancelled", False, id="a passing failure, cancelled",
        ),
        pytest.param(
            facts(child=workflow("Failed", "exit code 137")), "Failed", "ChildFailed", False,
            id="a child that failed",
        ),
        pytest.param(
            facts(child=workflow("Error")), "Failed", "ChildFailed", False, id="a child in error"
        ),
        pytest.param(
            facts(child=workflow("Succeeded")), "Failed", "RecordMissing", False,
            id="a child that left no record",
        ),
        pytest.param(
            facts(cancelled=True, child=workflow("Running")), "Failed", "Cancelled", False,
            id="cancelled",
        ),
        pytest.param(
            facts(suspended=True), "Waiting", "Suspended", False, id="suspended before the start"
        ),
        pytest.param(
            facts(suspended=True, child=workflow("Running")), "Waiting", "Suspended", False,
            id="suspended while running",
        ),
    ],
)  # fmt: skip
def test_a_run_is(given: RunFacts, state: str, reason: str | None, starts: bool) -> None:
    verdict = judge_run(given, "search")
    assert verdict.state == state
    assert (verdict.readiness.reason if verdict.readiness else None) == reason
    assert verdict.start == starts
    assert verdict.status(given, "1.0").identity == given.identity


@pytest.mark.parametrize(
    ("given", "looks"),
    [
        pytest.param(facts(child=workflow("Running")), True, id="a run makes progress"),
        pytest.param(facts(failure=PASSING, child=workflow("Failed")), True, id="a failure rests"),
        pytest.param(facts(), False, id="a child that starts tells so itself"),
        pytest.param(facts(child=workflow("Pending")), False, id="so does one that waits"),
        pytest.param(facts(failure=FAILURE), False, id="a failure is final"),
        pytest.param(facts(suspended=True), False, id="what is suspended waits for its spec"),
    ],
)
def test_only_what_time_alone_may_change_is_looked_at_again(given: RunFacts, looks: bool) -> None:
    assert judge_run(given, "search").look_again == looks


def test_a_failure_that_only_the_operator_saw_is_to_be_stored() -> None:
    seen = judge_run(facts(child=workflow("Failed", "exit code 137")), "search")
    assert seen.failure_to_record is not None
    assert "exit code 137" in seen.failure_to_record.message
    assert judge_run(facts(failure=FAILURE), "search").failure_to_record is None


@pytest.mark.parametrize(("rested", "cleared"), [(0.0, False), (RETRY_SECONDS, True)])
def test_a_passing_failure_is_tried_again_after_a_rest(rested: float, cleared: bool) -> None:
    verdict = judge_run(facts(failure=PASSING, child=workflow("Failed"), rested=rested), "snapshot")
    assert verdict.clear_child == cleared
    assert verdict.failure_to_record is None


def test_a_failed_run_says_what_makes_it_run_again() -> None:
    readiness = judge_run(facts(failure=FAILURE), "search").readiness
    assert readiness is not None
    assert "spec.run.token" in readiness.message


def test_suspending_takes_the_child_away() -> None:
    assert judge_run(facts(suspended=True, child=workflow("Running")), "search").clear_child
    assert not judge_run(facts(suspended=True), "search").clear_child


@pytest.mark.parametrize(
    ("status", "state"),
    [
        pytest.param({}, "Pending", id="just created"),
        pytest.param({"jobStatus": "RUNNING"}, "Running", id="running"),
        pytest.param({"jobStatus": "SUCCEEDED"}, "Succeeded", id="succeeded"),
        pytest.param({"jobStatus": "FAILED", "message": "x"}, "Failed", id="failed"),
        pytest.param({"jobStatus": "STOPPED"}, "Failed", id="stopped"),
        pytest.param({"jobDeploymentStatus": "Failed"}, "Failed", id="cluster failed"),
    ],
)
def test_the_state_of_a_rayjob_is_read_from(status: dict[str, Any], state: str) -> None:
    assert child_state({"kind": "RayJob", "metadata": {}, "status": status})[0] == state


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        pytest.param("no such file", "no such file.", id="without a full stop"),
        pytest.param("no such file.", "no such file.", id="with one"),
        pytest.param("did you mean 'a'?", "did you mean 'a'?", id="a question"),
    ],
)
def test_a_failure_is_told_in_whole_sentences(told: str, sentence: str) -> None:
    found = judge_run(facts(failure=Failure(reason="UnreadableSource", message=told)), "snapshot")
    assert found.readiness is not None
    end = "Nothing runs again until the data, the spec or spec.run.token changes."
    assert found.readiness.message == f"{sentence} {end}"


def test_a_missing_secret_is_named_and_waited_for() -> None:
    child = workflow("Pending", 'CreateContainerConfigError: secret "key" not found')
    found = judge_run(facts(child=child), "snapshot")
    assert found.start
    assert found.readiness is not None
    assert (found.readiness.state, found.readiness.reason) == ("Progressing", "SecretMissing")
    assert 'secret "key" not found; create the Secret' in found.readiness.message
