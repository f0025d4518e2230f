"""Whatever JSON comes in: an answer or a refusal that is the client's to read, nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow.csv as pv
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modelyard_runtimes.serve.explanations import explanations
from modelyard_runtimes.serve.http import RequestError
from modelyard_runtimes.serve.instances import parse_instances, predict_instances
from modelyard_runtimes.serve.predictor import Predictor
from modelyard_runtimes.serve.tensors import output_tensors, parse_tensors, predict_tensors
from modelyard_runtimes.serve.upload_format import UploadFormat, open_lines

NAMES = st.sampled_from(["age", "income", "member", "plan", "email", "phone", "since", "other"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["2026-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
WHOLE = st.fixed_dictionaries(
    {"age": SCALARS, "member": SCALARS, "plan": SCALARS},
    optional={"since": SCALARS, "income": SCALARS, "email": SCALARS},
)
INSTANCES = st.fixed_dictionaries({"instances": st.lists(WHOLE | VALUES, max_size=3) | VALUES})
TENSORS = st.fixed_dictionaries(
    {
        "name": NAMES | VALUES,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | VALUES,
        "datatype": st.sampled_from(["FP64", "BYTES", "BOOL", "INT8"]) | VALUES,
        "data": st.lists(SCALARS, max_size=4) | VALUES,
    },
    optional={"parameters": VALUES},
)
INFERS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=4) | VALUES}, optional={"outputs": VALUES}
)
ANYTHING = st.dictionaries(st.text(max_size=9), VALUES, max_size=2)


@pytest.fixture
def predictor(configure: Any, read_model: Any) -> Predictor:
    return Predictor(read_model(configure()))


SEEDED = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@SEEDED
@given(body=INSTANCES | ANYTHING)
def test_v1(predictor: Predictor, body: dict[str, Any]) -> None:
    with contextlib.suppress(RequestError):
        predictions = predict_instances(parse_instances(body, predictor), predictor)
        assert len(predictions.to_json()) == len(body["instances"])


@settings(SEEDED, max_examples=100)
@given(body=INSTANCES)
def test_explanations(predictor: Predictor, body: dict[str, Any]) -> None:
    with contextlib.suppress(RequestError):
        rows = parse_instances(body, predictor)
        found = explanations(rows, predict_instances(rows, predictor), predictor)
        numbers = [
            number for one in found for number in (one["base"], *one["contributions"].values())
        ]
        assert len(found) == len(rows)
        assert all(map(math.isfinite, numbers))


@SEEDED
@given(body=INFERS | ANYTHING)
def test_v2(predictor: Predictor, body: dict[str, Any]) -> None:
    with contextlib.suppress(RequestError):
        predictions = predict_tensors(parse_tensors(body, predictor), predictor)
        assert output_tensors(predictions, body)[0]["shape"][0] == len(predictions.values)


def tensor(name: str, datatype: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return tensors of a feature, often of one value such as it takes."""
    return st.fixed_dictionaries(
        {
            "name": st.just(name),
            "shape": st.just([1]),
            "datatype": st.just(datatype),
            "data": st.lists(values, min_size=1, max_size=1) | st.lists(SCALARS, max_size=2),
        }
    )


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.none()
NEARLY_WHOLE = st.fixed_dictionaries(
    {"age": NUMBERS, "member": st.booleans() | st.none(), "plan": st.text(max_size=5)},
    optional={"income": SCALARS, "since": SCALARS, "email": SCALARS},
)
NEARLY_INSTANCES = st.fixed_dictionaries(
    {"instances": st.lists(NEARLY_WHOLE, min_size=1, max_size=3)}
)
NEARLY_INFERS = st.fixed_dictionaries(
    {
        "inputs": st.tuples(
            tensor("age", "FP64", NUMBERS),
            tensor("member", "BOOL", st.booleans()),
            tensor("plan", "BYTES", st.text(max_size=5)),
        ).map(list)
    }
)
V1_BODIES = NEARLY_INSTANCES | INSTANCES | ANYTHING
V2_BODIES = NEARLY_INFERS | INFERS | ANYTHING
PATHS = {
    "V1": ("/v1/models/churn:predict", V1_BODIES),
    "alias": ("/v1/inference/churn:predict", V1_BODIES),
    "V2": ("/v2/models/churn/infer", V2_BODIES),
}


@pytest.fixture(scope="module")
def served(module_serve: Any) -> Any:
    return module_serve()


@pytest.mark.parametrize(("path", "bodies"), PATHS.values(), ids=list(PATHS))
def test_a_server_answers_or_refuses_over_http(
    served: Any, path: str, bodies: st.SearchStrategy[dict[str, Any]]
) -> None:
    found: Counter[int] = Counter()
    with served.client() as client:

        @SEEDED
        @given(body=bodies)
        def ask(body: dict[str, Any]) -> None:
            response = client.post(path, content=json.dumps(body))
            found[response.status_code] += 1
            assert response.status_code in {200, 400}, response.text
            assert ("error" in response.json()) == (response.status_code == 400)

        ask()
        good = {"instances": [{"age": 30, "member": True, "plan": "gold"}]}
        assert client.post("/v1/models/churn:predict", json=good).status_code == 200

    assert min(found[200], found[400]) > 20, found
    assert served.process.poll() is None


TEXTS = st.text(max_size=4) | st.sampled_from(
    ['"', '""', ",", "\n", "\r\n", "30", "true", "\ufeff"]
)
CSV_LINES = st.lists(st.lists(TEXTS, max_size=5).map(",".join), max_size=8).map("\n".join)
JSON_LINES = st.lists(
    (NEARLY_WHOLE | VALUES).map(json.dumps) | st.text(max_size=6), max_size=8
).map("\n".join)
UPLOADS: dict[UploadFormat, tuple[str, st.SearchStrategy[str]]] = {
    "CSV": ("age,member,plan\n30,true,gold\n", CSV_LINES),
    "JSON lines": ('{"age": 30, "member": true, "plan": "gold"}\n', JSON_LINES),
}


def scored(predictor: Predictor, kind: UploadFormat, blocks: Iterable[bytes]) -> bytes:
    """Return the answer to an upload that comes in these blocks."""
    lines = open_lines(kind, predictor, lambda ask: ask(), lambda _: None)
    parts = [answer for block in blocks for answer in lines.take(block)] + list(lines.last())
    return b"".join(answer.lines for answer in parts)


@pytest.mark.parametrize("kind", UPLOADS)
def test_uploads_have_an_answer_for_each_row_wherever_they_are_cut(
    predictor: Predictor, kind: UploadFormat
) -> None:
    first, rest = UPLOADS[kind]

    @settings(SEEDED, max_examples=150)
    @given(text=rest, cut=st.integers(0, 60))
    def upload(text: str, cut: int) -> None:
        body = (first + text).encode("utf-8", "surrogatepass")
        whole = scored(predictor, kind, [body])
        start = len(first)
        cuts = [body[:start], body[start : start + cut], body[start + cut :]]
        found = scored(predictor, kind, cuts)
        if kind == "JSON lines":
            assert found == whole
            rows = [json.loads(line) for line in whole.splitlines()]
            assert [row["row"] for row in rows] == list(range(len(rows)))
            assert len(rows) == sum(1 for line in body.split(b"\n") if line and not line.isspace())
        else:
            table = pv.read_csv(io.BytesIO(whole))
            assert table["row"].to_pylist() == list(range(len(table)))
            if b'"' not in body:
                assert found == whole

    upload()
