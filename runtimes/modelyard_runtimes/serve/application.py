"""What is answered: routes, headers, and the two protocols."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from modelyard.api.explainer import Explainer
from modelyard.api.runtime import (
    MODEL_DIGEST_HEADER,
    MODEL_VERSION_HEADER,
    SERVER_REVISION_HEADER,
    ServeConfig,
)

from modelyard_runtimes.model import ValidationError
from modelyard_runtimes.model.rows import Columns, Rows
from modelyard_runtimes.serve.admission import Admission
from modelyard_runtimes.serve.answering import SERVER_METADATA, Answering, path_of
from modelyard_runtimes.serve.explanations import WEIGHT, check_rows, explanations
from modelyard_runtimes.serve.http import (
    Handler,
    Request,
    RequestError,
    Response,
    Route,
    json_response,
    never_whole,
    parse_json_object,
    shortened,
)
from modelyard_runtimes.serve.instances import parse_instances, predict_instances, unfit_instance
from modelyard_runtimes.serve.metrics import CONTENT_TYPE, Metrics
from modelyard_runtimes.serve.payload_log import Payload, PayloadLog
from modelyard_runtimes.serve.predictor import Predictions, Predictor, Predicts
from modelyard_runtimes.serve.rpc_start import LazyRpc
from modelyard_runtimes.serve.stream import Lines
from modelyard_runtimes.serve.substitute import Substitute
from modelyard_runtimes.serve.tensors import (
    metadata,
    output_tensors,
    parse_tensors,
    predict_tensors,
    rows_of,
    unfit_tensor,
)
from modelyard_runtimes.serve.upload_format import open_lines, upload_format

if TYPE_CHECKING:
    from modelyard_runtimes.serve.batcher import Batcher
    from modelyard_runtimes.serve.guard import Guard
    from modelyard_runtimes.serve.rpc import RpcServer

T = TypeVar("T")


class Application(Answering):
    """One model behind KServe V1, V2 and the path `/v1/inference/<name>:predict`.

    Attributes:
        model_metadata: What V2 says of the model.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that stands between a request and its answer
        self,
        config: ServeConfig,
        predictor: Predictor,
        metrics: Metrics,
        payloads: PayloadLog,
        guard: Guard | None = None,
        batcher: Batcher | None = None,
        admission: Admission | None = None,
    ) -> None:
        """Prepare the routes.

        Args:
            config: Names of model and version, its digest.
            predictor: The loaded model.
            metrics: Where requests are counted.
            payloads: Where requests are logged.
            guard: What predicts instead where the model may fail.
            batcher: What predicts requests together; each by itself without.
            admission: Who is let in; as the configuration says when unset.
        """
        super().__init__(
            headers_of(config),
            metrics,
            admission or Admission(config.max_in_flight, config.rate_limit),
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict"),
        )
        self._config = config
        self._predictor = predictor
        self._predicts: Predicts = guard or predictor
        self._watch = guard.watch if guard else unwatched
        self._batcher = batcher
        self._explainer = config.explainer or Explainer()
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
        self._rpc = LazyRpc()

    def close(self) -> None:
        """Let go of what holds this in turn: once all in flight is answered, the memory is free."""
        self._routes.clear()
        self._found.clear()

    def find(self, method: bytes, target: bytes) -> Route:
        """Return what answers a request, be it with an error."""
        found = self._found.get((method, target))
        if found is not None:
            return found
        return self._route(method.decode(), path_of(target))

    async def rpc_address(self) -> str:
        """Return the Unix socket at which gRPC is served, from the first call on."""
        return await self._rpc.address(self._start_rpc)

    def _start_rpc(self) -> RpcServer:
        # Most servers never meet a client that speaks gRPC, which is slow to import.
        from modelyard_runtimes.serve.rpc import RpcServer  # noqa: PLC0415

        return RpcServer(self, self, self._config.max_in_flight)

    def stop_rpc(self, grace: float) -> None:
        """Tell clients of gRPC to go elsewhere; calls in flight get a grace in seconds."""
        self._rpc.stop(grace)

    def rpc_model(self, name: str, version: str) -> Application:
        """Return what answers for a model over gRPC, in any version where that is empty.

        Raises:
            RequestError: this is another model.
        """
        config = self._config
        if name != config.name or version not in ("", config.model_version):
            raise RequestError(
                404,
                f"this server has the model {config.name!r} in version "
                f"{config.model_version!r}, no other",
            )
        return self

    def rpc_ready(self, name: str, version: str) -> Answering:
        """Return the same for the question whether a model is ready.

        Raises:
            RequestError: this is another model.
        """
        return self.rpc_model(name, version)

    def _make_routes(self) -> dict[str, Route]:
        name, version = self._config.name, self._config.model_version
        info = {
            "name": name,
            "model": self._config.model_version,
            "digest": self._config.model_digest,
            "protocols": ["v1", "v2", "grpc"],
            "predict": f"/v1/models/{name}:predict",
            "batch": f"/v1/models/{name}:batch",
            "infer": f"/v2/models/{name}/infer",
            "metadata": f"/v2/models/{name}",
            "ready": "/v2/health/ready",
            "metrics": "/metrics",
        }
        explain = Route("POST", "explain", self._refuse_to_explain, self)
        if self._explainer.method == "SHAP":
            info["explain"] = f"/v1/models/{name}:explain"
            explain = Route("POST", "explain", self._explain_v1, self, WEIGHT)
        model_v1 = {"name": name, "ready": True}
        ready = {"name": name, "ready": True}
        routes = {
            "/": self.fixed(info),
            "/healthz": self.fixed({"status": "ok"}),
            "/metrics": self.computed(self._metrics_text),
            "/v1/models": self.fixed({"models": [name]}),
            f"/v1/models/{name}": self.fixed(model_v1),
            f"/v1/models/{name}:predict": self._predicting(
                "v1", self._predict_v1, self._predict_v1_batched
            ),
            f"/v1/models/{name}:batch": Route(
                "POST", "batch", never_whole, self, upload=self._upload
            ),
            f"/v1/models/{name}:explain": explain,
            f"/v1/inference/{name}:predict": self._predicting(
                "inference", self._predict_alias, self._predict_alias_batched
            ),
            "/v2": self.fixed(SERVER_METADATA),
            "/v2/health/live": self.fixed({"live": True}),
            "/v2/health/ready": self.fixed({"ready": True}),
        }
        for model in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
            routes[model] = self.fixed(self.model_metadata)
            routes[f"{model}/ready"] = self.fixed(ready)
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
        return Route("POST", protocol, handler, self, batched=together)

    def _route(self, method: str, path: str) -> Route:
        routes = self._routes or self._make_routes()  # who waited for a model may come too late
        route = routes.get(path) or routes.get(path.rstrip("/"))
        if route is None:
            return self.refused(
                RequestError(
                    404,
                    f"{shortened(path)}: no such path; this server has the model "
                    f"{self._config.name!r} in version {self._config.model_version!r}, GET / lists "
                    "paths",
                )
            )
        return self.checked(route, method)

    def _predict_v1(self, body: bytes, request_id: bytes) -> Response:
        rows = self._instances(body)
        return self._answer_v1(rows, predict_instances(rows, self._predicts), request_id)

    def _answer_v1(self, rows: Rows, predictions: Predictions, request_id: bytes) -> Response:
        values = self._done(self._predictor.names, rows, predictions, request_id)
        return json_response({"predictions": values}, predictions.substitute)

    def _predict_alias(self, body: bytes, request_id: bytes) -> Response:
        started = perf_counter()
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
                "latency_ms": round((perf_counter() - started) * 1000, 3),
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
        check_rows(rows, self._explainer.max_rows)
        predictions = predict_instances(rows, self._predictor)
        return json_response(
            {
                "predictions": predictions.to_json(),
                "explanations": explanations(rows, predictions, self._predictor),
            }
        )

    @staticmethod
    def _refuse_to_explain(_body: bytes, _request_id: bytes) -> Response:
        raise RequestError(
            404, "this server gives no reasons: spec.explainer.method of its Deployment is Disabled"
        )

    @asynccontextmanager
    async def _upload(self, request: Request) -> AsyncIterator[Lines]:
        """Score a body by the model that serves; nothing else answers instead.

        Its rows are counted as predictions, and not logged: they would push those of the clients
        that a Monitor watches out of the log.
        """
        kind = upload_format(request.headers)
        self.admission.keep_rate()
        count = self._metrics.predicted
        opened = partial(open_lines, kind, self._predictor, self._watch, count)
        yield await asyncio.get_running_loop().run_in_executor(self.thread, opened)

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
        started = perf_counter()
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

    def _metrics_text(self) -> Response:
        return Response(self._metrics.to_text(), content_type=CONTENT_TYPE)


def unwatched(ask: Callable[[], T]) -> T:
    """Return what a model answers that nothing watches over."""
    return ask()


def headers_of(config: ServeConfig) -> dict[str, str]:
    """Return the headers that say of an answer which model gave it."""
    return {
        MODEL_VERSION_HEADER: config.model_version,
        MODEL_DIGEST_HEADER: config.model_digest,
        SERVER_REVISION_HEADER: config.revision,
        "x-modelyard-source-revision": config.source_revision,
    }


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
