"""Which Policies judge, and what follows from what they say."""

from __future__ import annotations

from typing import Any

import pytest
from modelyard.api.policy import Environment, Gate, PolicySpec
from modelyard.judge.gate import Judgement, Problem, failed_tests, gate_state, matches
from modelyard.judge.gate_input import gate_input
from modelyard.judge.rego import Decision

DIGEST = "sha256:" + "0" * 64
ALLOWED = Decision(True)
DENIED = Decision(False, ("too low",))
UNAVAILABLE = Problem("PolicyEngineUnavailable", ("no answer",))
TESTS_FAILED = Problem("PolicyTestsFailed", ("test a: allowed, must be denied",))


def spec(**fields: Any) -> PolicySpec:
    rule = {"name": "r", "path": "object.name", "operator": "Exists", "value": True}
    return PolicySpec.model_validate({"gates": ["deploy"], "rules": [rule], **fields})


def judged(policy: str, outcome: Decision | Problem, enforcement: str = "Deny") -> Judgement:
    return Judgement(policy, spec(enforcement=enforcement), DIGEST, outcome)


@pytest.mark.parametrize(
    ("fields", "gate", "environment", "labels", "stage", "expected"),
    [
        ({}, "deploy", "development", {}, None, True),
        ({}, "train", "development", {}, None, False),
        ({"gates": ["train", "deploy"]}, "train", "production", {}, None, True),
        ({"match": {"environments": ["production"]}}, "deploy", "production", {}, None, True),
        ({"match": {"environments": ["production"]}}, "deploy", "staging", {}, None, False),
        ({"match": {"labels": {"tier": "1"}}}, "deploy", "staging", {"tier": "1", "a": "b"}, None, True),
        ({"match": {"labels": {"tier": "1"}}}, "deploy", "staging", {"tier": "2"}, None, False),
        ({"match": {"labels": {"tier": "1"}}}, "deploy", "staging", {}, None, False),
        ({"match": {"stages": ["Production"]}}, "promote", "staging", {}, "Production", True),
        ({"match": {"stages": ["Production"]}}, "promote", "staging", {}, "Staging", False),
        ({"match": {"stages": ["Production"]}}, "deploy", "staging", {}, None, True),
    ],
)  # fmt: skip
def test_a_policy_judges_what_it_matches(
    fields: dict[str, Any],
    gate: Gate,
    environment: Environment,
    labels: dict[str, str],
    stage: str | None,
    expected: bool,
) -> None:
    both = {"gates": ["promote", "deploy"]} if "stages" in fields.get("match", {}) else {}
    assert matches(spec(**both, **fields), gate, environment, labels, stage) is expected


@pytest.mark.parametrize(
    ("judgements", "environment", "is_open", "reason", "message"),
    [
        ([], "development", True, "NoPolicies", "No Policy judges the deploy gate."),
        ([], "production", False, "NoPolicy", "No Policy with enforcement Deny judges the deploy "
         "gate of this production Project; commit one whose spec.gates has deploy."),
        ([judged("w", ALLOWED, "Warn")], "production", False, "NoPolicy", None),
        ([judged("a", ALLOWED)], "production", True, "PoliciesAllow", "1 of 1 Policies allow."),
        ([judged("a", ALLOWED), judged("b", DENIED)], "development", False, "PolicyDenied",
         "Policy b: too low"),
        ([judged("b", DENIED), judged("a", DENIED)], "development", False, "PolicyDenied",
         "Policy a: too low; Policy b: too low"),
        ([judged("w", DENIED, "Warn")], "development", True, "PoliciesAllow",
         "0 of 1 Policies allow, warnings: Policy w: too low"),
        ([judged("w", UNAVAILABLE, "Warn"), judged("a", ALLOWED)], "production", True,
         "PoliciesAllow",
         "1 of 2 Policies allow, warnings: Policy w: PolicyEngineUnavailable: no answer"),
        ([judged("a", UNAVAILABLE)], "development", False, "PolicyEngineUnavailable",
         "Policy a: PolicyEngineUnavailable: no answer"),
        ([judged("a", UNAVAILABLE), judged("b", ALLOWED)], "development", False,
         "PolicyEngineUnavailable", "Policy a: PolicyEngineUnavailable: no answer"),
        ([judged("a", UNAVAILABLE), judged("b", DENIED)], "development", False, "PolicyDenied",
         None),
        ([judged("a", TESTS_FAILED)], "development", False, "PolicyTestsFailed",
         "Policy a: PolicyTestsFailed: test a: allowed, must be denied"),
        ([judged("a", Problem("PolicyInvalid", ("spec.rego:2:1: no",)))], "development", False,
         "PolicyInvalid", "Policy a: PolicyInvalid: spec.rego:2:1: no"),
    ],
)  # fmt: skip
def test_a_gate_opens_only_when_every_denying_policy_allows(
    judgements: list[Judgement],
    environment: Environment,
    is_open: bool,
    reason: str,
    message: str | None,
) -> None:
    state = gate_state("deploy", environment, judgements)
    assert (state.is_open, state.reason) == (is_open, reason)
    assert message is None or state.message == message
    assert {verdict.policy for verdict in state.verdicts} == {j.policy for j in judgements}


@pytest.mark.parametrize("gate", ["dataset", "train", "promote"])
def test_other_gates_are_open_in_production_without_policies(gate: Gate) -> None:
    assert gate_state(gate, "production", []).is_open


def test_verdicts_do_not_depend_on_the_order_of_asking() -> None:
    asked = [judged("c", ALLOWED), judged("a", ALLOWED), judged("b", DENIED)]
    asked.append(judged("w", DENIED, "Warn"))
    state, again = (
        gate_state("deploy", "staging", asked),
        gate_state("deploy", "staging", asked[::-1]),
    )
    assert state == again
    assert [verdict.policy for verdict in state.verdicts] == ["b", "w", "a", "c"]


def test_a_status_holds_twenty_verdicts_and_loses_no_denial() -> None:
    asked = [*(judged(f"a{n:02}", ALLOWED) for n in range(30)), judged("z", DENIED)]
    state = gate_state("deploy", "staging", asked, subject="churn-0123456789")
    assert len(state.verdicts) == 20
    assert state.verdicts[0].to_json() == {
        "gate": "deploy",
        "policy": "z",
        "subject": "churn-0123456789",
        "allowed": False,
        "enforcement": "Deny",
        "reasons": ["too low"],
        "policyDigest": DIGEST,
    }


def test_a_message_names_three_reasons_and_says_where_the_others_are() -> None:
    many = Decision(False, ("a", "b", "c", "d"))
    state = gate_state("deploy", "staging", [judged("p", many)])
    assert state.message == "Policy p: a; b; c; and more in status.verdicts"
    assert state.verdicts[0].reasons == ["a", "b", "c", "d"]


def test_failed_tests_of_a_policy_are_told() -> None:
    tests = [
        {"name": n, "input": {}, "allow": a} for n, a in [("x", True), ("y", False), ("z", True)]
    ]
    assert failed_tests(spec(tests=tests), [DENIED, ALLOWED, ALLOWED]) == (
        "test x: denied, must be allowed; too low",
        "test y: allowed, must be denied",
    )


PROJECT = {
    "metadata": {"name": "churn", "labels": {"unit": "sales"}},
    "spec": {
        "environment": "production",
        "owners": ["a@example.org"],
        "connections": [{"name": "lake", "type": "S3", "secretRef": {"name": "lake-credentials"}}],
    },
}
DATASET = {
    "kind": "Dataset",
    "metadata": {
        "name": "customers",
        "namespace": "default",
        "annotations": {
            "team": "x",
            "modelyard.dev/source-revision": "abc",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        },
    },
    "spec": {"source": {"path": "a.csv"}},
    "status": {
        "fingerprint": "sha256:1",
        "preview": ["{\"name\": \"Ann\"}"],
        "verdicts": [{"policy": "p"}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2024-01-01"}],
    },
}  # fmt: skip


def test_the_input_of_a_gate_has_what_policies_need_and_nothing_more() -> None:
    assert gate_input("dataset", PROJECT, DATASET) == {
        "gate": "dataset",
        "project": {
            "name": "churn",
            "environment": "production",
            "owners": ["a@example.org"],
            "labels": {"unit": "sales"},
        },
        "object": {
            "kind": "Dataset",
            "name": "customers",
            "namespace": "default",
            "labels": {},
            "annotations": {"team": "x"},
            "spec": {"source": {"path": "a.csv"}},
            "status": {
                "fingerprint": "sha256:1",
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        },
    }


def test_related_objects_stand_beside_the_judged_one() -> None:
    version = {"kind": "ModelVersion", "metadata": {"name": "v", "namespace": "n"}}
    document = gate_input(
        "promote",
        PROJECT,
        version,
        dataset=DATASET,
        experiment={"metadata": {"name": "e"}, "spec": {"seed": 1}},
        model_version=version,
        target_stage="Staging",
    )
    assert document["modelVersion"] == {"name": "v", "spec": {}, "status": {}, "stage": "None"}
    assert document["experiment"] == {"name": "e", "spec": {"seed": 1}, "status": {}}
    assert document["dataset"]["name"] == "customers"
    assert "preview" not in document["dataset"]["status"]
    assert document["targetStage"] == "Staging"


def test_a_project_that_says_nothing_is_development_without_owners() -> None:
    document = gate_input("train", {"metadata": {"name": "p"}}, DATASET)
    assert document["project"] == {
        "name": "p",
        "environment": "development",
        "owners": [],
        "labels": {},
    }
