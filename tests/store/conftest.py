"""A directory store and an S3 store on loopback, for tests that hold for both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.store import Store, open_store
from moto.server import ThreadedMotoServer

ENVIRON = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def directory_store(tmp_path: Path) -> Store:
    return open_store(StoreConfig(uri=f"file://{tmp_path}/store"))


@pytest.fixture
def s3_store(s3_endpoint: str, request: pytest.FixtureRequest) -> Store:
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    bucket = f"store-{abs(hash(request.node.nodeid))}"
    client.create_bucket(Bucket=bucket)
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
