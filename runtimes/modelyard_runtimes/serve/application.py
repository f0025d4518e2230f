"""The ASGI application: routes, headers, and the two protocols."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import orjson
from modelyard.api.request_counts import NOT_A_PREDICTION
from modelyard.api.runtime import (
    MODEL_DIGEST_HEADER,
    MODEL_VERSION_HEADER,
    SERVER_REVISION_HEADER,
    ServeConfig,
)

from modelyard_runtimes.entry import failure_of, log
from modelyard_runtimes.serve.admission import LARGE_BODY, Admission
from modelyard_runtimes.serve.http import (
    ClientGoneError,
    Header,
    Receive,
    RequestError,
    Response,
    Scope,
    Send,
    body_size,
    check_encoding,
    error_response,
    header,
    json_response,
    parse_json_object,
    read_body,
    shortened,
)
from modelyard_runtimes.serve.instances import parse_instances, predict_instances
from modelyard_runtimes.serve.metrics import CONTENT_TYPE, Metrics
from modelyard_runtimes.serve.payload_log import PayloadLog
from modelyard_runtimes.serve.predictor import Columns, Predictions, Predictor
from modelyard_runtimes.serve.tensors import (
    metadata,
    output_tensors,
    parse_tensors,
    predict_tensors,
)

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_Handler: TypeAlias = Callable[[bytes, str], Response]


class Route(NamedTuple):
    """What answers a path."""

    method: str
    protocol: str
    handler: _Handler


class Application:
    """One model behind KServe V1, V2 and the path `/v1/inference/<name>:predict`.

    Attributes:
        draining: Whether every answer says `Connection: close`, since the process is about to end.
        predictions: Paths of predictions.
    """

    def __init__(
        self, config: ServeConfig, predictor: Predictor, metrics: Metrics, payloads: PayloadLog
    ) -> None:
        """Prepare the routes.

        Args:
            config: Names of model and version, its digest.
            predictor: The loaded model.
            metrics: Where requests are counted.
            payloads: Where requests are logged.
        """
        self.draining = False
        self._config = config
        self._predictor = predictor
        self._metrics = metrics
        self._payloads = payloads
        self._routes = self._make_routes()
        self.predictions = {
            path.encode(): route for path, route in self._routes.items() if route.method == "POST"
        }
        self._admission = Admission(config.max_in_flight)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")
        self._ids = itertools.count()
        self._id_prefix = os.urandom(8).hex()
        self._headers = [
            (MODEL_VERSION_HEADER.encode(), config.model_version.encode()),
            (MODEL_DIGEST_HEADER.encode(), config.model_digest.encode()),
            (SERVER_REVISION_HEADER.encode(), config.revision.encode()),
            (b"x-modelyard-source-revision", config.source_revision.encode()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        headers = scope["headers"]
        request_id = self._request_id(headers)
        protocol = NOT_A_PREDICTION
        try:
            route = self._route(scope["method"], scope["path"])
            protocol = route.protocol
            if route.method == "GET":
                response = self._handled(route, b"", request_id)
            else:
                with self._admission.admitted(body_size(headers)):
                    response = await self._read_and_handled(route, headers, receive, request_id)
        except RequestError as error:
            response = error_response(error)
        except ClientGoneError:
            return
        response.headers = [*self._headers_of(request_id), *response.headers]
        if self.draining:
            response.headers.append((b"connection", b"close"))
        await _send(send, response)
        self._metrics.answered(protocol, response.status, time.perf_counter() - started)

    def answer(self, path: bytes, headers: Sequence[Header], body: bytes) -> Response:
        """Answer one of `predictions` whose whole, small body is here."""
        started = time.perf_counter()
        route = self.predictions[path]
        request_id = self._request_id(headers)
        try:
            self._admission.admit_at_once()
            check_encoding(headers)
        except RequestError as error:
            response = error_response(error)
        else:
            response = self._handled(route, body, request_id)
        response.headers = [*self._headers_of(request_id), *response.headers]
        self._metrics.answered(route.protocol, response.status, time.perf_counter() - started)
        return response

    async def _read_and_handled(
        self, route: Route, headers: Sequence[Header], receive: Receive, request_id: str
    ) -> Response:
        check_encoding(headers)
        body = await read_body(receive)
        if len(body) < LARGE_BODY:
            return self._handled(route, body, request_id)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._handled, route, body, request_id)

    def _handled(self, route: Route, body: bytes, request_id: str) -> Response:
        """Return what a route's handler answers, or the error that it ran into."""
        try:
            return route.handler(body, request_id)
        except RequestError as error:
            return error_response(error)
        except Exception as error:
            # The text of an unforeseen exception may quote values of the request.
            log.error("%s", failure_of(error).message, extra={"fields": {"request": request_id}})
            return error_response(RequestError(500, f"unforeseen error; see request {request_id}"))

    def _headers_of(self, request_id: str) -> Iterator[Header]:
        yield b"x-request-id", request_id.encode()
        yield from self._headers

    def _request_id(self, headers: Sequence[Header]) -> str:
        """Return the client's x-request-id when it is printable and short, or a new one."""
        given = header(headers, b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode("ascii")
        return f"{self._id_prefix}-{next(self._ids):x}"

    def _make_routes(self) -> dict[str, Route]:
        name, version = self._config.name, self._config.model_version
        info = {
            "name": name,
            "model": self._config.model_version,
            "digest": self._config.model_digest,
            "protocols": ["v1", "v2"],
            "predict": f"/v1/models/{name}:predict",
            "infer": f"/v2/models/{name}/infer",
        }
        model_v1 = {"name": name, "ready": True}
        model_v2 = {
            "name": name,
            "versions": [version],
            "platform": "modelyard",
            **metadata(self._predictor),
        }
        server_v2 = {"name": "modelyard", "version": "1", "extensions": []}
        ready = {"name": name, "ready": True}
        routes = {
            "/": _fixed(info),
            "/healthz": _fixed({"status": "ok"}),
            "/metrics": Route("GET", NOT_A_PREDICTION, self._metrics_text),
            "/v1/models": _fixed({"models": [name]}),
            f"/v1/models/{name}": _fixed(model_v1),
            f"/v1/models/{name}:predict": Route("POST", "v1", self._predict_v1),
            f"/v1/inference/{name}:predict": Route("POST", "inference", self._predict_alias),
            "/v2": _fixed(server_v2),
            "/v2/health/live": _fixed({"live": True}),
            "/v2/health/ready": _fixed({"ready": True}),
        }
        for model in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
            routes[model] = _fixed(model_v2)
            routes[f"{model}/ready"] = _fixed(ready)
            routes[f"{model}/infer"] = Route("POST", "v2", self._infer_v2)
        return routes

    def _route(self, method: str, path: str) -> Route:
        route = self._routes.get(path) or self._routes.get(path.rstrip("/"))
        if route is None:
            raise RequestError(
                404,
                f"{shortened(path)}: no such path; this server has the model {self._config.name!r} "
                f"in version {self._config.model_version!r}, GET / lists paths",
            )
        if method != route.method and not (method == "HEAD" and route.method == "GET"):
            raise RequestError(
                405,
                f"{method} is not allowed here; use {route.method}",
                (b"allow", route.method.encode()),
            )
        return route

    def _predict_v1(self, body: bytes, request_id: str) -> Response:
        predictions = self._predict_instances(body, request_id)
        return json_response({"predictions": predictions})

    def _predict_alias(self, body: bytes, request_id: str) -> Response:
        started = time.perf_counter()
        predictions = self._predict_instances(body, request_id)
        return json_response(
            {
                "predictions": predictions,
                "model": self._config.name,
                "model_version": self._config.model_version,
                "latency_ms": round((time.perf_counter() - started) * 1000, 3),
            }
        )

    def _predict_instances(self, body: bytes, request_id: str) -> list[Any]:
        columns = parse_instances(parse_json_object(body), self._predictor)
        predictions = predict_instances(columns, self._predictor)
        return self._done(columns, predictions, request_id)

    def _infer_v2(self, body: bytes, request_id: str) -> Response:
        document = parse_json_object(body)
        identifier = document.get("id", request_id)
        if not isinstance(identifier, str):
            raise RequestError(400, "id: expected a text")
        columns = parse_tensors(document, self._predictor)
        predictions = predict_tensors(columns, self._predictor)
        outputs = output_tensors(predictions, document)
        self._done(columns, predictions, request_id)
        return json_response(
            {
                "model_name": self._config.name,
                "model_version": self._config.model_version,
                "id": identifier,
                "outputs": outputs,
            }
        )

    def _done(self, columns: Columns, predictions: Predictions, request_id: str) -> list[Any]:
        """Count and log predictions, and return them as JSON values."""
        values = predictions.to_json()
        self._metrics.predicted(len(values))
        self._payloads.offer(request_id, columns, values)
        return values

    def _metrics_text(self, _body: bytes, _request_id: str) -> Response:
        return Response(self._metrics.to_text(), content_type=CONTENT_TYPE)


def _fixed(value: dict[str, Any]) -> Route:
    """Return the route of a GET whose answer never changes."""
    body = orjson.dumps(value)
    return Route("GET", NOT_A_PREDICTION, lambda _body, _request_id: Response(body))


async def _send(send: Send, response: Response) -> None:
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", str(len(response.body)).encode()),
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
