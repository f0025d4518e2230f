"""A cluster is lost: what git declares and the artifact store holds is all that is left."""

from __future__ import annotations

import copy
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from modelyard.api.artifacts import artifact_uri, relocated
from modelyard.api.meta import SOURCE_REVISION
from modelyard.api.resources import OURS
from modelyard.judge.schedule import slot_text

from tests.records import PROVENANCE

from .conftest import World

DIGEST = "sha256:" + "a" * 64


def declared(world: Any) -> list[dict[str, Any]]:
    """Return what git declares: not what the operator created, nor any status."""
    return [
        {name: copy.deepcopy(manifest[name]) for name in ("apiVersion", "kind", "spec")}
        | {"metadata": {k: manifest["metadata"].get(k) for k in ("name", "namespace", "annotations")
                        if manifest["metadata"].get(k)}}
        for (kind, _, _), manifest in sorted(world.cluster.objects.items())
        if kind in OURS and not manifest["metadata"].get("ownerReferences")
    ]  # fmt: skip


async def lose_the_cluster(world: Any) -> None:
    """Apply what git declares to a cluster in which nothing is."""
    kept = declared(world)
    world.cluster.objects.clear()
    world.cluster.writes.clear()
    for manifest in kept:
        await world.cluster.apply(OURS[manifest["kind"]], manifest)
    await world.settle()


def versions(world: Any) -> dict[str, str]:
    """Return the digests of the ModelVersions by name."""
    found = world.children("ModelVersion")
    return {one["metadata"]["name"]: one["status"]["artifact"]["digest"] for one in found}


async def trained_twice(world: Any) -> list[str]:
    """Search by two commits; return the versions, the later first."""
    first = await world.trained()
    spec = world.get("Experiment", "tumor")["spec"]
    annotations = {SOURCE_REVISION: "c2"}
    await world.commit("Experiment", "tumor", spec | {"seed": 7}, annotations=annotations)
    await world.settle()
    later = PROVENANCE.model_copy(update={"finished_at": "t2", "source_revision": "c2"})
    second = await world.finish_experiment("tumor", 0.97, provenance=later)
    await world.settle()
    return [second, first]


async def test_no_run_starts_again_and_every_version_is_there_again(world: Any) -> None:
    names = await trained_twice(world)
    before = versions(world)
    history = world.get("Experiment", "tumor")["status"]["history"]
    assert [past["modelVersion"] for past in history] == names

    await lose_the_cluster(world)

    assert world.children("Workflow") == []
    assert world.ready("Experiment", "tumor") == ("True", "SearchFinished")
    assert versions(world) == before
    assert world.get("Experiment", "tumor")["status"]["history"] == history


async def test_the_run_that_git_asks_for_stands_before_later_ones(world: Any) -> None:
    second, first = await trained_twice(world)
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"seed": 42})
    await lose_the_cluster(world)
    status = world.get("Experiment", "tumor")["status"]
    assert status["bestModelVersion"] == first
    assert [past["modelVersion"] for past in status["history"]] == [first, second]


async def test_an_earlier_version_that_git_pins_serves(world: Any) -> None:
    _, first = await trained_twice(world)
    await world.commit("Deployment", "api", {"model": {"modelVersion": first}})
    await world.settle()
    await lose_the_cluster(world)
    world.serve("api")
    await world.settle()
    assert world.ready("Deployment", "api") == ("True", "Serving")
    assert world.get("Deployment", "api")["status"]["modelVersion"] == first


async def test_a_stage_that_git_declares_is_in_force(world: Any) -> None:
    _, first = await trained_twice(world)
    await world.commit("ModelVersion", first, {"stage": "Production"}, ownerReferences=[])
    await lose_the_cluster(world)
    assert world.get("ModelVersion", first)["status"]["stage"] == "Production"


@pytest.mark.parametrize("passed", [1, 100])
async def test_the_winner_of_the_last_slot_stands_however_many_passed_since(
    world: Any, passed: int
) -> None:
    await world.trained()
    spec = world.get("Experiment", "tumor")["spec"]
    await world.commit("Experiment", "tumor", spec | {"schedule": {"every": "10m"}})
    await world.settle()
    world.clock.move(600)
    await world.settle()
    slot = slot_text(world.clock.now())
    later = PROVENANCE.model_copy(update={"finished_at": "t2"})
    winner = await world.finish_experiment("tumor", provenance=later)
    await world.settle()
    world.clock.time += timedelta(minutes=10 * passed - 1)

    await lose_the_cluster(world)

    status = world.get("Experiment", "tumor")["status"]
    assert world.ready("Experiment", "tumor") == ("True", "SearchFinished")
    assert status["bestModelVersion"] == winner
    assert status["schedule"]["lastSlot"] == status["history"][0]["slot"] == slot
    assert world.children("Workflow") == []


async def test_a_store_that_lies_elsewhere_is_as_good(world: Any, tmp_path: Path) -> None:
    await trained_twice(world)
    before, kept = versions(world), declared(world)
    there = tmp_path / "there"
    there.mkdir()
    for entry in [one for one in world.root.iterdir() if one != there]:
        shutil.move(entry, there / entry.name)
    other = World(there)
    for manifest in kept:
        await other.cluster.apply(OURS[manifest["kind"]], manifest)
    await other.settle()
    assert versions(other) == before
    for name, digest in before.items():
        artifact = other.get("ModelVersion", name)["status"]["artifact"]
        assert artifact["uri"] == artifact_uri(there.as_uri(), digest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"uri": "file:///old/artifacts/artifacts/HEX"}',
                     '{"uri": "s3://new/root/artifacts/HEX"}', id="an artifact"),
        pytest.param('["s3://old/artifacts/HEX/card.md"]', '["s3://new/root/artifacts/HEX/card.md"]',
                     id="a file of one"),
        pytest.param('["s3://old/payloads/n/d"]', None, id="what is no artifact"),
        pytest.param(r'["{\"a\": \"file:///old/artifacts/HEX\"}"]', None, id="a row of data"),
        pytest.param('["look into file:///old/artifacts/HEX"]', None, id="a sentence"),
    ],
)  # fmt: skip
def test_a_record_finds_artifacts_beside_itself(text: str, expected: str | None) -> None:
    record, wanted = (
        one.replace("HEX", DIGEST.removeprefix("sha256:")) for one in (text, expected or text)
    )
    assert relocated(record.encode(), "s3://new/root/").decode() == wanted
