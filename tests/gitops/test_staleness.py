"""Whoever reads conditions sees Progressing from an edit on, until the operator has judged it.

Objects of every kind are edited at random, between reconciles and in the middle of one. After each
write Argo CD's health, kstatus and `is_ready` read what stands there.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modelyard.api.resources import OURS, Key
from modelyard.judge.law import violations
from modelyard.reconcile.reconciler import reconcile

from tests.reconcile.conftest import EXPERIMENT, World

from .conftest import judged, read_rightly

RULE = {"name": "auc", "path": "modelVersion.status.metrics.roc_auc", "operator": "GreaterOrEqual"}
VERSION = "the winner"
"""Stands for the name of the ModelVersion, which the run gives."""
FINE: dict[tuple[str, str], tuple[dict[str, Any], ...]] = {
    ("Project", "team"): ({}, {"description": "Which cells are malignant."}),
    ("Dataset", "cells"): ({"source": {"builtin": "breast_cancer"}}, {"source": {"builtin": "iris"}}),
    ("Experiment", "tumor"): (EXPERIMENT, EXPERIMENT | {"seed": 7}),
    ("ModelVersion", VERSION): ({}, {"documentation": {"intendedUse": "Screening."}}),
    ("Deployment", "tumor"): ({"model": {"experiment": "tumor"}}, {"model": {"modelVersion": VERSION}}),
    ("Monitor", "tumor"): ({"deploymentRef": {"name": "tumor"}}, {"deploymentRef": {"name": "tumor"}, "interval": "1h"}),
    ("Policy", "accurate"): ({"gates": ["deploy"], "rules": [RULE | {"value": 0.9}]}, {"gates": ["deploy"], "rules": [RULE | {"value": 0.8}]}),
}  # fmt: skip
BROKEN: dict[tuple[str, str], dict[str, Any]] = {
    ("Project", "team"): {
        "connections": [{"name": "lake", "type": "S3", "secretRef": {"name": "none"}}],
        "artifactStore": {"uri": "s3://a/b", "connectionRef": {"name": "lake"}},
    },
    ("Dataset", "cells"): {"source": {"builtin": "no-such-set"}},
    ("Experiment", "tumor"): EXPERIMENT | {"datasetRef": {"name": "none"}},
    ("ModelVersion", VERSION): {"stage": "Production"},  # which the Policy `strict` denies
    ("Deployment", "tumor"): {"model": {"experiment": "none"}},
    ("Monitor", "tumor"): {"deploymentRef": {"name": "none"}},
    ("Policy", "accurate"): {"gates": ["deploy"], "rego": "package p\nallow if {"},
}


class Watched:
    """A world in which every write of one of our objects is read as its readers would."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.broken: set[tuple[str, str]] = set()
        self._store = world.cluster._store
        world.cluster._store = self._read_after  # type: ignore[method-assign]

    def _read_after(self, key: tuple[str, str, str], after: dict[str, Any], verb: str) -> None:
        self._store(key, after, verb)
        if key[0] in OURS:
            self.read(key[0], key[2])

    def read(self, kind: str, name: str) -> None:
        """Check what an object is presented as, whatever it has come to."""
        read_rightly(self.world.get(kind, name), broken=(kind, name) in self.broken)

    async def edit(self, kind: str, name: str, variant: int) -> None:
        """Commit one of the specs of an object; the last variant is broken."""
        found = (*FINE[kind, name], BROKEN[kind, name])[variant]
        name, spec = self.named(name), self._named(found)
        (self.broken.add if variant == 2 else self.broken.discard)((kind, name))
        await self.world.commit(kind, name, spec)

    def named(self, name: str) -> str:
        return self.winner if name == VERSION else name

    def _named(self, spec: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(json.dumps(spec).replace(VERSION, self.winner))
        return found

    async def start(self) -> None:
        """Go to where every object is Ready."""
        world = self.world
        self.winner = await world.trained()
        strict = {"gates": ["promote"], "rules": [RULE | {"value": 0.999}]}
        await world.commit("Policy", "strict", strict)
        for kind, name in FINE:
            await self.edit(kind, name, 0)
        await world.settle()
        world.serve("tumor")
        await world.settle()
        for kind, name in FINE:
            assert world.ready(kind, self.named(name))[0] == "True", (kind, name)


@contextmanager
def amid(world: World, request: int, edit: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Let somebody edit just before a request of the operator, if it makes that many."""
    count = itertools.count()

    def interrupted(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            if next(count) == request:
                await edit()
            return await method(*arguments)

        return call

    requests = ("get", "list_objects", "create", "apply", "apply_status")
    for name in requests:
        setattr(world.cluster, name, interrupted(getattr(world.cluster, name)))
    yield
    for name in requests:
        delattr(world.cluster, name)


EDITS = st.lists(
    st.tuples(
        st.sampled_from(list(FINE)),
        st.integers(0, 2),
        st.one_of(st.none(), st.integers(1, 12)),
    ),
    min_size=1,
    max_size=6,
)
"""What is edited, to which spec, and at which request of a reconcile, or between two."""


@given(edits=EDITS)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_edit_is_ever_presented_as_healthy_before_it_is_judged(
    edits: list[tuple[tuple[str, str], int, int | None]],
) -> None:
    async def live(folder: Path) -> None:
        world = World(folder)
        watched = Watched(world)
        await watched.start()
        for (kind, name), variant, request in edits:
            key = Key(kind, world.namespace, watched.named(name))
            edit = partial(watched.edit, kind, name, variant)
            if request is None:
                await edit()
                await reconcile(key, world.ports)
            else:
                with amid(world, request, edit):
                    await reconcile(key, world.ports)
                watched.read(kind, key.name)
                await reconcile(key, world.ports)
            manifest = world.get(kind, key.name)
            assert judged(manifest), manifest
            assert violations(manifest) == []
            watched.read(kind, key.name)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder)))
