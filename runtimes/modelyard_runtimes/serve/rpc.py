"""The Open Inference Protocol over gRPC: the same answers as V2 over REST.

It listens on a Unix socket that only this user can reach; `connection` passes on to it what comes
over HTTP/2. So gRPC needs no port of its own, and takes no memory until somebody speaks it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped]
from modelyard.api.runtime import ServeConfig

from modelyard_runtimes.serve.application import SERVER_METADATA, Application, unforeseen
from modelyard_runtimes.serve.http import MAX_BODY, RequestError
from modelyard_runtimes.serve.rpc_messages import METHODS, SERVICE, messages
from modelyard_runtimes.serve.rpc_tensors import body_of, fill
from modelyard_runtimes.serve.substitute import Substitute

PROTOCOL = "grpc"
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}


class RpcServer:
    """A running gRPC server of one application.

    Attributes:
        address: Path of the Unix socket that it listens on.
    """

    def __init__(self, application: Application, config: ServeConfig) -> None:
        """Start it.

        Args:
            application: What answers.
            config: Names of model and version; how many calls are in flight at once.
        """
        self._application = application
        self._config = config
        self._message = messages()
        self._folder = tempfile.TemporaryDirectory(prefix="modelyard-grpc-")
        self.address = f"{self._folder.name}/socket"
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="grpc"),
            options=[("grpc.max_receive_message_length", MAX_BODY)],
            maximum_concurrent_rpcs=config.max_in_flight,
        )
        methods = {name: self._method(name) for name in METHODS}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, methods),)
        )
        self._server.add_insecure_port(f"unix:{self.address}")
        self._server.start()

    def stop(self, grace: float) -> None:
        """Take no more calls; those in flight get a grace in seconds."""
        self._server.stop(grace)

    def _method(self, name: str) -> Any:
        answers: dict[str, Callable[[Any, Any, bytes], Substitute | None]] = {
            "ServerLive": self._server_live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
        }
        answer = answers[name]
        response_class = self._message(f"{name}Response")

        def call(request: Any, context: Any) -> Any:
            since = time.perf_counter()
            given = dict(context.invocation_metadata()).get("x-request-id", "")
            request_id = self._application.request_id(given.encode())
            response = response_class()
            refusal: RequestError | None = None
            substitute: Substitute | None = None
            try:
                substitute = answer(request, response, request_id)
            except RequestError as error:
                refusal = error
            except Exception as error:
                refusal = unforeseen(error, request_id)
            served = self._application.served_by(substitute)
            context.send_initial_metadata([*served.items(), ("x-request-id", request_id.decode())])
            self._application.answered(PROTOCOL, refusal.status if refusal else 200, since)
            if refusal is not None:
                code = _CODES.get(refusal.status, grpc.StatusCode.INTERNAL)
                context.set_trailing_metadata(
                    [(name.decode(), value.decode()) for name, value in refusal.headers]
                )
                context.abort(code, refusal.message)
            return response

        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=self._message(f"{name}Request").FromString,
            response_serializer=response_class.SerializeToString,
        )

    def _server_live(self, _request: Any, response: Any, _request_id: bytes) -> None:
        response.live = True

    def _ready(self, _request: Any, response: Any, _request_id: bytes) -> None:
        response.ready = True

    def _model_ready(self, request: Any, response: Any, _request_id: bytes) -> None:
        self._check_model(request.name, request.version)
        response.ready = True

    def _server_metadata(self, _request: Any, response: Any, _request_id: bytes) -> None:
        response.name, response.version = SERVER_METADATA["name"], SERVER_METADATA["version"]

    def _model_metadata(self, request: Any, response: Any, _request_id: bytes) -> None:
        self._check_model(request.name, request.version)
        found = self._application.model_metadata
        response.name, response.platform = found["name"], found["platform"]
        response.versions.extend(found["versions"])
        for place, tensors in ((response.inputs, "inputs"), (response.outputs, "outputs")):
            for tensor in found[tensors]:
                place.add(**tensor)

    def _infer(self, request: Any, response: Any, request_id: bytes) -> Substitute | None:
        self._application.admission.keep_rate()
        self._check_model(request.model_name, request.model_version)
        outputs, substitute = self._application.infer(body_of(request), request_id)
        response.model_name = self._config.name
        response.model_version = self._application.version_of(substitute)
        response.id = request.id or request_id.decode()
        fill(response, outputs, raw=bool(request.raw_input_contents))
        return substitute

    def _check_model(self, name: str, version: str) -> None:
        if name != self._config.name or version not in ("", self._config.model_version):
            raise RequestError(
                404,
                f"this server has the model {self._config.name!r} in version "
                f"{self._config.model_version!r}, no other",
            )
