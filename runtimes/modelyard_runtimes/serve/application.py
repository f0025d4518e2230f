"""What is answered: routes, headers, and the two protocols."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
import orjson
from modelyard.api.request_counts import NOT_A_PREDICTION
from modelyard.api.runtime import (
    FALLBACK_HEADER,
    MODEL_DIGEST_HEADER,
    MODEL_VERSION_HEADER,
    SERVER_REVISION_HEADER,
    ServeConfig,
)

from modelyard_runtimes.entry import failure_of, log
from modelyard_runtimes.model import ValidationError
from modelyard_runtimes.model.errors import NotFinite
from modelyard_runtimes.model.rows import Columns, Rows
from modelyard_runtimes.serve.admission import Admission
from modelyard_runtimes.serve.explanations import WEIGHT, check_rows, explanations
from modelyard_runtimes.serve.http import (
    BatchedHandler,
    Handler,
    Request,
    RequestError,
    Response,
    Route,
    check_encoding,
    error_response,
    json_response,
    parse_json_object,
    shortened,
)
from modelyard_runtimes.serve.instances import parse_instances, predict_instances, unfit_instance
from modelyard_runtimes.serve.metrics import CONTENT_TYPE, Metrics
from modelyard_runtimes.serve.payload_log import Payload, PayloadLog
from modelyard_runtimes.serve.predictor import Predictions, Predictor, Predicts
from modelyard_runtimes.serve.substitute import Substitute
from modelyard_runtimes.serve.tensors import (
    metadata,
    output_tensors,
    parse_tensors,
    predict_tensors,
    rows_of,
    unfit_tensor,
)

if TYPE_CHECKING:
    from modelyard_runtimes.serve.batcher import Batcher
    from modelyard_runtimes.serve.guard import Guard
    from modelyard_runtimes.serve.rpc import RpcServer

SERVER_METADATA = {"name": "modelyard", "version": "1", "extensions": []}
"""What V2 says of the server."""
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Application:
    """One model behind KServe V1, V2 and the path `/v1/inference/<name>:predict`.

    Attributes:
        admission: Who is let in.
        thread: Where large requests are computed.
        model_metadata: What V2 says of the model.
        served: Headers of every answer, which say who gave it.
        draining: Whether every answer says `Connection: close`, since the process is about to end.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that stands between a request and its answer
        self,
        config: ServeConfig,
        predictor: Predictor,
        metrics: Metrics,
        payloads: PayloadLog,
        guard: Guard | None = None,
        batcher: Batcher | None = None,
    ) -> None:
        """Prepare the routes.

        Args:
            config: Names of model and version, its digest.
            predictor: The loaded model.
            metrics: Where requests are counted.
            payloads: Where requests are logged.
            guard: What predicts instead where the model may fail.
            batcher: What predicts requests together; each by itself without.
        """
        self.draining = False
        self._config = config
        self._predictor = predictor
        self._predicts: Predicts = guard or predictor
        self._batcher = batcher
        self._metrics = metrics
        self._payloads = payloads
        self.model_metadata: dict[str, Any] = {
            "name": config.name,
            "versions": [config.model_version],
            "platform": "modelyard",
            **metadata(predictor),
        }
        self._routes = self._make_routes()
        self._found = {
            (route.method.encode(), path.encode()): route for path, route in self._routes.items()
        }
        self.admission = Admission(config.max_in_flight, config.rate_limit)
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")
        self._ids = itertools.count()
        self._rpc: asyncio.Task[RpcServer] | None = None
        self._id_prefix = os.urandom(8).hex().encode()
        self.served = {
            MODEL_VERSION_HEADER: config.model_version,
            MODEL_DIGEST_HEADER: config.model_digest,
            SERVER_REVISION_HEADER: config.revision,
            "x-modelyard-source-revision": config.source_revision,
        }
        self._served_lines = _lines(self.served)
        self.tell_date()

    def tell_date(self) -> None:
        """Have the next answers say that they are from now; called about once a second."""
        self._date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        self._lines = self._date + self._served_lines

    def served_by(self, substitute: Substitute | None) -> dict[str, str]:
        """Return the headers of an answer: those of the model, or of what answered instead."""
        if substitute is None:
            return self.served
        return self.served | {
            MODEL_VERSION_HEADER: substitute.version,
            MODEL_DIGEST_HEADER: substitute.digest,
            FALLBACK_HEADER: substitute.reason,
        }

    def find(self, method: bytes, target: bytes) -> Route:
        """Return what answers a request, be it with an error."""
        found = self._found.get((method, target))
        if found is not None:
            return found
        try:
            path = unquote(httptools.parse_url(target).path.decode())
        except (httptools.HttpParserInvalidURLError, ValueError, AttributeError):
            path = target.decode("latin-1")
        return self._route(method.decode(), path)

    def answer(self, request: Request) -> bytes:
        """Return the whole answer to a request as it goes over its connection.

        Sets `request.close` when the connection has to be closed after it.
        """
        request_id = self.request_id(request.headers.get(b"x-request-id"))
        return self._whole(request, self._response(request, request_id), request_id)

    async def answer_batched(self, request: Request, batched: BatchedHandler) -> bytes:
        """Return the same of a request that is predicted together with others.

        Args:
            request: The request.
            batched: Its route's handler for that.
        """
        request_id = self.request_id(request.headers.get(b"x-request-id"))
        try:
            check_encoding(request.headers)
            response = await batched(request.body, request_id)
        except Exception as error:
            response = _failed(error, request_id)
        return self._whole(request, response, request_id)

    def _whole(self, request: Request, response: Response, request_id: bytes) -> bytes:
        """Count a response, and return it as it goes over the connection."""
        request.close = request.close or self.draining
        self.answered(request.route.protocol, response.status, request.since)
        served = self._lines
        if response.substitute is not None:
            served = self._date + _lines(self.served_by(response.substitute))
        lines = b"%bx-request-id: %b\r\n" % (served, request_id)
        if request.close:
            lines += b"connection: close\r\n"
        head = response.head(lines)
        return head if request.only_head else head + response.body

    def _response(self, request: Request, request_id: bytes) -> Response:
        """Return what the route's handler answers, or the error that it ran into."""
        try:
            if request.refusal is not None:
                return error_response(request.refusal)
            check_encoding(request.headers)
            return request.route.handler(request.body, request_id)
        except Exception as error:
            return _failed(error, request_id)

    def request_id(self, given: bytes | None) -> bytes:
        """Return the identifier that a client gives if it is printable and short, or a new one."""
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return b"%b-%x" % (self._id_prefix, next(self._ids))

    def answered(self, protocol: str, status: int, since: float) -> None:
        """Count an answer.

        Args:
            protocol: Label of the protocol.
            status: Its status in HTTP.
            since: When its request was there, by `time.perf_counter`.
        """
        self._metrics.answered(protocol, status, time.perf_counter() - since)

    async def rpc_address(self) -> str:
        """Return the Unix socket at which gRPC is served, from the first call on."""
        if self._rpc is None:
            self._rpc = asyncio.create_task(asyncio.to_thread(self._start_rpc))
        return (await asyncio.shield(self._rpc)).address

    def _start_rpc(self) -> RpcServer:
        # Most servers never meet a client that speaks gRPC, which is slow to import.
        from modelyard_runtimes.serve.rpc import RpcServer  # noqa: PLC0415

        return RpcServer(self, self._config)

    def stop_rpc(self, grace: float) -> None:
        """Tell clients of gRPC to go elsewhere; calls in flight get a grace in seconds."""
        if self._rpc is not None and self._rpc.done():
            self._rpc.result().stop(grace)

    def _make_routes(self) -> dict[str, Route]:
        name, version = self._config.name, self._config.model_version
        info = {
            "name": name,
            "model": self._config.model_version,
            "digest": self._config.model_digest,
            "protocols": ["v1", "v2", "grpc"],
            "predict": f"/v1/models/{name}:predict",
            "explain": f"/v1/models/{name}:explain",
            "infer": f"/v2/models/{name}/infer",
            "metadata": f"/v2/models/{name}",
            "ready": "/v2/health/ready",
            "metrics": "/metrics",
        }
        model_v1 = {"name": name, "ready": True}
        ready = {"name": name, "ready": True}
        routes = {
            "/": _fixed(info),
            "/healthz": _fixed({"status": "ok"}),
            "/metrics": Route("GET", NOT_A_PREDICTION, self._metrics_text),
            "/v1/models": _fixed({"models": [name]}),
            f"/v1/models/{name}": _fixed(model_v1),
            f"/v1/models/{name}:predict": self._predicting(
                "v1", self._predict_v1, self._predict_v1_batched
            ),
            f"/v1/models/{name}:explain": Route("POST", "explain", self._explain_v1, WEIGHT),
            f"/v1/inference/{name}:predict": self._predicting(
                "inference", self._predict_alias, self._predict_alias_batched
            ),
            "/v2": _fixed(SERVER_METADATA),
            "/v2/health/live": _fixed({"live": True}),
            "/v2/health/ready": _fixed({"ready": True}),
        }
        for model in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
            routes[model] = _fixed(self.model_metadata)
            routes[f"{model}/ready"] = _fixed(ready)
            routes[f"{model}/infer"] = self._predicting(
                "v2", self._infer_v2, self._infer_v2_batched
            )
        return routes

    def _predicting(
        self,
        protocol: str,
        handler: Handler,
        batched: Callable[[Batcher, bytes, bytes], Awaitable[Response]],
    ) -> Route:
        """Return a route for predictions, which are made together where that is declared."""
        together = partial(batched, self._batcher) if self._batcher else None
        return Route("POST", protocol, handler, batched=together)

    def _route(self, method: str, path: str) -> Route:
        route = self._routes.get(path) or self._routes.get(path.rstrip("/"))
        if route is None:
            return _refused(
                RequestError(
                    404,
                    f"{shortened(path)}: no such path; this server has the model "
                    f"{self._config.name!r} in version {self._config.model_version!r}, GET / lists "
                    "paths",
                )
            )
        if method != route.method and not (method == "HEAD" and route.method == "GET"):
            return _refused(
                RequestError(
                    405,
                    f"{method} is not allowed here; use {route.method}",
                    (b"allow", route.method.encode()),
                )
            )
        return route

    def _predict_v1(self, body: bytes, request_id: bytes) -> Response:
        rows = self._instances(body)
        return self._answer_v1(rows, predict_instances(rows, self._predicts), request_id)

    def _answer_v1(self, rows: Rows, predictions: Predictions, request_id: bytes) -> Response:
        values = self._done(self._predictor.names, rows, predictions, request_id)
        return json_response({"predictions": values}, predictions.substitute)

    def _predict_alias(self, body: bytes, request_id: bytes) -> Response:
        started = time.perf_counter()
        rows = self._instances(body)
        predictions = predict_instances(rows, self._predicts)
        return self._answer_alias(rows, predictions, request_id, started)

    def _answer_alias(
        self, rows: Rows, predictions: Predictions, request_id: bytes, started: float
    ) -> Response:
        values = self._done(self._predictor.names, rows, predictions, request_id)
        return json_response(
            {
                "predictions": values,
                "model": self._config.name,
                "model_version": self.version_of(predictions.substitute),
                "latency_ms": round((time.perf_counter() - started) * 1000, 3),
            },
            predictions.substitute,
        )

    def _instances(self, body: bytes) -> Rows:
        return parse_instances(parse_json_object(body), self._predictor)

    def _explain_v1(self, body: bytes, _request_id: bytes) -> Response:
        """Say why; it asks about a prediction, so it is neither counted nor logged as one.

        It asks about the model that serves, so nothing else answers instead.
        """
        rows = self._instances(body)
        check_rows(rows)
        predictions = predict_instances(rows, self._predictor)
        return json_response(
            {
                "predictions": predictions.to_json(),
                "explanations": explanations(rows, predictions, self._predictor),
            }
        )

    def _infer_v2(self, body: bytes, request_id: bytes) -> Response:
        document = parse_json_object(body)
        identifier = _identifier(document, request_id)
        outputs, substitute = self.infer(document, request_id)
        return self._answer_v2(identifier, outputs, substitute)

    def _answer_v2(
        self, identifier: str, outputs: list[dict[str, Any]], substitute: Substitute | None
    ) -> Response:
        return json_response(
            {
                "model_name": self._config.name,
                "model_version": self.version_of(substitute),
                "id": identifier,
                "outputs": outputs,
            },
            substitute,
        )

    def version_of(self, substitute: Substitute | None) -> str:
        """Return the ModelVersion that answered."""
        return self._config.model_version if substitute is None else substitute.version

    def infer(
        self, document: dict[str, Any], request_id: bytes
    ) -> tuple[list[dict[str, Any]], Substitute | None]:
        """Return the output tensors for the body of a V2 request, and what gave them instead.

        Raises:
            RequestError: it cannot be answered.
        """
        columns = parse_tensors(document, self._predictor)
        predictions = predict_tensors(columns, self._predicts)
        return self._outputs(document, columns, predictions, request_id)

    def _outputs(
        self,
        document: dict[str, Any],
        columns: Columns,
        predictions: Predictions,
        request_id: bytes,
    ) -> tuple[list[dict[str, Any]], Substitute | None]:
        outputs = output_tensors(predictions, document)
        rows = list(zip(*columns.values(), strict=True))
        self._done(tuple(columns), rows, predictions, request_id)
        return outputs, predictions.substitute

    async def _predict_v1_batched(
        self, batcher: Batcher, body: bytes, request_id: bytes
    ) -> Response:
        rows = self._instances(body)
        predictions = await _together(batcher, rows, unfit_instance)
        return self._answer_v1(rows, predictions, request_id)

    async def _predict_alias_batched(
        self, batcher: Batcher, body: bytes, request_id: bytes
    ) -> Response:
        started = time.perf_counter()
        rows = self._instances(body)
        predictions = await _together(batcher, rows, unfit_instance)
        return self._answer_alias(rows, predictions, request_id, started)

    async def _infer_v2_batched(self, batcher: Batcher, body: bytes, request_id: bytes) -> Response:
        document = parse_json_object(body)
        identifier = _identifier(document, request_id)
        columns = parse_tensors(document, self._predictor)
        rows = rows_of(columns, self._predictor.names)
        predictions = await _together(batcher, rows, unfit_tensor)
        outputs, substitute = self._outputs(document, columns, predictions, request_id)
        return self._answer_v2(identifier, outputs, substitute)

    def _done(
        self, names: Sequence[str], rows: Rows, predictions: Predictions, request_id: bytes
    ) -> list[Any]:
        """Count and log predictions, and return them as JSON values."""
        values = predictions.to_json()
        self._metrics.predicted(len(values))
        self._payloads.offer(Payload(request_id, names, rows, values, predictions.substitute))
        return values

    def _metrics_text(self, _body: bytes, _request_id: bytes) -> Response:
        return Response(self._metrics.to_text(), content_type=CONTENT_TYPE)


async def _together(
    batcher: Batcher, rows: Rows, unfit: Callable[[ValidationError], RequestError]
) -> Predictions:
    """Return the predictions of rows that were made together with those of other requests."""
    try:
        return await batcher.predict(rows)
    except ValidationError as error:
        raise unfit(error) from None


def _identifier(document: dict[str, Any], request_id: bytes) -> str:
    identifier = document.get("id", request_id.decode())
    if not isinstance(identifier, str):
        raise RequestError(400, "id: expected a text")
    return identifier


def _lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


def _fixed(value: dict[str, Any]) -> Route:
    """Return the route of a GET whose answer never changes."""
    body = orjson.dumps(value)
    return Route("GET", NOT_A_PREDICTION, lambda _body, _request_id: Response(body))


def _refused(error: RequestError) -> Route:
    """Return the route of what is always refused."""
    return Route("", NOT_A_PREDICTION, lambda _body, _request_id: error_response(error))


def _failed(error: Exception, request_id: bytes) -> Response:
    refusal = error if isinstance(error, RequestError) else unforeseen(error, request_id)
    return error_response(refusal)


def unforeseen(error: Exception, request_id: bytes) -> RequestError:
    """Log a fault of ours; return what its client is told, without a value of its request."""
    shown = request_id.decode()
    if isinstance(error, NotFinite):
        log.error("%s", error, extra={"fields": {"request": shown}})
        return RequestError(500, f"{error}; see request {shown}")
    log.error("%s", failure_of(error).message, extra={"fields": {"request": shown}})
    return RequestError(500, f"unforeseen error; see request {shown}")
