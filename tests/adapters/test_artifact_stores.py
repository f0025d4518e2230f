"""The operator's artifact store: the same on a directory and on S3."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from modelyard.adapters.artifacts import OpenedStores
from modelyard.api.runtime import StoreConfig
from modelyard.ports.artifacts import ArtifactStore, StoreUnavailable

from tests.tools.object_store import make_bucket, object_store

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with object_store() as endpoint:
        yield endpoint


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    if request.param == "directory":
        config = StoreConfig(uri=(tmp_path / "store").as_uri())
        return OpenedStores(config).open(config, {})
    endpoint = request.getfixturevalue("endpoint")
    bucket = f"b-{abs(hash(tmp_path)) % 10**9}"
    make_bucket(endpoint, bucket)
    config = StoreConfig(uri=f"s3://{bucket}/prefix", endpoint=endpoint)
    return OpenedStores(config).open(config, KEYS)


async def test_what_was_written_is_read(store: ArtifactStore) -> None:
    await store.write("runs/n/record.json", b"{}")
    assert await store.read("runs/n/record.json") == b"{}"
    assert await store.read_uri(f"{store.config.uri}/runs/n/record.json") == b"{}"


async def test_what_was_never_written_is_none(store: ArtifactStore) -> None:
    assert await store.read("runs/n/record.json") is None
    assert await store.folders("runs/n") == []


async def test_writing_again_replaces(store: ArtifactStore) -> None:
    await store.write("a/b", b"one")
    await store.write("a/b", b"two")
    assert await store.read("a/b") == b"two"


async def test_only_folders_directly_below_are_listed_in_order(store: ArtifactStore) -> None:
    for key in ("runs/n/b/record.json", "runs/n/a/deep/record.json", "runs/n/file", "runs/m/c/x"):
        await store.write(key, b"")
    assert await store.folders("runs/n") == ["a", "b"]
    assert await store.folders("runs/n/") == ["a", "b"]


async def test_removing_takes_all_below_and_nothing_beside(store: ArtifactStore) -> None:
    for key in ("runs/n/a/1", "runs/n/a/b/2", "runs/n/ab/3"):
        await store.write(key, b"x")
    await store.remove("runs/n/a")
    await store.remove("runs/n/a")
    assert await store.read("runs/n/a/b/2") is None
    assert await store.read("runs/n/ab/3") == b"x"


def test_a_store_is_opened_once_for_the_same_credentials(tmp_path: Path) -> None:
    config = StoreConfig(uri=tmp_path.as_uri())
    stores = OpenedStores(config)
    assert stores.open(stores.default(), {}) is stores.open(config, {})
    assert stores.open(config, KEYS) is not stores.open(config, {})


async def test_an_s3_store_that_does_not_answer_is_unavailable() -> None:
    config = StoreConfig(uri="s3://nowhere/x", endpoint="http://127.0.0.1:9")
    with pytest.raises(
        StoreUnavailable, match=r"s3://nowhere/x: http://127.0.0.1:9 does not answer"
    ):
        await OpenedStores(config).open(config, KEYS).read("runs")


async def test_a_bucket_that_is_not_there_is_named(endpoint: str) -> None:
    config = StoreConfig(uri="s3://nowhere/x", endpoint=endpoint)
    with pytest.raises(StoreUnavailable, match=r"no bucket nowhere; .* spec\.artifactStore\.uri"):
        await OpenedStores(config).open(config, KEYS).read("runs")


async def test_many_may_open_a_store_at_once(endpoint: str) -> None:
    config = StoreConfig(uri="s3://nowhere/x", endpoint=endpoint)
    store = OpenedStores(config).open(config, KEYS)
    found = await asyncio.gather(*(store.read("a") for _ in range(8)), return_exceptions=True)
    assert {type(error) for error in found} == {StoreUnavailable}


@pytest.mark.parametrize("verb", ["read", "write", "folders", "remove"])
async def test_a_directory_that_cannot_be_used_is_unavailable(tmp_path: Path, verb: str) -> None:
    (tmp_path / "file").write_text("not a directory")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    config = StoreConfig(uri=(tmp_path / ("file" if verb == "write" else "loop")).as_uri())
    store = OpenedStores(config).open(config, {})
    arguments = ("key", b"x") if verb == "write" else ("key",)
    with pytest.raises(StoreUnavailable):
        await getattr(store, verb)(*arguments)
