"""`:explain` says what each feature adds to a prediction, and does nothing else with the request."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from modelyard.api.explainer import Explainer

from tests.bench import servers
from tests.serve.test_overload import answers

NAME = "churn"
MOST_ROWS = Explainer().max_rows
PREDICT, EXPLAIN = f"/v1/models/{NAME}:predict", f"/v1/models/{NAME}:explain"
ADDITIVITY = 1e-6


def row(**changes: Any) -> dict[str, Any]:
    return {"age": 30, "income": 2000.5, "member": True, "plan": "gold", **changes}


ROWS = [row(), row(age=61, income=None, member=False, plan="never seen"), row(age=-20)]


@pytest.fixture(scope="module")
def client(module_serve: Any) -> Iterator[httpx.Client]:
    with module_serve().client() as client:
        yield client


def explained(client: httpx.Client, rows: Any) -> dict[str, Any]:
    response = client.post(EXPLAIN, json={"instances": rows})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def total(explanation: dict[str, Any]) -> float:
    return float(explanation["base"] + sum(explanation["contributions"].values()))


MODELS: dict[str, dict[str, Any]] = {
    "two classes": {},
    "two classes, calibrated": {"calibration": [{"slope": 0.5, "intercept": -1.0}]},
    "three classes": {"classes": ["a", "b", "c"], "positive_label": None},
    "regression": {"task": "Regression", "classes": [], "positive_label": None},
}


@pytest.mark.parametrize("changes", MODELS.values(), ids=list(MODELS))
def test_base_and_contributions_add_up_to_what_is_predicted(
    serve: Any, model_document: Any, changes: dict[str, Any]
) -> None:
    with serve(model_document(**changes)).client() as client:
        found = explained(client, ROWS)
        predicted = client.post(PREDICT, json={"instances": ROWS}).json()["predictions"]

    assert found["predictions"] == predicted
    assert len(found["explanations"]) == len(ROWS)
    for explanation, prediction in zip(found["explanations"], predicted, strict=True):
        assert len(explanation["contributions"]) == 7
        if explanation["unit"] == "value":
            expected = prediction
        else:
            expected = prediction["probabilities"][explanation["label"]]
        assert total(explanation) == pytest.approx(expected, abs=ADDITIVITY)


def test_of_two_classes_the_positive_one_is_explained(client: httpx.Client) -> None:
    assert {found["label"] for found in explained(client, ROWS)["explanations"]} == {"yes"}


def test_of_three_classes_the_predicted_one_is_explained(serve: Any, model_document: Any) -> None:
    three = model_document(classes=["a", "b", "c"], positive_label=None)
    with serve(three).client() as client:
        found = explained(client, ROWS)
    labels = [prediction["label"] for prediction in found["predictions"]]
    assert [explanation["label"] for explanation in found["explanations"]] == labels


def test_what_a_model_ignores_adds_nothing(client: httpx.Client) -> None:
    (explanation,) = explained(client, [row(since="2026-01-01")])["explanations"]

    assert explanation["contributions"]["since"] == 0
    assert explanation["contributions"]["age"] > 0 > explanation["contributions"]["income"]


REFUSED: dict[str, tuple[Any, str]] = {
    "a value of another type": ([row(age="x")], "instances[0].age: must be a number"),
    "an unknown feature": ([row(x=1)], "'x' is not a feature"),
    "no instances": ([], "instances: expected a list"),
    "more rows than are explained in good time": (
        [row()] * (MOST_ROWS + 1),
        f"one request explains at most {MOST_ROWS}; send them in parts",
    ),
}


@pytest.mark.parametrize(("rows", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_explained_is_refused_as_a_prediction_is(
    client: httpx.Client, rows: Any, message: str
) -> None:
    response = client.post(EXPLAIN, json={"instances": rows})

    assert response.status_code == 400
    assert message in response.json()["error"]


def test_a_deployment_says_how_many_rows_are_explained_in_one_request(serve: Any) -> None:
    with serve(explainer={"maxRows": 2}).client() as client:
        assert len(explained(client, ROWS[:2])["explanations"]) == 2
        refused = client.post(EXPLAIN, json={"instances": ROWS})

    assert refused.status_code == 400
    assert "one request explains at most 2" in refused.json()["error"]


def test_a_deployment_may_give_no_reasons(serve: Any) -> None:
    with serve(explainer={"method": "Disabled"}).client() as client:
        refused = client.post(EXPLAIN, json={"instances": [row()]})
        assert "explain" not in client.get("/").json()
        assert client.post(PREDICT, json={"instances": [row()]}).status_code == 200

    assert refused.status_code == 404
    assert "spec.explainer.method of its Deployment is Disabled" in refused.json()["error"]


def test_questions_are_counted_apart_and_not_logged_as_traffic(serve: Any, tmp_path: Any) -> None:
    served = serve()
    with served.client() as client:
        answer = client.post(
            EXPLAIN, json={"instances": [row()]}, headers={"x-request-id": "mine-7"}
        )
        client.post(EXPLAIN, content=b"{")
        metrics = client.get("/metrics").text
        assert client.get("/").json()["explain"] == EXPLAIN
        assert client.get(EXPLAIN).status_code == 405
    served.stop()

    assert answer.headers["x-request-id"] == "mine-7"
    assert answer.headers["x-modelyard-model-digest"] == served.config.model_digest
    counted = 'modelyard_requests_total{model="churn",protocol="explain",status="%d"} 1.0'
    assert counted % 200 in metrics
    assert counted % 400 in metrics
    assert 'modelyard_predictions_total{model="churn"} 0.0' in metrics
    assert not list((tmp_path / "store" / "payloads").rglob("*.jsonl*"))


async def test_few_explanations_of_many_rows_wait_and_more_get_429(serve: Any) -> None:
    served = serve()
    content = json.dumps({"instances": [row(plan="x" * 300)] * MOST_ROWS}).encode()
    head = f"POST {EXPLAIN} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"

    found = await answers(served.url, [head.encode() + content] * 30)

    assert set(found) == {200, 429}
    assert found[200] >= 4


@pytest.mark.soak
def test_a_row_of_two_hundred_trees_is_explained_within_half_a_second(tmp_path: Path) -> None:
    servers.write_model(tmp_path / "model.txt")
    taken: list[float] = []
    with servers.started(servers.OURS, tmp_path / "model.txt") as server:
        bodies = servers.bodies(200)
        server.first_answer(bodies[0])
        path = f"http://127.0.0.1:{server.port}/v1/models/{servers.NAME}:explain"
        with httpx.Client() as client:
            for body in bodies:
                since = time.perf_counter()
                answer = client.post(path, content=body).json()
                taken.append(time.perf_counter() - since)
                assert total(answer["explanations"][0]) == pytest.approx(
                    answer["predictions"][0]["probabilities"]["yes"], abs=ADDITIVITY
                )

    print(f"explained: median {sorted(taken)[100]:.4f} s, p95 {sorted(taken)[190]:.4f} s")
    assert sorted(taken)[int(0.95 * len(taken))] < 0.5
