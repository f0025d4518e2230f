"""A model that answers otherwise than expected is never served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from modelyard.adapters.prober import HttpProber
from modelyard.api.runtime import SMOKE_TEST_FAILED, SMOKE_TEST_STATUS
from modelyard.api.smoke_test import SmokeTest
from modelyard_runtimes.serve.predictor import Predictor
from modelyard_runtimes.serve.smoke_test import smoke_test_failures

INSTANCE = {"age": 30, "income": 2000.5, "member": True, "plan": "gold"}


def smoke_test(expect: dict[str, Any], **changes: Any) -> SmokeTest:
    check = {"name": "gold", "instance": INSTANCE | changes, "expect": expect}
    return SmokeTest.model_validate({"checks": [check]})


@pytest.fixture
def classifier(configure: Any, read_model: Any) -> Predictor:
    return Predictor(read_model(configure()))


@pytest.fixture
def regressor(configure: Any, read_model: Any, regression: Any) -> Predictor:
    return Predictor(read_model(configure(regression)))


@pytest.mark.parametrize(
    ("expect", "changes", "said"),
    [
        pytest.param({}, {}, "", id="any prediction"),
        pytest.param({"label": "no"}, {}, "", id="the label"),
        pytest.param({"label": "no", "minimum": 0.5, "maximum": 1}, {}, "", id="label and range"),
        pytest.param({"label": "yes"}, {}, "expected the label yes", id="another label"),
        pytest.param({"minimum": 0.999}, {}, "expected at least 0.999", id="too small"),
        pytest.param({"maximum": 0.001}, {}, "expected at most 0.001", id="too large"),
        pytest.param({"status": 400}, {"age": "old"}, "", id="a refusal"),
        pytest.param({"status": 400}, {}, "answered 200", id="no refusal"),
        pytest.param({}, {"age": "old"}, "answered 400 instances[0].age", id="refused unasked"),
        pytest.param({}, {"shoe": 43}, "'shoe' is not a feature", id="an unknown feature"),
    ],
)
def test_a_classification_is_expected_to_answer(
    classifier: Predictor, expect: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    failures = smoke_test_failures(smoke_test(expect, **changes), classifier)
    assert bool(failures) == bool(said), failures
    assert said in "; ".join(failures)
    assert all(failure.startswith("check gold: answered ") for failure in failures)


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        pytest.param({"minimum": -100, "maximum": 100}, "", id="within the range"),
        pytest.param({"minimum": 100}, "expected at least 100", id="below it"),
        pytest.param({"label": "no"}, "a regression has none", id="a label"),
    ],
)
def test_a_regression_is_expected_to_answer(
    regressor: Predictor, expect: dict[str, Any], said: str
) -> None:
    assert said in "; ".join(smoke_test_failures(smoke_test(expect), regressor))
    assert bool(smoke_test_failures(smoke_test(expect), regressor)) == bool(said)


def test_no_smoke_test_asks_nothing(classifier: Predictor) -> None:
    assert smoke_test_failures(None, classifier) == []


def end(config: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelyard_runtimes.serve", "--port", "0"],
        env={**os.environ, "MODELYARD_CONFIG": json.dumps(config.to_json())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_fails_it_ends_and_says_what_was_answered(
    configure: Callable[..., Any], workers: int
) -> None:
    done = end(configure(smoke_test=smoke_test({"label": "yes"}), workers=workers))
    assert done.returncode == SMOKE_TEST_STATUS
    assert f'{SMOKE_TEST_FAILED}check gold: answered 200 {{"label":"no"' in done.stderr


async def test_the_operator_hears_from_a_server_who_it_is(serve: Any) -> None:
    served = serve(revision="r1")
    found = await HttpProber().served_model(served.url, served.config.name)
    assert found.model_version == served.config.model_version
    assert found.model_digest == served.config.model_digest
    assert found.revision == "r1"


def test_the_checks_are_no_traffic(serve: Any) -> None:
    served = serve(smoke_test=smoke_test({"label": "no"}))
    assert 'protocol="v1"' not in httpx.get(f"{served.url}/metrics").text
