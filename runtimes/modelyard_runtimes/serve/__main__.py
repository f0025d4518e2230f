"""Serves a model: `python -m modelyard_runtimes.serve`, ServeConfig in MODELYARD_CONFIG.

With `--models-folder DIR` it serves many: MODELYARD_CONFIG holds a SharedServeConfig then, and the
folder a ServeConfig for each model, `<name>.json`. Exits with status 0 when told to end, and not
with 0 when the model cannot be served.
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

from modelyard.api.request_counts import COUNTS_FOLDER_VARIABLE
from modelyard.api.runtime import (
    SMOKE_TEST_FAILED,
    SMOKE_TEST_STATUS,
    ServeConfig,
    SharedServeConfig,
)

from modelyard_runtimes.entry import log, log_json_lines, read_config
from modelyard_runtimes.serve.sockets import open_socket
from modelyard_runtimes.serve.workers import Workers

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(
        prog="modelyard_runtimes.serve", description=ServeConfig.__doc__
    )
    parser.add_argument("--host", default=DEFAULT_HOST, help="address to bind")
    parser.add_argument("--port", default=DEFAULT_PORT, type=int, help="port to bind; 0: any free")
    models = parser.add_mutually_exclusive_group()
    models.add_argument(
        "--model-dir", type=Path, help="folder of the model, instead of modelUri of the config"
    )
    models.add_argument(
        "--models-folder", type=Path, help="folder with a ServeConfig for each of many models"
    )
    options = parser.parse_args(arguments)
    log_json_lines()
    if options.models_folder is not None:
        shared = read_config(SharedServeConfig)
        serve_many(shared, options.models_folder, listen(options.host, options.port))
        return
    config = read_config(ServeConfig)
    listener = listen(options.host, options.port)
    if config.workers == 1:
        serve(config, options.model_dir, listener)
        return
    with metrics_folder():
        workers = Workers(config.workers, lambda: serve(config, options.model_dir, listener))
        status = workers.run()
    sys.exit(status)


def listen(host: str, port: int) -> socket.socket:
    """Return the listening socket.

    Raises:
        SystemExit: there can be none.
    """
    try:
        return open_socket(host, port)
    except OSError as error:
        sys.exit(f"cannot listen on {host}:{port}: {error}")


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

    from modelyard_runtimes.serve.application import Application  # noqa: PLC0415
    from modelyard_runtimes.serve.loading import (  # noqa: PLC0415
        CannotServe,
        FailedSmokeTest,
        batcher_of,
        fetch,
        guard_of,
        load,
        payload_log,
    )
    from modelyard_runtimes.serve.metrics import Metrics  # noqa: PLC0415
    from modelyard_runtimes.serve.server import Server  # noqa: PLC0415
    from modelyard_runtimes.serve.tree_compiler import TreeCompiler  # noqa: PLC0415

    try:
        loaded = load(config, fetch(config, model_folder))
    except FailedSmokeTest as failure:
        print(f"{SMOKE_TEST_FAILED}{failure}", file=sys.stderr, flush=True)
        sys.exit(SMOKE_TEST_STATUS)
    except CannotServe as error:
        sys.exit(str(error))
    predictor = loaded.predictor
    log.info(
        "serving",
        extra={"fields": {"model": config.model_version, "address": listener.getsockname()[:2]}},
    )
    metrics = Metrics(config.name, config.model_version, config.model_digest)
    metrics.serves()
    guard = guard_of(config, loaded, metrics)
    batcher = batcher_of(config, predictor, guard, metrics)
    compiler = TreeCompiler()
    for one, version in loaded.predictors(config.model_version):
        compiler.watch(one, version)
    try:
        payloads = payload_log(config, predictor.document, metrics)
    except CannotServe as error:
        sys.exit(str(error))

    gc.freeze()
    gc.enable()

    async def run() -> None:
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


def serve_many(config: SharedServeConfig, folder: Path, listener: socket.socket) -> None:
    """Serve the models of a folder on a listening socket until told to end.

    Raises:
        SystemExit: there is no such folder.
    """
    if not folder.is_dir():
        sys.exit(f"--models-folder: there is no directory {folder}")
    import uvloop  # noqa: PLC0415

    from modelyard_runtimes.serve.shared import serve_folder  # noqa: PLC0415

    log.info("serving", extra={"fields": {"address": listener.getsockname()[:2]}})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_folder(config, folder, listener))


if __name__ == "__main__":
    main()
