"""Whether the shared server of a namespace serves a model as its entry says, by its own answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from modelyard.api.runtime import LoadFailure, ServeConfig, ServedModel
from modelyard.judge.conditions import Readiness, progressing, ready_condition, sentence, stalled
from modelyard.judge.serving import (
    STEPS,
    Answers,
    Serving,
    probe_url,
    ready_servers,
    smoke_test_failed,
    steps,
    trouble,
)


def judge_shared(
    service: dict[str, Any] | None,
    answers: Answers,
    wanted: ServeConfig,
    pods: Sequence[dict[str, Any]] = (),
    checks: int = 0,
) -> Serving:
    """Return whether the shared server serves what a Deployment wants, and what it serves of it.

    Args:
        service: Its InferenceService.
        answers: What it answers to the question whether this model is ready.
        wanted: The entry of the Deployment.
        pods: Pods of the namespace, which say more of a server that does not start.
        checks: Number of checks in the smoke test.
    """
    model = answers.models[0] if answers.models else None
    passed, why_not = _progress(service, answers, wanted, pods)
    if why_not is not None and model is not None:
        until = f"{sentence(why_not.message)} {_earlier(model, wanted)} serves until it does."
        why_not = replace(why_not, message=until)
    found = service or {}
    url = (found.get("status") or {}).get("url")
    facts = steps(passed, why_not, checks)
    return Serving(why_not is None, url, model, why_not, facts, ready_servers(found))


def _progress(
    service: dict[str, Any] | None,
    answers: Answers,
    wanted: ServeConfig,
    pods: Sequence[dict[str, Any]],
) -> tuple[int, Readiness | None]:
    """Return how many steps are done, and what keeps the next one from being."""
    if service is None:
        return 0, progressing("Starting", "The shared model server is being started.")
    if any(model.revision == wanted.revision for model in answers.models):
        return len(STEPS), None
    if answers.failure is not None and answers.failure.revision == wanted.revision:
        return _failed(answers.failure, wanted)
    name = service["metadata"]["name"]
    if ready_condition(service).get("status") != "True":
        passed, why_not = trouble(service, pods)
        return passed, replace(why_not, message=f"InferenceService {name}: {why_not.message}")
    message = f"The shared model server {name} has not taken up {wanted.model_version} yet"
    if answers.problem:
        message = f"{message}: at {probe_url(service)} {answers.problem}"
    return 0, progressing("Loading", f"{message}.")


def _failed(failure: LoadFailure, wanted: ServeConfig) -> tuple[int, Readiness]:
    if failure.reason == "SmokeTestFailed":
        return 1, smoke_test_failed(wanted.model_version, failure.message)
    message = f"The shared model server cannot load {wanted.model_version}: {failure.message}"
    return 0, stalled(failure.reason, sentence(message))


def _earlier(model: ServedModel, wanted: ServeConfig) -> str:
    """Name what answers meanwhile: by its version alone, the one that fails could be meant."""
    same = model.model_version == wanted.model_version
    return f"{'The earlier configuration of ' if same else ''}{model.model_version}"
