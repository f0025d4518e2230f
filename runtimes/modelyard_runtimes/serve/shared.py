"""A server of many models: each answers at its own paths, as if it were alone."""

from __future__ import annotations

import asyncio
import math
import re
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from modelyard.api.request_counts import NOT_A_PREDICTION
from modelyard.api.runtime import SERVER_REVISION_HEADER, LoadFailure, SharedServeConfig
from modelyard.api.traffic import MOST_IN_FLIGHT

from modelyard_runtimes.serve.admission import Admission
from modelyard_runtimes.serve.answering import SERVER_METADATA, Answering, is_large, path_of
from modelyard_runtimes.serve.application import Application, headers_of
from modelyard_runtimes.serve.explanations import WEIGHT
from modelyard_runtimes.serve.http import Request, RequestError, Response, Route, shortened
from modelyard_runtimes.serve.metrics import CONTENT_TYPE, Answered, Families
from modelyard_runtimes.serve.models_folder import ModelsFolder
from modelyard_runtimes.serve.repository import (
    Entry,
    Gone,
    InMemory,
    ModelState,
    Repository,
    Unavailable,
)
from modelyard_runtimes.serve.rpc_start import LazyRpc
from modelyard_runtimes.serve.server import Server
from modelyard_runtimes.serve.stream import Lines
from modelyard_runtimes.serve.tree_compiler import TreeCompiler

if TYPE_CHECKING:
    from modelyard_runtimes.serve.rpc import RpcServer

LOOK_SECONDS = 1.0
"""How often the folder of models is looked at."""
PROOF_SECONDS = 2.0
"""How long the question whether a model is ready waits for it to be loaded: whoever asks that is
less patient than a client, and asks again."""
RPC_THREADS = 8
_MODEL_PATH = re.compile(r"/v[12]/(?:models|inference)/([^/:?#]+)(?:[/:?#]|$)")
_MODEL_TARGET = re.compile(rb"/v[12]/(?:models|inference)/([^/:?#%]+)(?:[/:?#]|$)")
_PROTOCOLS = {":predict": "v1", ":explain": "explain", ":batch": "batch", "/infer": "v2"}


class Unloaded(Answering):
    """Answers for a version of a model that is not in memory: by loading it."""

    def __init__(self, front: SharedFront, version: ModelState) -> None:
        """Prepare.

        Args:
            front: What finds who answers once it is loaded.
            version: The version.
        """
        super().__init__(
            headers_of(version.config), version.metrics, version.admission, front.thread
        )
        self._front = front
        self._version = version

    def find(self, method: bytes, target: bytes) -> Route:
        """Return the route of a request that waits for the model."""
        path = path_of(target).rstrip("/")
        protocol = next(
            (name for end, name in _PROTOCOLS.items() if path.endswith(end)), NOT_A_PREDICTION
        )
        if protocol == "v1" and path.startswith("/v1/inference/"):
            protocol = "inference"
        return Route(
            "POST" if method == b"POST" else "GET",
            protocol,
            self._not_at_once,
            self,
            WEIGHT if protocol == "explain" else 1,
            batched=_never,
            upload=self._upload if protocol == "batch" and method == b"POST" else None,
        )

    def readiness(self, entry: Entry) -> Route:
        """Return the route of the question whether the model is ready."""
        return Route(
            "GET",
            NOT_A_PREDICTION,
            self._not_at_once,
            self,
            batched=partial(self._readiness, entry),
        )

    async def answer_later(self, request: Request) -> bytes:
        """Return the answer that the loaded model gives."""
        if request.route.batched is not _never:
            return await super().answer_later(request)
        try:
            loaded = await self._front.load(self._version)
        except RequestError as error:
            request.refusal = error
            return self.answer(request)
        request.route = (loaded or self._front).find(request.method, request.target)
        application = request.route.application
        if request.route.batched is None and not is_large(request):
            return application.answer(request)
        return await application.answer_later(request)

    @asynccontextmanager
    async def _upload(self, request: Request) -> AsyncIterator[Lines]:
        """Load the model, and let it score the body."""
        loaded = await self._front.load(self._version)
        request.route = (loaded or self._front).find(request.method, request.target)
        if request.route.upload is None:  # it left while it was waited for
            raise _no_model(self._version.config.name)
        async with request.route.upload(request) as lines:
            yield lines

    async def _readiness(self, entry: Entry, _body: bytes, _request_id: bytes) -> Response:
        """Say whether the model could be loaded, and what keeps another version from serving.

        What left memory since is ready all the same: asking must not bring it back.
        """
        await self._front.proof(entry)
        failure = entry.wanted.failure
        told = {} if failure is None else {"failure": failure.to_json()}
        if entry.serving.proven:
            return Response(orjson.dumps({"name": entry.serving.config.name, "ready": True} | told))
        why = failure.message if failure else "the model is being loaded"
        headers = [(b"retry-after", b"1")]
        return Response(orjson.dumps({"error": why} | told), 503, headers=headers)

    def _not_at_once(self, _body: bytes, _request_id: bytes) -> Response:
        raise AssertionError("it waits for the model")


async def _never(_body: bytes, _request_id: bytes) -> Response:
    raise AssertionError("the loaded model answers")


class SharedFront(Answering):
    """Takes all requests of a server of many models, and finds the model of each.

    Attributes:
        repository: The models.
        compiler: Compiles the trees of those that are busy.
    """

    def __init__(self, config: SharedServeConfig) -> None:
        """Start without a model."""
        families = Families()
        self.compiler = TreeCompiler()
        self.repository = Repository(config, families, self._entered)
        self._unloaded: dict[ModelState, Unloaded] = {}
        super().__init__(
            {SERVER_REVISION_HEADER: config.revision},
            Answered("", families),
            Admission(MOST_IN_FLIGHT),
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict"),
        )
        self._loop = asyncio.get_running_loop()
        self._rpc = LazyRpc()
        self._routes = {
            "/": self.computed(self._info),
            "/healthz": self.fixed({"status": "ok"}),
            "/metrics": self.computed(
                lambda: Response(families.to_text(), content_type=CONTENT_TYPE)
            ),
            "/v1/models": self.computed(self._models),
            "/v2": self.fixed(SERVER_METADATA),
            "/v2/health/live": self.fixed({"live": True}),
            "/v2/health/ready": self.fixed({"ready": True}),
        }

    def find(self, method: bytes, target: bytes) -> Route:
        """Return what answers a request, be it with an error."""
        match = _MODEL_TARGET.match(target)
        if match is not None:
            entry = self.repository.entries.get(match[1].decode("latin-1"))
            if entry is not None:
                return self._of_model(entry, method, target)
        return self._route(method, target)

    def _of_model(self, entry: Entry, method: bytes, target: bytes) -> Route:
        name = entry.serving.config.name
        if target == b"/v2/models/%b/ready" % name.encode() and method in (b"GET", b"HEAD"):
            return self._waiting(entry.serving).readiness(entry)
        version = entry.serving
        if version.in_memory is None:
            return self._waiting(version).find(method, target)
        self.repository.touch(version)
        return version.in_memory.application.find(method, target)

    def _waiting(self, version: ModelState) -> Unloaded:
        found = self._unloaded.get(version)
        if found is None:
            found = self._unloaded[version] = Unloaded(self, version)
            found.draining = self.draining
        return found

    def _route(self, method: bytes, target: bytes) -> Route:
        path = path_of(target)
        route = self._routes.get(path) or self._routes.get(path.rstrip("/"))
        if route is not None:
            return self.checked(route, method.decode())
        match = _MODEL_PATH.match(path)
        if match is None:
            message = f"{shortened(path)}: no such path; GET / lists paths"
            return self.refused(RequestError(404, message))
        entry = self.repository.entries.get(match[1])
        if entry is None:
            return self.refused(_no_model(match[1]))
        return self._of_model(entry, method, target)

    def _entered(self, version: ModelState, in_memory: InMemory) -> None:
        """Let a model that has come say what all do, and compile its trees once it is busy."""
        in_memory.application.draining = self.draining
        for predictor, name in in_memory.loaded.predictors(version.config.model_version):
            self.compiler.watch(predictor, name)

    def _answering(self) -> list[Answering]:
        loaded = [one.in_memory.application for one in self.repository.in_memory() if one.in_memory]
        return [*loaded, *self._unloaded.values()]

    def tell_date(self) -> None:
        """Have the next answers say that they are from now; called about once a second."""
        super().tell_date()
        self._unloaded = {one: told for one, told in self._unloaded.items() if not one.gone}
        for answering in self._answering():
            answering.tell_date()

    def drain(self) -> None:
        """Ask clients to go elsewhere: the process is about to end."""
        super().drain()
        for answering in self._answering():
            answering.drain()

    async def load(self, version: ModelState) -> Application | None:
        """Return what answers for a version; None where another one does by now.

        Raises:
            RequestError: it cannot be loaded.
        """
        try:
            return await self.repository.load(version)
        except Gone:
            return None
        except Unavailable as error:
            raise _not_loaded(error.failure, error.seconds) from None

    async def proof(self, entry: Entry) -> None:
        """Have what is asked for of a model loaded once, and wait a little for that."""
        if not entry.wanted.proven:
            await asyncio.wait([self.repository.prove(entry)], timeout=PROOF_SECONDS)

    async def rpc_address(self) -> str:
        """Return the Unix socket at which gRPC is served, from the first call on."""
        return await self._rpc.address(self._start_rpc)

    def stop_rpc(self, grace: float) -> None:
        """Tell clients of gRPC to go elsewhere; calls in flight get a grace in seconds."""
        self._rpc.stop(grace)

    def _start_rpc(self) -> RpcServer:
        from modelyard_runtimes.serve.rpc import RpcServer  # noqa: PLC0415 - slow to import

        return RpcServer(self, self, MOST_IN_FLIGHT, RPC_THREADS)

    def rpc_model(self, name: str, version: str) -> Application:
        """Return what answers for a model over gRPC; called in a thread of its own.

        Raises:
            RequestError: there is no such model or version, or it cannot be loaded.
        """
        while True:
            entry = self.repository.entries.get(name)
            if entry is None:
                raise _no_model(name)
            serving = entry.serving
            in_memory = serving.in_memory
            if in_memory is not None:
                self.repository.touch(serving)
                return in_memory.application.rpc_model(name, version)
            loading = asyncio.run_coroutine_threadsafe(self.load(serving), self._loop)
            application = loading.result()
            if application is not None:
                return application.rpc_model(name, version)

    def rpc_ready(self, name: str, version: str) -> Answering:
        """Return the same for the question whether a model is ready, without loading it again.

        Raises:
            RequestError: there is no such model or version, or it could never be loaded.
        """
        entry = self.repository.entries.get(name)
        if entry is None:
            raise _no_model(name)
        asyncio.run_coroutine_threadsafe(self.proof(entry), self._loop).result()
        serving = entry.serving
        if version not in ("", serving.config.model_version):
            raise _no_model(f"{name} in version {version}")
        if not serving.proven:
            raise _not_loaded(serving.failure, 1)
        return Unloaded(self, serving)

    def _models(self) -> Response:
        return Response(orjson.dumps({"models": sorted(self.repository.entries)}))

    def _info(self) -> Response:
        info: dict[str, Any] = {
            "models": sorted(self.repository.entries),
            "protocols": ["v1", "v2", "grpc"],
            "predict": "/v1/models/{name}:predict",
            "batch": "/v1/models/{name}:batch",
            "explain": "/v1/models/{name}:explain",
            "infer": "/v2/models/{name}/infer",
            "metadata": "/v2/models/{name}",
            "ready": "/v2/health/ready",
            "metrics": "/metrics",
        }
        return Response(orjson.dumps(info))


def _no_model(name: str) -> RequestError:
    message = f"this server has no model {shortened(name)}; GET /v1/models lists those it has"
    return RequestError(404, message)


def _not_loaded(failure: LoadFailure | None, seconds: float) -> RequestError:
    """Return what a client is told whose model cannot be loaded."""
    why = failure.message if failure else "the model is being loaded"
    later = str(max(1, math.ceil(seconds))).encode()
    return RequestError(503, f"{why}; send the request again later", (b"retry-after", later))


async def serve_folder(config: SharedServeConfig, folder: Path, listener: socket.socket) -> None:
    """Serve the models of a folder on a listening socket until told to end."""
    import modelyard_runtimes.model.predictor  # noqa: F401, PLC0415 - no part of a first model

    front = SharedFront(config)
    models = ModelsFolder(folder)
    front.repository.take(models.changed() or {})
    meanwhile = [
        asyncio.create_task(_follow(front.repository, models)),
        asyncio.create_task(front.compiler.run()),
    ]
    try:
        await Server(front).serve(listener)
    finally:
        for task in meanwhile:
            task.cancel()
        await asyncio.gather(*meanwhile, return_exceptions=True)
        await front.repository.close()


async def _follow(repository: Repository, models: ModelsFolder) -> None:
    """Take over what changes in the folder."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        changed = models.changed()
        if changed is not None:
            repository.take(changed)
