"""Serves one model: `python -m modelyard_runtimes.serve`, ServeConfig in MODELYARD_CONFIG.

Exits with status 0 when told to end, and not with 0 when the model cannot be served.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.api.request_counts import COUNTS_FOLDER_VARIABLE
from modelyard.api.runtime import (
    PRIVACY_KEY_VARIABLE,
    SMOKE_TEST_FAILED,
    SMOKE_TEST_STATUS,
    ServeConfig,
    StoreConfig,
)

from modelyard_runtimes.entry import log, log_json_lines, read_config
from modelyard_runtimes.serve.sockets import open_socket
from modelyard_runtimes.serve.workers import Workers
from modelyard_runtimes.store import StoreError, open_store

if TYPE_CHECKING:
    from modelyard_runtimes.model import ModelDocument, Packed
    from modelyard_runtimes.serve.batcher import Batcher
    from modelyard_runtimes.serve.guard import Fallback, Guard
    from modelyard_runtimes.serve.metrics import Metrics
    from modelyard_runtimes.serve.payload_log import PayloadLog
    from modelyard_runtimes.serve.predictor import Predictor

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(
        prog="modelyard_runtimes.serve", description=ServeConfig.__doc__
    )
    parser.add_argument("--host", default=DEFAULT_HOST, help="address to bind")
    parser.add_argument("--port", default=DEFAULT_PORT, type=int, help="port to bind; 0: any free")
    parser.add_argument(
        "--model-dir", type=Path, help="folder of the model, instead of modelUri of the config"
    )
    options = parser.parse_args(arguments)
    log_json_lines()
    config = read_config(ServeConfig)
    try:
        listener = open_socket(options.host, options.port)
    except OSError as error:
        sys.exit(f"cannot listen on {options.host}:{options.port}: {error}")
    if config.workers == 1:
        serve(config, options.model_dir, listener)
        return
    with metrics_folder():
        workers = Workers(config.workers, lambda: serve(config, options.model_dir, listener))
        status = workers.run()
    sys.exit(status)


@contextmanager
def metrics_folder() -> Iterator[None]:
    """Let workers add up their metrics in a folder: the starter's, for more servers than this."""
    if COUNTS_FOLDER_VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="modelyard-metrics-") as folder:
        os.environ[COUNTS_FOLDER_VARIABLE] = folder
        yield


def serve(config: ServeConfig, model_folder: Path | None, listener: socket.socket) -> None:
    """Serve on a listening socket until told to end.

    Raises:
        SystemExit: the model cannot be loaded, is not the one with the configured digest, or fails
            the smoke test.
    """
    # All that is loaded until the server is ready stays: looking through it takes a tenth of the
    # start, and would delay requests again and again.
    gc.disable()
    import uvloop  # noqa: PLC0415

    from modelyard_runtimes.model import ModelError  # noqa: PLC0415
    from modelyard_runtimes.serve.application import Application  # noqa: PLC0415
    from modelyard_runtimes.serve.metrics import Metrics  # noqa: PLC0415
    from modelyard_runtimes.serve.predictor import Predictor  # noqa: PLC0415
    from modelyard_runtimes.serve.server import Server  # noqa: PLC0415
    from modelyard_runtimes.serve.smoke_test import smoke_test_failures  # noqa: PLC0415
    from modelyard_runtimes.serve.tree_compiler import TreeCompiler  # noqa: PLC0415

    try:
        predictor = Predictor(read_model(*place_of(config, model_folder), config.model_digest))
        fallback = fallback_of(config, predictor.document)
    except ModelError as error:
        sys.exit(f"the model cannot be served: {error}")
    failures = smoke_test_failures(config.smoke_test, predictor)
    if failures:
        print(f"{SMOKE_TEST_FAILED}{'; '.join(failures)}", file=sys.stderr, flush=True)
        sys.exit(SMOKE_TEST_STATUS)
    log.info(
        "serving",
        extra={"fields": {"model": config.model_version, "address": listener.getsockname()[:2]}},
    )
    metrics = Metrics(config.name, config.model_version, config.model_digest)
    guard = guard_of(config, predictor, fallback, metrics)
    batcher = batcher_of(config, predictor, guard, metrics)
    compiler = TreeCompiler()
    compiler.watch(predictor, config.model_version)
    if fallback is not None:
        compiler.watch(fallback.predictor, fallback.version)

    gc.freeze()
    gc.enable()

    async def run() -> None:
        payloads = payload_log(config, predictor.document, metrics)
        application = Application(config, predictor, metrics, payloads, guard, batcher)
        writing = asyncio.create_task(payloads.run())
        compiling = asyncio.create_task(compiler.run())
        try:
            await Server(application).serve(listener)
        finally:
            compiling.cancel()
            payloads.stop()
            await writing

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def place_of(config: ServeConfig, model_folder: Path | None) -> tuple[str, StoreConfig]:
    """Return the URI of the model, and how to reach its store."""
    if model_folder is None:
        return config.model_uri, config.store
    uri = model_folder.resolve().as_uri()
    return uri, config.store.model_copy(update={"uri": uri})


def read_model(uri: str, store: StoreConfig, digest: str) -> Packed:
    """Return a model, after its digest and those of all its files are checked.

    Raises:
        SystemExit: it is missing, damaged, another one, or not readable by this version.
    """
    from modelyard_runtimes.model import ModelError, read  # noqa: PLC0415

    try:
        artifact = open_store(store).open_artifact(uri, digest)
        return read(artifact.folder())  # which is there for as long as the artifact is
    except (StoreError, ModelError, OSError) as error:
        sys.exit(f"the model cannot be served: {error}")


def fallback_of(config: ServeConfig, model: ModelDocument) -> Fallback | None:
    """Return what answers where the model fails, if anything does.

    Raises:
        SystemExit: it cannot be loaded, or does not answer the same questions.
        ModelError: its files do not fit its document.
    """
    declared = config.fallback
    if declared is None:
        return None
    from modelyard_runtimes.serve.guard import Fallback, misfits  # noqa: PLC0415
    from modelyard_runtimes.serve.predictor import Predictor  # noqa: PLC0415

    predictor = Predictor(read_model(declared.model_uri, config.store, declared.model_digest))
    faults = "; ".join(misfits(model, predictor.document))
    if faults:
        sys.exit(
            f"spec.traffic.fallback: {declared.model_version} cannot answer for "
            f"{config.model_version}: {faults}; name another version"
        )
    return Fallback(predictor, declared.model_version, declared.model_digest)


def guard_of(
    config: ServeConfig, predictor: Predictor, fallback: Fallback | None, metrics: Metrics
) -> Guard | None:
    """Return what watches over the model, where a breaker or a fallback is declared."""
    if config.breaker is None and fallback is None:
        return None
    from modelyard_runtimes.serve.breaker import CircuitBreaker  # noqa: PLC0415
    from modelyard_runtimes.serve.guard import Guard  # noqa: PLC0415

    return Guard(predictor, fallback, CircuitBreaker(config.breaker), metrics)


def batcher_of(
    config: ServeConfig, predictor: Predictor, guard: Guard | None, metrics: Metrics
) -> Batcher | None:
    """Return what predicts requests together, where that is declared."""
    if config.batching is None:
        return None
    from modelyard_runtimes.serve.batcher import Batcher  # noqa: PLC0415

    together = guard.predict_together if guard else predictor.predict_rows
    return Batcher(config.batching, together, (guard or predictor).predict_rows, metrics)


def payload_log(config: ServeConfig, document: ModelDocument, metrics: Metrics) -> PayloadLog:
    """Return the payload log that the configuration asks for.

    Raises:
        SystemExit: its folder cannot be opened.
    """
    from modelyard_runtimes.serve.chunks import ChunkWriter, open_folder  # noqa: PLC0415
    from modelyard_runtimes.serve.payload_log import (  # noqa: PLC0415
        NoPayloadLog,
        PrivacyView,
        SampledPayloadLog,
    )

    if config.payload_uri is None or config.sample_percent == 0:
        return NoPayloadLog()
    key = os.environ.get(PRIVACY_KEY_VARIABLE, "").encode()
    try:
        folder = open_folder(config.payload_uri, config.store)
    except StoreError as error:
        sys.exit(f"payloadUri: {error}")
    return SampledPayloadLog(
        ChunkWriter(folder),
        metrics,
        PrivacyView(document, key),
        config.sample_percent,
        {"modelVersion": config.model_version, "modelDigest": config.model_digest},
    )


if __name__ == "__main__":
    main()
