"""An S3 server in this process. All of one process share their buckets, so name yours apart."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.server import ThreadedMotoServer


@contextmanager
def object_store(host: str = "127.0.0.1") -> Iterator[str]:
    """Serve at a free port; yield the endpoint."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for every request
    server = ThreadedMotoServer(ip_address=host, port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def make_bucket(endpoint: str, *names: str) -> Any:
    """Make buckets; return the client that did."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
    )
    for name in names:
        client.create_bucket(Bucket=name)
    return client
