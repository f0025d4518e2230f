"""Compiles the trees of busy models, which then answer a row in a fraction of LightGBM's time.

That is done by a child process, one at a time: the server neither loads the compiler nor waits.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from modelyard_runtimes.entry import log
from modelyard_runtimes.model.errors import NotCompiled
from modelyard_runtimes.model.rows import RowPredictor
from modelyard_runtimes.model.single import SingleRow, TreeText

if TYPE_CHECKING:
    from modelyard_runtimes.model.compiled_trees import CompiledTrees

BUSY_ROWS = 2_000
"""Single rows after which a model counts as busy. Compiling takes about a CPU second, as 100,000
rows save: a model that is asked 2,000 times will most likely be asked again."""
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 600.0
"""For a child, which gets what is left of the processors."""
CHILD_BYTES = 192 * 1024 * 1024
"""Memory that a child may need beside the text."""
TEXT_COPIES = 4
"""As many times the text's size it may take to read it."""
CONTROL_GROUP = Path("/sys/fs/cgroup")


class TreeCompiler:
    """Watches the models of a process, and compiles the trees of those that are busy."""

    def __init__(self) -> None:
        """Start with nothing to watch."""
        self._watched: WeakKeyDictionary[SingleRow, str] = WeakKeyDictionary()

    def watch(self, predictor: RowPredictor, model: str) -> None:
        """Compile the trees of a model once it is busy, if it is still there then.

        Args:
            predictor: The model.
            model: What the log calls it.
        """
        if predictor.single is not None and predictor.single.trees():
            self._watched[predictor.single] = model

    async def run(self) -> None:
        """Look for busy models until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.compile_busy()

    async def compile_busy(self) -> None:
        """Compile the trees of all models that are busy by now."""
        for single in [single for single in self._watched if single.asked >= BUSY_ROWS]:
            model = self._watched.pop(single)
            for trees in single.trees():
                await _replace(single, trees, model)


async def _replace(single: SingleRow, trees: TreeText, model: str) -> None:
    """Evaluate trees by compiled code from now on, or leave them to LightGBM and say why."""
    fields = {"model": model, "member": trees.file}
    since = time.perf_counter()
    try:
        compiled = await _compiled(trees)
    except (NotCompiled, OSError) as reason:
        log.info("not compiled, LightGBM goes on: %s", reason, extra={"fields": fields})
        return
    single.evaluate_by(trees.position, compiled.predict_one)
    seconds = round(time.perf_counter() - since, 3)
    log.info("compiled", extra={"fields": {**fields, "seconds": seconds}})


async def _compiled(trees: TreeText) -> CompiledTrees:
    """Return compiled trees.

    Raises:
        NotCompiled: they cannot be.
        OSError: no child can be started, or what it makes cannot be mapped.
    """
    from modelyard_runtimes.model.compiled_trees import CompiledTrees  # noqa: PLC0415 - seldom

    if _memory_left() < CHILD_BYTES + TEXT_COPIES * len(trees.text):
        raise NotCompiled("the limit of the container's memory leaves no room for the compiler")
    with tempfile.TemporaryDirectory(prefix="modelyard-trees-") as folder:
        path = Path(folder) / "compiled"
        await _run(trees, path)
        return CompiledTrees(path)


async def _run(trees: TreeText, path: Path) -> None:
    """Run the compiler.

    Raises:
        NotCompiled: it failed.
        OSError: it cannot be started.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "modelyard_runtimes.model.compile_trees"),
        *(str(trees.columns), str(path)),
        stdin=PIPE,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            _, told = await child.communicate(trees.text)
    except TimeoutError as error:
        raise NotCompiled(f"the compiler took more than {PATIENCE_SECONDS:.0f} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        lines = told.decode(errors="replace").strip().splitlines()
        raise NotCompiled(lines[-1] if lines else f"the compiler ended with {child.returncode}")


def _memory_left() -> float:
    """Return the bytes that the container's limit leaves, all of them where there is none.

    Kubernetes ends the whole container, the server with it, when a process of it takes too much.
    """
    try:
        limit = int((CONTROL_GROUP / "memory.max").read_text())
        used = dict(
            line.split() for line in (CONTROL_GROUP / "memory.stat").read_text().splitlines()
        )
        return limit - int(used["anon"])  # the rest is cached, and can be had back
    except (OSError, ValueError, KeyError):
        return float("inf")
