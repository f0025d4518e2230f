"""The smoke test: what the model must answer before the server says that it is ready.

It runs inside the server, on the code that answers V1 requests, and is neither counted nor logged:
its instances are no traffic that a Monitor should see. Since no server that fails it becomes ready,
no rollout ever sends it a request, and the earlier version goes on serving.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from modelyard.api.smoke_test import Expectation, SmokeCheck, SmokeTest

from modelyard_runtimes.model.format import category_text
from modelyard_runtimes.serve.http import RequestError
from modelyard_runtimes.serve.instances import parse_instances, predict_instances
from modelyard_runtimes.serve.predictor import Predictor

OK = 200


def smoke_test_failures(smoke_test: SmokeTest | None, predictor: Predictor) -> list[str]:
    """Return what was answered otherwise than expected, by check; nothing when all is well."""
    checks = smoke_test.checks if smoke_test is not None else []
    return [failure for check in checks for failure in _failures(check, predictor)]


def _failures(check: SmokeCheck, predictor: Predictor) -> Iterator[str]:
    status, answer = _ask(check.instance, predictor)
    expected = _expected(check.expect, status, answer)
    if expected:
        shown = answer if isinstance(answer, str) else orjson.dumps(answer).decode()
        yield f"check {check.name}: answered {status} {shown}, expected {expected}"


def _ask(instance: dict[str, Any], predictor: Predictor) -> tuple[int, Any]:
    """Return the status and the prediction or the refusal."""
    try:
        columns = parse_instances({"instances": [instance]}, predictor)
        return OK, predict_instances(columns, predictor).to_json()[0]
    except RequestError as refusal:
        return refusal.status, refusal.message


def _expected(expect: Expectation, status: int, answer: Any) -> str:
    """Return what was expected and did not come; nothing when all did."""
    if status != expect.status:
        return f"the status {expect.status}"
    if status != OK:
        return ""
    classified = isinstance(answer, dict) and "label" in answer
    if expect.label is not None and not classified:
        return f"the label {expect.label}, and a regression has none"
    if expect.label is not None and category_text(answer["label"]) != expect.label:
        return f"the label {expect.label}"
    number = _number(answer)
    if expect.minimum is not None and number < expect.minimum:
        return f"at least {expect.minimum}"
    if expect.maximum is not None and number > expect.maximum:
        return f"at most {expect.maximum}"
    return ""


def _number(answer: Any) -> Any:
    """Return the score of a class, or the value of a regression."""
    if not isinstance(answer, dict):
        return answer
    return answer["score"] if "score" in answer else answer["value"]
