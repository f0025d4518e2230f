"""The server: puts the parts together, listens, and stops in order."""

import asyncio
import contextlib
import fcntl
import logging
import signal
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from modelyard.embedded.apiserver import core, credentials
from modelyard.embedded.apiserver.admission import WriteRequest
from modelyard.embedded.apiserver.collector import Collector
from modelyard.embedded.apiserver.decoding import Body
from modelyard.embedded.apiserver.guard import guarded
from modelyard.embedded.apiserver.registry import Registry
from modelyard.embedded.apiserver.routes import Api
from modelyard.embedded.apiserver.store import Key, Store
from modelyard.embedded.apiserver.watches import Watches
from modelyard.embedded.apiserver.writes import Writer

_LOG = logging.getLogger(__name__)
_LOOPBACK = "127.0.0.1"
_LARGEST_BODY = 3 * 1024 * 1024
_NAMESPACES = ("default", "kube-system")


@dataclass(frozen=True)
class Settings:
    """How a server runs.

    Attributes:
        data_dir: Where everything is kept. One server at a time can use it.
        port: The TCP port; 0 takes the one that the folder had before, or any free one.
        history_limit: How many changes watches can look back on, at least.
        event_lifetime: Seconds until an event that was not seen again is deleted.
        bookmark_interval: Seconds between the bookmarks of a watch.
    """

    data_dir: Path
    port: int = 0
    history_limit: int = 5000
    event_lifetime: float = 3600.0
    bookmark_interval: float = 30.0


class FolderInUseError(Exception):
    """Another server runs on the data folder."""


async def serve(settings: Settings, listening: Callable[[str, Path], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: How to run.
        listening: Called with the URL and the kubeconfig's path once clients can connect.

    Raises:
        FolderInUseError: If another server runs on the data folder.
    """
    folder = settings.data_dir
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    stop = _stop_signal()
    with locked(folder), contextlib.closing(open_store(settings)) as store:
        registry = Registry(store)
        watches = Watches(store, registry, settings.bookmark_interval)
        collector = asyncio.create_task(Collector(store, registry, settings.event_lifetime).run())
        _create_namespaces(store, registry)
        known = credentials.load(folder)
        runner = _runner(Api(store, registry, watches), known)
        await runner.setup()
        try:
            port = await _listen(runner, settings, known)
            url = f"https://{_LOOPBACK}:{port}"
            credentials.write_port(folder, port)
            listening(url, credentials.write_kubeconfig(folder, url, known))
            await _first_of(stop, collector)
        finally:
            watches.close()  # clients see their watches end, and look for the next server
            await runner.cleanup()
            collector.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await collector


def open_store(settings: Settings) -> Store:
    """Open what a server keeps; its folder must be locked."""
    return Store(settings.data_dir / "state.db", settings.history_limit)


def _runner(api: Api, known: credentials.Credentials) -> web.AppRunner:
    app = web.Application(client_max_size=_LARGEST_BODY)
    app.router.add_route("*", "/{path:.*}", guarded(api.handle, known.token))
    return web.AppRunner(
        app, handle_signals=False, access_log=None, handler_cancellation=True, shutdown_timeout=5.0
    )


async def _listen(runner: web.AppRunner, settings: Settings, known: credentials.Credentials) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(known.certificate)
    remembered = credentials.read_port(settings.data_dir)
    try:
        site = web.TCPSite(runner, _LOOPBACK, settings.port or remembered, ssl_context=context)
        await site.start()
    except OSError:
        if settings.port or not remembered:
            raise
        _LOG.warning("port %s is taken by now; taking another", remembered)
        await web.TCPSite(runner, _LOOPBACK, 0, ssl_context=context).start()
    port: int = runner.addresses[0][1]
    return port


def _create_namespaces(store: Store, registry: Registry) -> None:
    resource = registry.get("", "v1", core.NAMESPACES)
    for name in _NAMESPACES:
        if store.get(Key(core.NAMESPACES, "", name)) is None:
            body = Body({"metadata": {"name": name}})
            Writer(store).create(resource, "", body, WriteRequest("apiserver"))


def _stop_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _first_of(stop: asyncio.Event, collector: asyncio.Task[None]) -> None:
    """Wait until the server shall stop; a collector that fails stops it, too."""
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({waiting, collector}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if collector in done:
        collector.result()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a data folder.

    Raises:
        FolderInUseError: If another server runs on it.
    """
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(
                f"another API server runs on {folder}: stop it, or use another folder"
            ) from None
        yield
