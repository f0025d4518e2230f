"""The models of a shared server: loaded when somebody asks, and gone again when others need room.

All of this happens on the event loop but the loading itself, which has a thread. One model is
loaded at a time, so that what it adds to the memory of the process is its own; artifacts are
fetched side by side.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from modelyard.api.runtime import LoadFailure, ServeConfig, SharedServeConfig

from modelyard_runtimes.entry import failure_of, log
from modelyard_runtimes.serve.admission import Admission
from modelyard_runtimes.serve.application import Application
from modelyard_runtimes.serve.loading import (
    CannotServe,
    FailedSmokeTest,
    Fetched,
    Loaded,
    batcher_of,
    fetch,
    guard_of,
    load,
    payload_log,
)
from modelyard_runtimes.serve.memory import Held, give_back, leaving, resident, shown
from modelyard_runtimes.serve.metrics import Families, LoadMetrics, Metrics
from modelyard_runtimes.serve.payload_log import PayloadLog

FETCHES = 4
"""Artifacts that are fetched at once."""
FIRST_RETRY_SECONDS = 1.0
MOST_RETRY_SECONDS = 60.0
MEMORY_FIELD = "Project.spec.sharedServing.memory"


class TooLarge(CannotServe):
    """A model that the memory of all models together has no room for."""


_REASONS: dict[type[Exception], str] = {
    FailedSmokeTest: "SmokeTestFailed",
    TooLarge: "ModelTooLarge",
}


class Gone(Exception):
    """A version that was being loaded is not asked for any more."""


class Unavailable(Exception):
    """A version that could not be loaded, and is not tried again yet.

    Attributes:
        failure: Why.
        seconds: After how many seconds it is tried again.
    """

    def __init__(self, failure: LoadFailure, seconds: float) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.seconds = seconds


@dataclass(eq=False)
class InMemory:
    """A version that is loaded: what predicts, what answers for it, and what logs that."""

    loaded: Loaded
    application: Application
    payloads: PayloadLog
    writing: asyncio.Task[None]


@dataclass(eq=False)
class ModelState:
    """One ServeConfig of a model, loaded or not.

    Attributes:
        config: It.
        admission: Who is let in, whether it is loaded or not.
        metrics: Where its answers are counted.
        in_memory: What there is while it is loaded.
        proven: Whether it could be loaded the last time, and passed its smoke test.
        failure: Why it could not; None where it could, or was not tried.
        size: Bytes that it takes in memory, by measure; 0 where that is not known.
        used: When it was asked for last: the larger, the later.
        gone: Whether nobody asks for it any more.
    """

    config: ServeConfig
    admission: Admission
    metrics: Metrics
    in_memory: InMemory | None = None
    proven: bool = False
    failure: LoadFailure | None = None
    size: int = 0
    used: int = 0
    gone: bool = False
    loading: asyncio.Task[InMemory] | None = None
    failures: int = 0
    retry_at: float = 0.0


@dataclass(eq=False)
class Entry:
    """A model by its name.

    Attributes:
        serving: The version that answers.
        next: The version that is to answer once it is loaded; None where that does already.
    """

    serving: ModelState
    next: ModelState | None = None

    @property
    def wanted(self) -> ModelState:
        """The version that is asked for."""
        return self.next or self.serving

    def versions(self) -> Iterator[ModelState]:
        """Iterate over what there is of the model."""
        yield self.serving
        if self.next is not None:
            yield self.next


@dataclass(eq=False)
class Repository:
    """The models of one server.

    Attributes:
        entries: By name.
    """

    config: SharedServeConfig
    families: Families
    entered: Callable[[ModelState, InMemory], None] = lambda *_: None
    """Called with each version that comes into memory."""
    entries: dict[str, Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._metrics = LoadMetrics(self.families)
        self._one_at_a_time = asyncio.Lock()
        self._fetching = ThreadPoolExecutor(max_workers=FETCHES, thread_name_prefix="fetch")
        self._loading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
        self._clock = itertools.count(1)
        self._proofs: set[asyncio.Task[None]] = set()
        self._writing: set[asyncio.Task[None]] = set()

    def take(self, configs: Mapping[str, ServeConfig]) -> None:
        """Have the models that are asked for now, and no others."""
        for name in self.entries.keys() - configs.keys():
            for version in self.entries.pop(name).versions():
                self._retire(version)
        for name, config in configs.items():
            entry = self.entries.get(name)
            if entry is None:
                self.entries[name] = entry = Entry(self._state(config))
                entry.serving.metrics.serves()
            elif config != entry.wanted.config:
                self._change(entry, config)

    def _change(self, entry: Entry, config: ServeConfig) -> None:
        """Replace a version: at once where it never served, else when the new one can."""
        if entry.next is not None:
            self._retire(entry.next)
            entry.next = None
        if config == entry.serving.config:
            return
        version = self._state(config)
        if not entry.serving.proven:
            self._retire(entry.serving)
            entry.serving = version
            version.metrics.serves()
            return
        entry.next = version
        self.prove(entry)

    def _state(self, config: ServeConfig) -> ModelState:
        metrics = Metrics(config.name, config.model_version, config.model_digest, self.families)
        return ModelState(config, Admission(config.max_in_flight, config.rate_limit), metrics)

    def touch(self, version: ModelState) -> None:
        """Remember that a version was asked for."""
        version.used = next(self._clock)

    def prove(self, entry: Entry) -> asyncio.Task[None]:
        """Load what is asked for of a model if it never was; it serves from then on.

        A load that failed is not tried again before its time. The task raises nothing.
        """
        task = asyncio.get_running_loop().create_task(self._prove(entry))
        self._proofs.add(task)
        task.add_done_callback(self._proofs.discard)
        return task

    async def _prove(self, entry: Entry) -> None:
        version = entry.wanted
        if version.proven:
            return
        try:
            await self.load(version)
        except (Unavailable, Gone):
            return
        if entry.next is version:
            self._retire(entry.serving)
            entry.serving, entry.next = version, None
            version.metrics.serves()

    async def load(self, version: ModelState) -> Application:
        """Return what answers for a version, once it is loaded; all who ask wait for one load.

        Raises:
            Unavailable: it cannot be loaded, or could not lately.
            Gone: another version was asked for meanwhile.
        """
        self.touch(version)
        if version.in_memory is not None:
            return version.in_memory.application
        if version.loading is None:
            wait = version.retry_at - time.monotonic()
            if version.failure is not None and wait > 0:
                raise Unavailable(version.failure, wait)
            version.loading = asyncio.get_running_loop().create_task(self._load(version))
            version.loading.add_done_callback(partial(_loaded, version))
        return (await asyncio.shield(version.loading)).application

    async def _load(self, version: ModelState) -> InMemory:
        began = time.perf_counter()
        try:
            in_memory = await self._bring(version)
        except Gone:
            raise
        except Exception as error:
            self._metrics.errors.inc()
            traceback.clear_frames(error.__traceback__)  # they hold what was loaded
            self._loading.submit(give_back)
            raise self._failed(version, error) from None
        version.proven, version.failure, version.failures = True, None, 0
        self._metrics.successes.inc()
        took = round(time.perf_counter() - began, 3)
        fields = {
            "model": version.config.model_version,
            "bytes": version.size,
            "seconds": took,
        }
        log.info("loaded %s", version.config.name, extra={"fields": fields})
        return in_memory

    async def _bring(self, version: ModelState) -> InMemory:
        """Bring a version into memory.

        Raises:
            Gone: another version was asked for meanwhile.
            CannotServe: it cannot be served, or is too large.
        """
        config = version.config
        in_thread = asyncio.get_running_loop().run_in_executor
        fetched = await in_thread(self._fetching, fetch, config)
        async with self._one_at_a_time:
            await self._make_room(max(version.size, fetched.size), config)
            loaded, size = await in_thread(self._loading, _measured, config, fetched)
            version.size = max(version.size, size, fetched.size)
            await self._make_room(version.size, config)
            if version.gone:
                raise Gone
            version.in_memory = self._in_memory(version, loaded)
        self.entered(version, version.in_memory)
        self._tell()
        return version.in_memory

    def _failed(self, version: ModelState, error: Exception) -> Unavailable:
        """Remember why a version cannot be loaded, and when it is tried again.

        One that could be before is not ready any more: its requests are answered by nobody.
        """
        version.proven = False
        version.failures += 1
        wait = min(FIRST_RETRY_SECONDS * 2.0 ** (version.failures - 1), MOST_RETRY_SECONDS)
        version.retry_at = time.monotonic() + wait
        version.failure = LoadFailure.model_validate(
            {
                "revision": version.config.revision,
                "reason": _REASONS.get(type(error), "ModelLoadFailed"),
                "message": _told(error),
            }
        )
        log.error("%s cannot be loaded: %s", version.config.name, version.failure.message)
        return Unavailable(version.failure, wait)

    @staticmethod
    def _in_memory(version: ModelState, loaded: Loaded) -> InMemory:
        """Return what answers for a version that was loaded."""
        config, metrics, predictor = version.config, version.metrics, loaded.predictor
        payloads = payload_log(config, predictor.document, metrics)
        guard = guard_of(config, loaded, metrics)
        batcher = batcher_of(config, predictor, guard, metrics)
        application = Application(
            config, predictor, metrics, payloads, guard, batcher, version.admission
        )
        writing = asyncio.get_running_loop().create_task(payloads.run())
        return InMemory(loaded, application, payloads, writing)

    async def _make_room(self, needed: int, config: ServeConfig) -> None:
        """Let models leave until as many bytes fit.

        Raises:
            TooLarge: they never do.
        """
        budget = self.config.memory
        if needed > budget:
            raise TooLarge(
                f"{config.model_version} takes {shown(needed)} of memory, and all models of the "
                f"shared server together have {shown(budget)}; raise {MEMORY_FIELD}, or set "
                "spec.placement.server to Dedicated"
            )
        held = [(one, Held(one.size, one.used)) for one in self.in_memory()]
        leaves = leaving(held, needed, budget)
        for version in leaves:
            self._let_go(version)
            self._metrics.evictions.inc()
            log.info("%s leaves memory for %s", version.config.name, config.name)
        if leaves:
            await asyncio.get_running_loop().run_in_executor(self._loading, give_back)

    def in_memory(self) -> list[ModelState]:
        """Return the versions that are loaded."""
        return [
            version
            for entry in self.entries.values()
            for version in entry.versions()
            if version.in_memory is not None
        ]

    def _retire(self, version: ModelState) -> None:
        """Leave a version that nobody asks for any more."""
        version.gone = True
        version.metrics.retire()
        if version.in_memory is not None:
            self._let_go(version)
            self._loading.submit(give_back)

    def _let_go(self, version: ModelState) -> None:
        """Forget what was loaded; what is in flight is answered, and logged, all the same."""
        in_memory, version.in_memory = version.in_memory, None
        if in_memory is None:
            return
        in_memory.payloads.stop()
        in_memory.application.close()
        self._writing.add(in_memory.writing)
        in_memory.writing.add_done_callback(self._writing.discard)
        self._tell()

    def _tell(self) -> None:
        in_memory = self.in_memory()
        self._metrics.loaded.set(len(in_memory))
        self._metrics.memory.set(sum(version.size for version in in_memory))

    async def close(self) -> None:
        """Write what payload logs still hold; the process is about to end."""
        for proof in self._proofs:
            proof.cancel()
        for version in self.in_memory():
            self._let_go(version)
        await asyncio.gather(*self._writing)
        for threads in (self._fetching, self._loading):
            threads.shutdown(wait=False, cancel_futures=True)


def _measured(config: ServeConfig, fetched: Fetched) -> tuple[Loaded, int]:
    """Return a loaded model, and how many bytes it has added to this process.

    It is opened for one row and for many, so that nothing is added to it later. What stays is put
    where the garbage collector does not look: going through all models would hold up requests.
    """
    before = resident()
    gc.disable()
    try:
        loaded = load(config, fetched)
        for predictor, _ in loaded.predictors(config.model_version):
            predictor.model  # noqa: B018 - opens it
        gc.collect()
        gc.freeze()
    finally:
        gc.enable()
    return loaded, resident() - before


def _told(error: Exception) -> str:
    """Return what is told of a failed load; the text of an unforeseen error may quote values."""
    return str(error) if isinstance(error, CannotServe) else failure_of(error).message


def _loaded(version: ModelState, task: asyncio.Task[InMemory]) -> None:
    """Let the next who asks see how it ended."""
    version.loading = None
    if not task.cancelled():
        task.exception()  # whoever waited has met it
