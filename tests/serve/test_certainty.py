"""What training decided is served: the threshold, and how sure a prediction is."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from modelyard.api.smoke_test import SmokeTest
from modelyard_runtimes.model.format import ConformalDocument
from modelyard_runtimes.serve.predictor import Predictor
from modelyard_runtimes.serve.smoke_test import smoke_test_failures

NAME = "churn"
PREDICT, INFER = f"/v1/models/{NAME}:predict", f"/v2/models/{NAME}/infer"
AGES = [-100, 20, 35, 45, 200]
RADIUS = 0.75
CONFORMAL = ConformalDocument(coverage=0.9, radius=RADIUS)
REGRESSION = {"task": "Regression", "classes": [], "positive_label": None}


def row(age: float) -> dict[str, Any]:
    return {"age": age, "member": True, "plan": "gold"}


def predicted(client: httpx.Client, ages: list[int]) -> list[Any]:
    response = client.post(PREDICT, json={"instances": [row(age) for age in ages]})
    assert response.status_code == 200, response.text
    found: list[Any] = response.json()["predictions"]
    return found


def rounded(predictions: list[Any]) -> Any:
    """Return predictions without what the order of a sum decides, which one row and many may have."""
    return json.loads(json.dumps(predictions), parse_float=lambda text: round(float(text), 12))


def tensors(client: httpx.Client) -> dict[str, Any]:
    columns = {
        "age": ("INT64", AGES),
        "member": ("BOOL", [True] * 5),
        "plan": ("BYTES", ["gold"] * 5),
    }
    inputs = [
        {"name": name, "datatype": datatype, "shape": [5], "data": data}
        for name, (datatype, data) in columns.items()
    ]
    answer = client.post(INFER, json={"inputs": inputs}).json()
    return {output["name"]: output for output in answer["outputs"]}


def declared(client: httpx.Client) -> dict[str, Any]:
    """Return shape and type of what the metadata promises, by name."""
    outputs = client.get(f"/v2/models/{NAME}").json()["outputs"]
    return {output["name"]: (output["datatype"], output["shape"]) for output in outputs}


def test_a_value_comes_with_its_interval_where_intervals_were_declared(
    serve: Any, model_document: Any
) -> None:
    with serve(model_document(**REGRESSION, conformal=CONFORMAL)).client() as client:
        together, alone = predicted(client, AGES), [predicted(client, [age])[0] for age in AGES]
        by_output, promised = tensors(client), declared(client)

    assert rounded(together) == rounded(alone)
    for prediction in together:
        value = prediction["value"]
        assert prediction["interval"] == [value - RADIUS, value + RADIUS]
    assert by_output["prediction"]["data"] == [one["value"] for one in together]
    assert by_output["interval"]["data"] == [end for one in together for end in one["interval"]]
    assert by_output["interval"]["shape"] == [5, 2]
    assert promised == {"prediction": ("FP64", [-1]), "interval": ("FP64", [-1, 2])}


def test_a_class_comes_with_all_that_the_row_may_have(serve: Any, model_document: Any) -> None:
    with serve(model_document(conformal=CONFORMAL)).client() as client:
        together, alone = predicted(client, AGES), [predicted(client, [age])[0] for age in AGES]
        by_output, promised = tensors(client), declared(client)

    assert rounded(together) == rounded(alone)
    for prediction in together:
        inside = [name for name, share in prediction["probabilities"].items() if share >= 0.25]
        assert prediction["plausible"] == inside
    assert [len(prediction["plausible"]) for prediction in together] == [1, 2, 2, 2, 1]
    assert by_output["plausible"]["data"] == [
        name in prediction["plausible"] for prediction in together for name in ("no", "yes")
    ]
    assert by_output["plausible"]["parameters"] == {"classes": "no,yes"}
    assert promised["plausible"] == ("BOOL", [-1, 2])


def test_the_predicted_class_is_plausible_however_sure_the_model_wants_to_be() -> None:
    narrow = ConformalDocument(coverage=0.5, radius=0.1)

    assert narrow.plausible([0.3, 0.4, 0.3], chosen=1) == [False, True, False]
    assert narrow.plausible([0.08, 0.92], chosen=0) == [True, True]


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [
        pytest.param(0.1, ["no", "yes", "yes", "yes", "yes"], id="low"),
        pytest.param(0.5, ["no", "no", "no", "yes", "yes"], id="usual"),
        pytest.param(0.9, ["no", "no", "no", "no", "yes"], id="high"),
    ],
)
def test_the_threshold_decides_over_every_protocol(
    serve: Any, model_document: Any, threshold: float, labels: list[str]
) -> None:
    document = model_document(threshold=threshold, conformal=CONFORMAL)
    with serve(document).client() as client:
        together, alone = predicted(client, AGES), [predicted(client, [age])[0] for age in AGES]
        by_output = tensors(client)

    assert [prediction["label"] for prediction in together] == labels
    assert [prediction["label"] for prediction in alone] == labels
    assert by_output["label"]["data"] == labels
    plausible = iter(by_output["plausible"]["data"])
    for prediction, inside in zip(together, zip(plausible, plausible, strict=True), strict=True):
        assert prediction["label"] in prediction["plausible"]
        assert inside[("no", "yes").index(prediction["label"])]


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        pytest.param({"minimum": -10, "maximum": 10}, "", id="in its range"),
        pytest.param({"minimum": 10}, "expected at least 10", id="too small"),
        pytest.param({"label": "yes"}, "a regression has none", id="a label"),
    ],
)
def test_a_smoke_test_means_the_value_beside_its_interval(
    configure: Any, read_model: Any, model_document: Any, expect: dict[str, Any], said: str
) -> None:
    document = model_document(**REGRESSION, conformal=CONFORMAL)
    predictor = Predictor(read_model(configure(document)))
    check = {"name": "gold", "instance": row(30), "expect": expect}
    failures = smoke_test_failures(SmokeTest.model_validate({"checks": [check]}), predictor)

    assert said in "".join(failures)
    assert bool(failures) == bool(said)
