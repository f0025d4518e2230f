"""Servers that are no MLflow, or refuse: each is an error that names the server and no secret."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from modelyard.adapters.mlflow import MLflowTracker
from modelyard.ports.tracking import TrackedRun, TrackingUnavailable

RUN = TrackedRun("n/e", "e-1", "1", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", {}, [], {})
TOKEN = {"MLFLOW_TRACKING_TOKEN": "not-to-be-told"}
LOGIN = {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "not-to-be-told"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(web.Response, "does not answer as MLflow", id="nothing"),
        pytest.param(lambda: web.json_response({}), "does not answer as MLflow", id="no fields"),
        pytest.param(lambda: web.json_response([1]), "does not answer as MLflow", id="a list"),
        pytest.param(lambda: web.Response(text="<html>"), "Expecting value", id="a web page"),
        pytest.param(
            lambda: web.json_response({"message": "who are you?"}, status=401),
            "401 who are you?",
            id="refused",
        ),
        pytest.param(lambda: web.Response(status=503), "answered 503", id="overloaded"),
        pytest.param(
            lambda: web.json_response({}, status=302, headers={"location": "http://other"}),
            "answered 302",
            id="elsewhere",
        ),
        pytest.param(
            lambda: web.json_response(
                {"experiment": {"experiment_id": "1", "lifecycle_stage": "deleted"}}
            ),
            "experiment n/e is deleted there",
            id="deleted",
        ),
    ],
)
@pytest.mark.parametrize(
    ("credentials", "scheme"),
    [
        pytest.param(TOKEN, "Bearer not-to-be-told", id="token"),
        pytest.param(LOGIN, "Basic ", id="password"),
    ],
)
async def test_what_a_server_answers_wrongly_is_named(
    answer: Callable[[], web.Response], said: str, credentials: dict[str, str], scheme: str
) -> None:
    seen: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        seen.append(request.headers["authorization"])
        return answer()

    async with RawTestServer(handle) as server:
        url = str(server.make_url("")).rstrip("/")
        with pytest.raises(TrackingUnavailable) as error:
            await MLflowTracker().track(url, credentials, RUN)
    assert url in str(error.value)
    assert said in str(error.value)
    assert "not-to-be-told" not in str(error.value)
    assert seen[-1].startswith(scheme)
