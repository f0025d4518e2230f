"""A directory store and an S3 store on loopback, for tests that hold for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.store import Store, open_store

from tests.tools.object_store import make_bucket, object_store

ENVIRON = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with object_store() as endpoint:
        yield endpoint


@pytest.fixture
def directory_store(tmp_path: Path) -> Store:
    return open_store(StoreConfig(uri=f"file://{tmp_path}/store"))


@pytest.fixture
def s3_store(s3_endpoint: str, request: pytest.FixtureRequest) -> Store:
    bucket = f"store-{abs(hash(request.node.nodeid))}"
    make_bucket(s3_endpoint, bucket)
    return open_store(StoreConfig(uri=f"s3://{bucket}/some/root", endpoint=s3_endpoint), ENVIRON)


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
def tamper(store: Store) -> Callable[[str, bytes], None]:
    """Overwrites a file behind the back of the manifest."""

    def overwrite(uri: str, data: bytes) -> None:
        store.write_record(uri.removeprefix(f"{store.uri}/"), data)

    return overwrite
