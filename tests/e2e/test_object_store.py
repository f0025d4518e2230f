"""Everything in S3: rows from a bucket, artifacts in a bucket, and the same model as on a disk."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from modelyard.api.resources import CHILDREN, EVENT, HTTP_ROUTE, OURS, Key
from moto.server import ThreadedMotoServer

FILES, ROWS_A_FILE = 200, 5
CELLS, DISK, LOCKED, UNMADE = "cells", "disk", "locked", "unmade"
"""Namespaces: everything in S3; the same rows and search on a disk; a Project with a wrong key; one
whose bucket is not there."""
EXPERIMENT = {
    "datasetRef": {"name": "rows"},
    "task": {"type": "Classification", "target": "label"},
    "validation": {"folds": 2},
    "search": {"trials": 3, "learners": ["Linear", "LightGBM"]},
    "explain": {"permutationRepeats": 1, "shapRows": 5},
}


class Lake:
    """An S3 server on loopback that checks credentials, and can be away for a while."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        iam = self._client("iam", "setup", "setup")
        iam.create_user(UserName="modelyard")
        rule = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
        iam.put_user_policy(UserName="modelyard", PolicyName="all", PolicyDocument=document)
        made = iam.create_access_key(UserName="modelyard")["AccessKey"]
        self.key, self.secret = made["AccessKeyId"], made["SecretAccessKey"]
        httpx.post(f"{self.endpoint}/moto-api/reset-auth", content="0").raise_for_status()
        self.s3 = self._client("s3", self.key, self.secret)

    def _client(self, service: Any, key: str, secret: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def bodies(self, bucket: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        for key in self.keys(bucket, prefix):
            yield key, self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Refuse connections for as long as the block lasts; what lies there stays."""
        self._server.stop()
        try:
            yield
        finally:
            self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
            self._server.start()

    def stop(self) -> None:
        # The setting is the process's, and other tests in it use servers that trust everybody.
        httpx.post(f"{self.endpoint}/moto-api/reset-auth", content="inf").raise_for_status()
        self._server.stop()


@pytest.fixture(scope="module")
def lake() -> Iterator[Lake]:
    lake = Lake()
    for bucket in ("raw", "models"):
        lake.s3.create_bucket(Bucket=bucket)
    yield lake
    lake.stop()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 small files of all formats, with rows whose label follows from `x` and `z`."""
    folder, chance = tmp_path_factory.mktemp("rows"), random.Random(0)
    for number in range(FILES):
        rows = []
        for _ in range(ROWS_A_FILE):
            x, z = round(chance.uniform(-1, 1), 4), round(chance.uniform(-1, 1), 4)
            rows.append({"x": x, "z": z, "label": "ab"[x + z > 0]})
        below = folder / f"part{number % 7}"
        below.mkdir(exist_ok=True)
        if number % 3 == 0:
            pq.write_table(pa.Table.from_pylist(rows), below / f"{number}.parquet")
        elif number % 3 == 1:
            (below / f"{number}.json").write_text(json.dumps(rows))
        else:
            lines = ["x,z,label", *(",".join(map(str, row.values())) for row in rows)]
            (below / f"{number}.csv").write_text("\n".join(lines))
    return folder


def ours(kind: str, namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }


def secret(namespace: str, name: str, key: str, value: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": value},
    }


def connection(lake: Lake, name: str, keys: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "S3",
        "endpoint": lake.endpoint,
        "region": "us-east-1",
        "secretRef": {"name": keys},
    }


def from_lake(uri: str, through: str = "lake") -> dict[str, Any]:
    return {"source": {"uri": uri, "connectionRef": {"name": through}}}


def stored(uri: str, *connections: dict[str, Any]) -> dict[str, Any]:
    store = {"uri": uri, "connectionRef": {"name": connections[0]["name"]}}
    return {"connections": list(connections), "artifactStore": store}


def of_namespace(yard: Any, namespace: str, kind: str, name: str) -> dict[str, Any]:
    """Return the status of an object in any namespace."""
    found = yard.client.get(OURS[kind].api_version, Key(kind, namespace, name)) or {}
    status: dict[str, Any] = found.get("status") or {}
    return status


def ready_of(yard: Any, namespace: str, kind: str, name: str) -> dict[str, Any]:
    conditions = of_namespace(yard, namespace, kind, name).get("conditions", [])
    return next((dict(one) for one in conditions if one["type"] == "Ready"), {})


def until_ready(yard: Any, kind: str, name: str, namespace: str = CELLS) -> None:
    yard.until(
        lambda: ready_of(yard, namespace, kind, name).get("status") == "True",
        f"{namespace}: {kind} {name} is Ready",
    )


@pytest.fixture(scope="module")
def yard(make_yard: Callable[[], Any], lake: Lake, files: Path) -> Any:
    for path in sorted(files.rglob("*.*")):
        key = f"rows/{path.relative_to(files).as_posix()}"
        lake.s3.put_object(Bucket="raw", Key=key, Body=path.read_bytes())
    yard = make_yard()
    for path in yard.directory.glob("*.yaml"):
        path.unlink()
    wrong = connection(lake, "wrong", "wrong-keys")
    project = stored("s3://models/cells", connection(lake, "lake", "lake-keys"), wrong)
    deployment = {"model": {"experiment": "tumor"}}
    monitor = {
        "deploymentRef": {"name": "tumor"},
        "interval": "2s",
        "drift": {"window": {"minRows": 50}},
    }
    for name, document in {
        "keys": secret(CELLS, "lake-keys", lake.key, lake.secret),
        "wrong": secret(CELLS, "wrong-keys", lake.key, "not the key"),
        "locked": secret(LOCKED, "locked-keys", lake.key, "not the key"),
        "locked-project": ours(
            "Project", LOCKED, "locked",
            stored("s3://models/locked", connection(lake, "lake", "locked-keys")),
        ),
        "unmade": secret(UNMADE, "lake-keys", lake.key, lake.secret),
        "unmade-project": ours(
            "Project", UNMADE, "unmade",
            stored("s3://later/unmade", connection(lake, "lake", "lake-keys")),
        ),
        "project": ours("Project", CELLS, "cells", project),
        "dataset": ours("Dataset", CELLS, "rows", from_lake("s3://raw/rows")),
        "locked-rows": ours("Dataset", CELLS, "locked", from_lake("s3://raw/rows/part1", "wrong")),
        "no-bucket": ours("Dataset", CELLS, "nowhere", from_lake("s3://absent/rows")),
        "experiment": ours("Experiment", CELLS, "tumor", EXPERIMENT),
        "deployment": ours("Deployment", CELLS, "tumor", deployment),
        "monitor": ours("Monitor", CELLS, "tumor", monitor),
        "disk-project": ours("Project", DISK, "disk", {}),
        "disk-dataset": ours("Dataset", DISK, "rows", {"source": {"path": str(files)}}),
        "disk-experiment": ours("Experiment", DISK, "tumor", EXPERIMENT),
    }.items():  # fmt: skip
        yard.write(name, document)
    yard.commit("Keep everything in S3")
    yard.up()
    until_ready(yard, "Deployment", "tumor")
    return yard


def test_a_bucket_of_mixed_files_gives_the_rows_of_the_same_directory(yard: Any) -> None:
    until_ready(yard, "Dataset", "rows", DISK)
    there, here = (of_namespace(yard, place, "Dataset", "rows") for place in (CELLS, DISK))
    assert there["snapshot"]["rows"] == FILES * ROWS_A_FILE
    assert there["fingerprint"] == here["fingerprint"]
    assert there["snapshot"]["digest"] == here["snapshot"]["digest"]
    assert there["snapshot"]["uri"].startswith("s3://models/cells/artifacts/")


def test_the_model_is_that_of_a_store_on_disk(yard: Any) -> None:
    until_ready(yard, "Experiment", "tumor", DISK)
    best = of_namespace(yard, DISK, "Experiment", "tumor")["bestModelVersion"]
    until_ready(yard, "ModelVersion", best, DISK)
    here = of_namespace(yard, DISK, "ModelVersion", best)["artifact"]
    there = yard.status("ModelVersion", yard.status("Experiment")["bestModelVersion"])["artifact"]
    assert there["digest"] == here["digest"]
    assert there["uri"].startswith("s3://models/cells/artifacts/")


def test_the_run_is_logged_in_the_bucket(yard: Any, lake: Lake) -> None:
    identity = yard.status("Experiment")["run"]["identity"]
    folder = f"cells/runs/{CELLS}/experiment/tumor/{identity}"
    names = {key.removeprefix(f"{folder}/") for key in lake.keys("models", folder)}
    assert {"record.json", "progress.json", "trials.jsonl"} <= names
    log = lake.s3.get_object(Bucket="models", Key=f"{folder}/trials.jsonl")["Body"].read()
    assert len(log.splitlines()) == 1 + EXPERIMENT["search"]["trials"]  # type: ignore[index]


def test_requests_are_logged_to_the_bucket_and_watched_there(yard: Any, lake: Lake) -> None:
    chance = random.Random(1)
    rows = [{"x": chance.uniform(5, 6), "z": chance.uniform(-1, 1)} for _ in range(200)]
    assert len(yard.predict(rows)["predictions"]) == 200
    yard.until(
        lambda: yard.condition("Monitor", "DriftDetected").get("status") == "True", "drift is seen"
    )
    payloads = dict(lake.bodies("models", f"cells/payloads/{CELLS}/tumor"))
    lines = [line for body in payloads.values() for line in body.splitlines()]
    assert sum(len(json.loads(line)["instances"]) for line in lines) == 200
    until_ready(yard, "Monitor", "tumor")


FAULTS = [
    pytest.param(
        CELLS, "Dataset", "locked", "UnreadableSource", "spec.source.connectionRef", "secretRef",
        id="wrong keys of a source",
    ),
    pytest.param(
        CELLS, "Dataset", "nowhere", "UnreadableSource", "spec.source.uri", "no such bucket",
        id="a missing bucket of a source",
    ),
    pytest.param(
        LOCKED, "Project", "locked", "StoreUnavailable", "spec.connections", "secretRef",
        id="wrong keys of the store",
    ),
    pytest.param(
        UNMADE, "Project", "unmade", "StoreUnavailable", "spec.artifactStore.uri",
        "no bucket later", id="a missing bucket of the store",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("namespace", "kind", "name", "reason", "field", "remedy"), FAULTS)
def test_what_is_wrong_is_told_with_its_field(
    yard: Any, namespace: str, kind: str, name: str, reason: str, field: str, remedy: str
) -> None:
    def told() -> bool:
        ready = ready_of(yard, namespace, kind, name)
        text = f"{ready.get('status')} {ready.get('reason')} {ready.get('message')}"
        return all(part in text for part in ("False", reason, field, remedy))

    yard.until(told, f"{kind} {name} tells {reason} with {field} and {remedy}")


@pytest.fixture(scope="module")
def mended(yard: Any, lake: Lake) -> Any:
    """The yard after the keys were corrected and the buckets made; nothing else is done to it."""
    for name, namespace in (("wrong", CELLS), ("locked", LOCKED)):
        yard.write(name, secret(namespace, f"{name}-keys", lake.key, lake.secret))
    yard.commit("Correct the keys")
    for bucket in ("absent", "later"):
        lake.s3.create_bucket(Bucket=bucket)
    lake.s3.put_object(Bucket="absent", Key="rows/one.csv", Body=b"x,y\n1,2\n")
    return yard


@pytest.mark.parametrize(("namespace", "kind", "name", "reason", "field", "remedy"), FAULTS)
def test_what_is_mended_heals_by_itself(
    mended: Any, namespace: str, kind: str, name: str, reason: str, field: str, remedy: str
) -> None:
    del reason, field, remedy
    until_ready(mended, kind, name, namespace)


def test_a_store_that_goes_away_in_a_search_is_told_and_the_search_goes_on(
    yard: Any, lake: Lake
) -> None:
    digest = yard.digest()
    identity = yard.status("Experiment")["run"]["identity"]
    yard.change("experiment", run={"token": "again"})
    yard.commit("Search again")
    folder = f"cells/runs/{CELLS}/experiment/tumor"
    yard.until(
        lambda: any(
            key.endswith("/trials.jsonl") and identity not in key
            for key in lake.keys("models", folder)
        ),
        "the new search logs its first trial",
    )
    with lake.away():
        told = yard.until(
            lambda: (
                ready
                if (ready := yard.condition("Experiment", "Ready"))["status"] == "False"
                and lake.endpoint in ready["message"]
                else None
            ),
            "the Experiment tells that the store is away",
        )
        assert told["reason"] in ("StoreUnavailable", "DatasetNotReady"), "whichever asked first"
        assert yard.predict([{"x": 0.1, "z": 0.1}])["predictions"], "serving needs no store"
    yard.until(
        lambda: (
            yard.status("Experiment")["run"]["identity"] != identity and yard.ready("Experiment")
        ),
        "the search ends",
    )
    assert yard.digest() == digest
    yard.until_served()


def test_no_secret_is_anywhere_but_in_the_secret(yard: Any, lake: Lake) -> None:
    canaries = [lake.secret.encode(), base64.b64encode(lake.secret.encode())]

    def leaks(content: bytes) -> bool:
        return any(canary in content for canary in canaries)

    files = [path for path in yard.state.rglob("*") if path.is_file()]
    places = {path.relative_to(yard.state).parts[0] for path in files if leaks(path.read_bytes())}
    assert places == {"apiserver"}, "only the database of the API server, which holds the Secret"
    served = [resource for resource in CHILDREN if resource is not HTTP_ROUTE]
    for resource in (*OURS.values(), *served, EVENT):
        for namespace in (CELLS, DISK, LOCKED, UNMADE):
            text = json.dumps(yard.client.list(resource, namespace)).encode()
            assert not leaks(text), f"{namespace}/{resource.kind}"
    for bucket in ("raw", "models", "later", "absent"):
        assert [key for key, body in lake.bodies(bucket) if leaks(body)] == []
