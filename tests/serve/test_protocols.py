"""The protocols of a served model, asked of a real server process."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

NAME = "churn"
VERSION = "churn-0123456789"


@pytest.fixture
def client(serve: Any) -> Iterator[httpx.Client]:
    with serve().client() as client:
        yield client


def row(**changes: Any) -> dict[str, Any]:
    return {"age": 30, "income": 2000.5, "member": True, "plan": "gold", **changes}


def tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


def tensors() -> list[dict[str, Any]]:
    return [
        tensor("age", "INT64", [30, 61]),
        tensor("income", "FP64", [2000.5, None]),
        tensor("member", "BOOL", [True, False]),
        tensor("plan", "BYTES", ["gold", "silver"]),
    ]


def test_every_path_answers_as_the_protocols_say(client: httpx.Client) -> None:
    answers = {
        "/": ("name", NAME),
        "/healthz": ("status", "ok"),
        "/v1/models": ("models", [NAME]),
        f"/v1/models/{NAME}": ("ready", True),
        "/v2": ("name", "modelyard"),
        "/v2/health/live": ("live", True),
        "/v2/health/ready": ("ready", True),
        f"/v2/models/{NAME}": ("versions", [VERSION]),
        f"/v2/models/{NAME}/ready": ("ready", True),
        f"/v2/models/{NAME}/versions/{VERSION}": ("name", NAME),
        f"/v2/models/{NAME}/versions/{VERSION}/ready": ("ready", True),
    }
    for path, (key, value) in answers.items():
        response = client.get(path)
        assert (path, response.status_code) == (path, 200)
        assert response.json()[key] == value, path


def test_v2_metadata_names_inputs_and_outputs_with_their_types(client: httpx.Client) -> None:
    metadata = client.get(f"/v2/models/{NAME}").json()

    assert metadata["inputs"][0] == {"name": "age", "datatype": "FP64", "shape": [-1]}
    assert [output["name"] for output in metadata["outputs"]] == [
        "label",
        "score",
        "probabilities",
    ]


def test_objects_lists_and_tensors_get_the_same_predictions(client: httpx.Client) -> None:
    objects = [row(), row(age=61, income=None, member=False, plan="silver")]
    lists = [
        [30, 2000.5, True, "gold", None, None, None],
        [61, None, False, "silver", None, None, None],
    ]

    by_name = client.post(f"/v1/models/{NAME}:predict", json={"instances": objects}).json()
    by_order = client.post(f"/v1/models/{NAME}:predict", json={"instances": lists}).json()
    alias = client.post(f"/v1/inference/{NAME}:predict", json={"instances": objects}).json()
    outputs = client.post(
        f"/v2/models/{NAME}/infer", json={"id": "my-id", "inputs": tensors()}
    ).json()

    first = by_name["predictions"][0]
    assert first["label"] in first["probabilities"]
    assert first["score"] == first["probabilities"][first["label"]]
    assert math.isclose(sum(first["probabilities"].values()), 1)
    assert by_order == by_name
    assert alias["predictions"] == by_name["predictions"]
    assert (alias["model"], alias["model_version"]) == (NAME, VERSION)
    assert alias["latency_ms"] > 0
    by_output = {output["name"]: output for output in outputs["outputs"]}
    assert outputs["id"] == "my-id"
    assert by_output["label"]["data"] == [row["label"] for row in by_name["predictions"]]
    assert by_output["score"]["data"] == [row["score"] for row in by_name["predictions"]]
    assert by_output["probabilities"]["shape"] == [2, 2]
    assert by_output["probabilities"]["parameters"] == {"classes": "no,yes"}


def test_a_single_matrix_holds_all_features_in_order(client: httpx.Client) -> None:
    data = [[30, 2000.5, 1, 0, 0, 0, None], [61, 10.5, 0, 0, 0, 0, None]]
    body = {"inputs": [{"name": "input-0", "datatype": "FP64", "shape": [2, 7], "data": data}]}

    response = client.post(f"/v2/models/{NAME}/infer", json=body)

    assert response.status_code == 200, response.text
    assert response.json()["outputs"][0]["shape"] == [2]


def test_only_the_outputs_that_are_asked_for_come_back(client: httpx.Client) -> None:
    body = {"inputs": tensors(), "outputs": [{"name": "score"}]}

    outputs = client.post(f"/v2/models/{NAME}/infer", json=body).json()["outputs"]

    assert [output["name"] for output in outputs] == ["score"]


def test_unknown_and_missing_categories_and_nulls_are_predicted(client: httpx.Client) -> None:
    body = {"instances": [row(plan="never seen"), row(plan=None, age=None, member=None), row()]}

    response = client.post(f"/v1/models/{NAME}:predict", json=body)

    assert response.status_code == 200
    assert len({item["score"] for item in response.json()["predictions"]}) == 3


def test_answers_say_which_model_gave_them(serve: Any) -> None:
    served = serve()
    with served.client() as client:
        response = client.get("/healthz", headers={"x-request-id": "mine-7"})
        other = client.get("/healthz", headers={"x-request-id": "not ok \u00e4".encode("latin-1")})

    assert response.headers["x-modelyard-model-version"] == VERSION
    assert response.headers["x-modelyard-model-digest"] == served.config.model_digest
    assert response.headers["x-modelyard-source-revision"] == "abc123"
    assert response.headers["x-request-id"] == "mine-7"
    assert other.headers["x-request-id"].isascii()


def test_regression_answers_with_numbers(serve: Any, regression: Any) -> None:
    with serve(regression).client() as client:
        answer = client.post(f"/v1/models/{NAME}:predict", json={"instances": [row()]}).json()
        outputs = client.post(f"/v2/models/{NAME}/infer", json={"inputs": tensors()}).json()

    assert isinstance(answer["predictions"][0], float)
    assert outputs["outputs"][0]["name"] == "prediction"
    assert outputs["outputs"][0]["data"][0] == pytest.approx(answer["predictions"][0])


def test_metrics_count_requests_rows_and_payloads(client: httpx.Client) -> None:
    client.post(f"/v1/models/{NAME}:predict", json={"instances": [row(), row()]})
    client.post(f"/v1/models/{NAME}:predict", json={"instances": []})
    client.get("/nothing")

    text = client.get("/metrics").text

    def value(sample: str) -> float:
        return float(
            next(line for line in text.splitlines() if line.startswith(sample)).split()[-1]
        )

    assert value('modelyard_requests_total{model="churn",protocol="v1",status="200"}') == 1
    assert value('modelyard_requests_total{model="churn",protocol="v1",status="400"}') == 1
    assert value('modelyard_requests_total{model="churn",protocol="other",status="404"}') == 1
    assert value('modelyard_request_duration_seconds_count{model="churn",protocol="v1"}') == 2
    assert value('modelyard_predictions_total{model="churn"}') == 2
    assert f'version="{VERSION}"' in text
