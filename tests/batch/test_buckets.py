"""Rows from one bucket, predictions into another, each by its own connection's keys."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.batch.run import score
from modelyard_runtimes.entry import RunFailure

from tests.batch.conftest import Site, table
from tests.tools.object_store import make_bucket, object_store


@pytest.fixture
def endpoint(monkeypatch: Any) -> Iterator[str]:
    for owner in ("SOURCE", "OUTPUT"):
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            monkeypatch.setenv(f"{owner}_AWS_{name}", owner.lower())
    with object_store() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(endpoint: str) -> Any:
    return make_bucket(endpoint, "rows", "scored")


def put(bucket: Any, key: str, rows: pa.Table) -> None:
    body = io.BytesIO()
    pq.write_table(rows, body)
    bucket.put_object(Bucket="rows", Key=key, Body=body.getvalue())


def config(site: Site, endpoint: str, uri: str) -> Any:
    source = {"uri": uri, "connectionRef": {"name": "lake"}}
    found = site.config(rowsPerShard=40, input={"source": source})
    stores = {
        "source_store": StoreConfig(uri=uri, endpoint=endpoint),
        "output_store": StoreConfig(uri="s3://scored/run", endpoint=endpoint),
        "output_uri": "s3://scored/run",
    }
    return found.model_copy(update=stores)


def test_a_prefix_is_scored_into_another_bucket(site: Site, endpoint: str, bucket: Any) -> None:
    rows = table(100)
    put(bucket, "new/a.parquet", rows.slice(0, 60))
    put(bucket, "new/b.parquet", rows.slice(60))
    put(bucket, "new/.hidden", rows)

    record = score(config(site, endpoint, "s3://rows/new"), site.store)

    assert record.result.rows_written == 100
    keys = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="scored")["Contents"]]
    assert keys == ["run/_manifest.json", *(f"run/part-0000{at}.parquet" for at in range(3))]
    parts = [bucket.get_object(Bucket="scored", Key=key)["Body"].read() for key in keys[1:]]
    scored = pa.concat_tables([pq.read_table(io.BytesIO(part)) for part in parts])
    assert scored["row"].to_pylist() == list(range(100))


def test_one_object_is_scored(site: Site, endpoint: str, bucket: Any) -> None:
    put(bucket, "a.parquet", table(10))
    assert score(config(site, endpoint, "s3://rows/a.parquet"), site.store).result.rows_read == 10


def test_an_object_that_changes_meanwhile_stops_the_run(
    site: Site, endpoint: str, bucket: Any, monkeypatch: Any
) -> None:
    put(bucket, "new/a.parquet", table(100))
    asked = config(site, endpoint, "s3://rows/new")
    journal = "modelyard_runtimes.batch.shards.Journal.finish"

    def dying(_: Any) -> Any:
        raise OSError("the machine is gone")

    with monkeypatch.context() as patched:
        patched.setattr(journal, dying)
        with pytest.raises(OSError, match="gone"):
            score(asked, site.store)
    put(bucket, "new/a.parquet", table(100, seed=2))

    with pytest.raises(RunFailure, match="changed while the run"):
        score(asked, site.store)


def test_what_is_not_there_is_named(site: Site, endpoint: str, bucket: Any) -> None:
    with pytest.raises(RunFailure, match="nothing lies there"):
        score(config(site, endpoint, "s3://rows/absent"), site.store)


def test_a_bucket_that_takes_no_output_is_named(site: Site, endpoint: str, bucket: Any) -> None:
    put(bucket, "a.parquet", table(10))
    asked = config(site, endpoint, "s3://rows/a.parquet")
    declared = {"uri": "s3://never-made", "connectionRef": {"name": "lake"}}
    output = asked.batch.output.model_validate(declared)
    changes = {
        "batch": asked.batch.model_copy(update={"output": output}),
        "output_uri": "s3://never-made/run",
    }

    with pytest.raises(RunFailure, match=r"spec\.batch\.output\.uri \(s3://never-made\)") as failed:
        score(asked.model_copy(update=changes), site.store)

    assert failed.value.retryable
    assert "create it" in failed.value.message
