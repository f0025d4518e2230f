"""The Open Inference Protocol over gRPC: the same answers as V2 over REST.

It listens on a Unix socket that only this user can reach; `connection` passes on to it what comes
over HTTP/2. So gRPC needs no port of its own, and takes no memory until somebody speaks it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import grpc  # type: ignore[import-untyped]

from modelyard_runtimes.serve.answering import SERVER_METADATA, Answering, unforeseen
from modelyard_runtimes.serve.application import Application
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


class RpcFront(Protocol):
    """What finds the model that a call asks for; each of these is called in a thread of gRPC."""

    def request_id(self, given: bytes | None) -> bytes:
        """Return the identifier that a client gives if it is printable and short, or a new one."""

    def rpc_model(self, name: str, version: str) -> Application:
        """Return what answers for a model, in any version where that is empty.

        Raises:
            RequestError: nothing does.
        """

    def rpc_ready(self, name: str, version: str) -> Answering:
        """Return the same for the question whether a model is ready.

        Raises:
            RequestError: it is not.
        """


class RpcServer:
    """A running gRPC server.

    Attributes:
        address: Path of the Unix socket that it listens on.
    """

    def __init__(self, front: RpcFront, default: Answering, calls: int, threads: int = 1) -> None:
        """Start it.

        Args:
            front: What finds the model that a call asks for.
            default: Who answers what asks for none.
            calls: How many calls are in flight at once.
            threads: How many are answered at once: one, unless they may wait for a model.

        Raises:
            OSError: it cannot listen, as where the path of temporary files is too long.
        """
        self._front = front
        self._default = default
        self._message = messages()
        self._folder = tempfile.TemporaryDirectory(prefix="modelyard-grpc-")
        self.address = f"{self._folder.name}/socket"
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=threads, thread_name_prefix="grpc"),
            options=[("grpc.max_receive_message_length", MAX_BODY)],
            maximum_concurrent_rpcs=calls,
        )
        methods = {name: self._method(name) for name in METHODS}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, methods),)
        )
        try:
            self._server.add_insecure_port(f"unix:{self.address}")
        except RuntimeError as error:
            raise OSError(f"{error}; let TMPDIR name a folder with a short path") from None
        self._server.start()

    def stop(self, grace: float) -> None:
        """Take no more calls; those in flight get a grace in seconds."""
        self._server.stop(grace)

    def _method(self, name: str) -> Any:
        answer, find = self._answers()[name]
        response_class = self._message(f"{name}Response")

        def call(request: Any, context: Any) -> Any:
            since = time.perf_counter()
            given = dict(context.invocation_metadata()).get("x-request-id", "")
            request_id = self._front.request_id(given.encode())
            response = response_class()
            refusal: RequestError | None = None
            substitute: Substitute | None = None
            answering = self._default
            try:
                answering = find(request)
                substitute = answer(answering, request, response, request_id)
            except RequestError as error:
                refusal = error
            except Exception as error:
                refusal = unforeseen(error, request_id)
            served = answering.served_by(substitute)
            context.send_initial_metadata([*served.items(), ("x-request-id", request_id.decode())])
            answering.answered(PROTOCOL, refusal.status if refusal else 200, since)
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

    def _answers(self) -> dict[str, tuple[Callable[..., Substitute | None], Callable[[Any], Any]]]:
        """Return what answers each method, and who does so."""

        def default(_request: Any) -> Answering:
            return self._default

        return {
            "ServerLive": (_server_live, default),
            "ServerReady": (_ready, default),
            "ServerMetadata": (_server_metadata, default),
            "ModelReady": (_ready, lambda asked: self._front.rpc_ready(asked.name, asked.version)),
            "ModelMetadata": (
                _model_metadata,
                lambda asked: self._front.rpc_model(asked.name, asked.version),
            ),
            "ModelInfer": (
                _infer,
                lambda asked: self._front.rpc_model(asked.model_name, asked.model_version),
            ),
        }


def _server_live(_answering: Answering, _request: Any, response: Any, _request_id: bytes) -> None:
    response.live = True


def _ready(_answering: Answering, _request: Any, response: Any, _request_id: bytes) -> None:
    response.ready = True


def _server_metadata(
    _answering: Answering, _request: Any, response: Any, _request_id: bytes
) -> None:
    response.name, response.version = SERVER_METADATA["name"], SERVER_METADATA["version"]


def _model_metadata(
    application: Application, _request: Any, response: Any, _request_id: bytes
) -> None:
    found = application.model_metadata
    response.name, response.platform = found["name"], found["platform"]
    response.versions.extend(found["versions"])
    for place, tensors in ((response.inputs, "inputs"), (response.outputs, "outputs")):
        for tensor in found[tensors]:
            place.add(**tensor)


def _infer(
    application: Application, request: Any, response: Any, request_id: bytes
) -> Substitute | None:
    application.admission.keep_rate()
    outputs, substitute = application.infer(body_of(request), request_id)
    response.model_name = application.model_metadata["name"]
    response.model_version = application.version_of(substitute)
    response.id = request.id or request_id.decode()
    fill(response, outputs, raw=bool(request.raw_input_contents))
    return substitute
