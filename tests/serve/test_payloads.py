"""The payload log: what is written, what never is, and that it stays bounded."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from modelyard_runtimes import privacy
from modelyard_runtimes.serve import payload_log
from modelyard_runtimes.serve.chunks import CHUNK_BYTES, ChunkWriter, DirectoryFolder, open_folder
from modelyard_runtimes.serve.metrics import Metrics
from modelyard_runtimes.serve.payload_log import (
    FLUSH_ROWS,
    MAX_PENDING_ROWS,
    Payload,
    PrivacyView,
    SampledPayloadLog,
)

NAME = "churn"
V1 = f"/v1/models/{NAME}:predict"
CANARY = "canary@private.example"
START = datetime(2026, 1, 1, tzinfo=UTC)


def row(**changes: Any) -> dict[str, Any]:
    return {"age": 30, "income": 2000.5, "member": True, "plan": "gold", **changes}


def chunks(folder: Path) -> list[Path]:
    return sorted((folder / "store/payloads/default" / NAME).glob("*.jsonl"))


def records(folder: Path) -> list[dict[str, Any]]:
    lines = [line for path in chunks(folder) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def test_a_record_holds_what_came_in_and_what_went_out(serve: Any, tmp_path: Path) -> None:
    served = serve()
    with served.client(headers={"x-request-id": "one"}) as client:
        answer = client.post(V1, json={"instances": [row(), row(age=None)]}).json()
    served.stop()

    (record,) = records(tmp_path)
    assert record["id"] == "one"
    assert record["modelDigest"] == served.config.model_digest
    assert record["modelVersion"] == served.config.model_version
    assert datetime.fromisoformat(record["time"]).tzinfo is not None
    assert [instance["age"] for instance in record["instances"]] == [30, None]
    assert record["predictions"] == answer["predictions"]


def test_v2_requests_are_logged_alike(serve: Any, tmp_path: Path) -> None:
    tensors = [
        {"name": "age", "datatype": "FP64", "shape": [2], "data": [1, 2]},
        {"name": "member", "datatype": "BOOL", "shape": [2], "data": [True, False]},
        {"name": "plan", "datatype": "BYTES", "shape": [2], "data": ["gold", "basic"]},
    ]
    served = serve()
    with served.client() as client:
        client.post(f"/v2/models/{NAME}/infer", json={"inputs": tensors}).raise_for_status()
    served.stop()

    (record,) = records(tmp_path)
    assert record["instances"] == [
        {"age": 1, "member": True, "plan": "gold"},
        {"age": 2, "member": False, "plan": "basic"},
    ]


OBJECT = b'{"plan": "gold", "member": null, "age": 1e3}'
LIST = b'[null, 1.50, true, "g\\u00f6ld", null, null, null]'
SENT = {
    "objects": b'{"instances": [%b, {"age":5, "member":true, "plan":"basic"}]}' % OBJECT,
    "a list": b' { "instances" : [%b] } ' % LIST,
    "an object and a list": b'{"instances":[%b,%b]}' % (OBJECT, LIST),
    "several lines": b'{"instances": [\n %b\r\n]}' % OBJECT,
    "a field in escapes": b'{"inst\\u0061nces":[%b]}' % OBJECT,
    "a field twice": b'{"instances":[{"email":"%b"}],"instances":[%b]}' % (CANARY.encode(), LIST),
}


@pytest.mark.parametrize("body", SENT.values(), ids=list(SENT))
def test_a_record_means_what_was_sent(
    serve: Any, model_document: Any, tmp_path: Path, body: bytes
) -> None:
    model = model_document(privacy={})
    served = serve(model)
    with served.client() as client:
        answer = client.post(V1, content=body)
    served.stop()

    (record,) = records(tmp_path)
    names = [feature.name for feature in model.features]
    sent = [
        one if isinstance(one, dict) else dict(zip(names, one, strict=True))
        for one in json.loads(body)["instances"]
    ]
    assert record["instances"] == [dict.fromkeys(names) | one for one in sent]
    assert record["predictions"] == answer.json()["predictions"]
    assert CANARY not in chunks(tmp_path)[0].read_text()


@pytest.mark.parametrize("key", ["", "secret key"], ids=["without a key", "with a key"])
def test_a_private_value_is_nowhere_in_the_payload_folder(
    serve: Any, model_document: Any, tmp_path: Path, key: str
) -> None:
    model = model_document(never_logged=["since"], privacy={"email": "Mask", "phone": "Hash"})
    served = serve(model, {"MODELYARD_PRIVACY_KEY": key})
    secrets = row(email=CANARY, phone="+49 30 555777", since="1999-12-31")
    with served.client() as client:
        client.post(V1, json={"instances": [secrets]}).raise_for_status()
        client.post(V1, json={"instances": [row(email={"canary": CANARY})]})
    served.stop()

    written = b"".join(path.read_bytes() for path in chunks(tmp_path))
    (record,) = records(tmp_path)
    for raw in (CANARY, "555777", "1999-12-31"):
        assert raw.encode() not in written
    assert record["instances"][0]["email"] == privacy.MASK
    assert "since" not in record["instances"][0]
    expected = privacy.keyed_hash("+49 30 555777", b"secret key") if key else None
    assert record["instances"][0].get("phone") == expected


def test_dropped_columns_are_not_logged(serve: Any, model_document: Any, tmp_path: Path) -> None:
    served = serve(model_document(privacy={"email": "Drop"}))
    with served.client() as client:
        client.post(V1, json={"instances": [row(email=CANARY)]}).raise_for_status()
    served.stop()

    assert "email" not in records(tmp_path)[0]["instances"][0]


def test_the_sample_follows_from_the_request_id_alone(serve: Any, tmp_path: Path) -> None:
    ids = [f"request-{number}" for number in range(200)]
    seen: list[set[str]] = []
    for _ in range(2):
        for path in chunks(tmp_path):
            path.unlink()
        served = serve(sample_percent=30)
        with served.client() as client:
            for request_id in ids:
                client.post(V1, json={"instances": [row()]}, headers={"x-request-id": request_id})
        served.stop()
        seen.append({record["id"] for record in records(tmp_path)})

    assert seen[0] == seen[1]
    assert 30 <= len(seen[0]) <= 90


def test_nothing_is_logged_at_zero_percent(serve: Any, tmp_path: Path) -> None:
    served = serve(sample_percent=0)
    with served.client() as client:
        client.post(V1, json={"instances": [row()]}).raise_for_status()
    served.stop()

    assert chunks(tmp_path) == []


def test_a_large_request_is_logged_in_part_and_the_rest_counted(serve: Any, tmp_path: Path) -> None:
    served = serve()
    with served.client() as client:
        client.post(V1, json={"instances": [row(age=n) for n in range(3000)]}).raise_for_status()
        metrics = client.get("/metrics").text
    served.stop()

    assert [instance["age"] for instance in records(tmp_path)[0]["instances"]] == [
        *range(0, 3000, 3)
    ]
    assert 'modelyard_payload_rows_total{model="churn",outcome="dropped"} 2000.0' in metrics


async def test_many_rows_are_written_before_their_time(
    tmp_path: Path, model_document: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload_log, "FLUSH_SECONDS", 3600)
    folder = DirectoryFolder(tmp_path.as_uri())
    view = PrivacyView(model_document(), b"")
    written = SampledPayloadLog(ChunkWriter(folder), Metrics(NAME, "v", "d"), view, 100, {})
    running = asyncio.create_task(written.run())
    await asyncio.sleep(0)
    requests = 0
    while requests < 2 * MAX_PENDING_ROWS:
        for _ in range(FLUSH_ROWS):
            written.offer(Payload(b"id", ["age"], [[requests]], [0.5], None))
            requests += 1
        async with asyncio.timeout(60):
            while lines(folder, tmp_path) < requests:  # noqa: ASYNC110 - it is another thread
                await asyncio.sleep(0.01)
    written.stop()
    await running


def test_a_folder_that_cannot_be_written_does_not_stop_serving(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/payloads").write_text("not a folder")
    served = serve()
    with served.client() as client:
        statuses = [client.post(V1, json={"instances": [row()]}).status_code for _ in range(3)]
    assert served.stop() == 0
    assert statuses == [200, 200, 200]


def lines(folder: DirectoryFolder, path: Path) -> int:
    return sum(len((path / name).read_bytes().splitlines()) for name in folder.sizes())


def test_a_chunk_is_closed_after_a_minute_and_when_it_is_full(tmp_path: Path) -> None:
    folder = DirectoryFolder(tmp_path.as_uri())
    writer = ChunkWriter(folder)

    writer.write(b"a\n", START)
    writer.write(b"b\n", START + timedelta(seconds=60))
    assert len(folder.sizes()) == 1
    writer.write(b"c\n", START + timedelta(seconds=61))
    assert len(folder.sizes()) == 2
    writer.write(b"d" * CHUNK_BYTES + b"\n", START + timedelta(seconds=62))
    assert len(folder.sizes()) == 3
    assert lines(folder, tmp_path) == 4


def test_the_oldest_chunks_go_when_the_folder_is_full(tmp_path: Path) -> None:
    folder = DirectoryFolder(tmp_path.as_uri())
    writer = ChunkWriter(folder, folder_bytes=100)
    for minute in range(0, 20, 2):
        writer.write(b"x" * 39 + b"\n", START + timedelta(minutes=minute))

    assert sum(folder.sizes().values()) <= 100 + 40
    assert min(folder.sizes()) > f"{START:%Y%m%dT%H%M%S}" + "." * 3
    assert max(folder.sizes()).startswith("20260101T0018")


def test_a_full_folder_is_not_listed_for_every_chunk(tmp_path: Path) -> None:
    class Counted(DirectoryFolder):
        listed = 0

        def sizes(self) -> Mapping[str, int]:
            self.listed += 1
            return super().sizes()

    folder = Counted(tmp_path.as_uri())
    writer = ChunkWriter(folder, folder_bytes=1600)
    for minute in range(0, 400, 2):  # 20 bytes each, four thousand in all
        writer.write(b"x" * 19 + b"\n", START + timedelta(minutes=minute))
    assert folder.listed == 4000 // 100

    assert 1500 < sum(folder.sizes().values()) <= 1600


def test_the_folder_of_several_writers_is_bounded_as_that_of_one(tmp_path: Path) -> None:
    folder = DirectoryFolder(tmp_path.as_uri())
    writers = [ChunkWriter(folder, folder_bytes=1600) for _ in range(8)]
    sizes = []
    for minute in range(0, 400, 2):
        for writer in writers:
            writer.write(b"x" * 19 + b"\n", START + timedelta(minutes=minute))
        sizes.append(sum(folder.sizes().values()))

    assert 1400 < max(sizes) <= 1600 + 8 * 20


def test_two_writers_never_share_a_chunk(tmp_path: Path) -> None:
    folder = DirectoryFolder(tmp_path.as_uri())
    for writer in (ChunkWriter(folder), ChunkWriter(folder)):
        writer.write(b"x\n", START)

    assert len(folder.sizes()) == 2


def test_chunks_in_a_bucket_grow_like_files(s3_folder: tuple[str, Any, Mapping[str, str]]) -> None:
    uri, config, environ = s3_folder
    folder = open_folder(uri, config, environ)
    writer = ChunkWriter(folder, folder_bytes=6)
    writer.write(b"a\n", START)
    writer.write(b"b\n", START)
    assert list(folder.sizes().values()) == [4]
    for minute in (2, 4, 6):
        writer.write(b"c\nd\n", START + timedelta(minutes=minute))

    assert sum(folder.sizes().values()) <= 6 + 4
    assert all(name.startswith("20260101T000") for name in folder.sizes())


PRIVACY = {
    "one masked": {"email": "Mask"},
    "all masked": dict.fromkeys(("age", "income", "member", "plan", "since"), "Mask"),
}


@pytest.mark.parametrize("privacy_actions", PRIVACY.values(), ids=list(PRIVACY))
def test_a_mask_covers_its_columns_however_many_there_are(
    serve: Any, model_document: Any, tmp_path: Path, privacy_actions: dict[str, str]
) -> None:
    served = serve(model_document(privacy=privacy_actions))
    with served.client() as client:
        client.post(V1, json={"instances": [row(email=CANARY)]}).raise_for_status()
    served.stop()

    (record,) = records(tmp_path)
    seen = record["instances"][0]
    masked = {name for name, value in seen.items() if value == privacy.MASK}
    assert masked == {name for name in privacy_actions if name in row(email=CANARY)}


async def test_what_comes_while_the_rest_is_written_is_written_too(
    tmp_path: Path, model_document: Any
) -> None:
    folder, begun, go_on = DirectoryFolder(tmp_path.as_uri()), threading.Event(), threading.Event()

    class Slow(ChunkWriter):
        def write(self, lines: bytes, now: datetime) -> None:
            begun.set()
            assert go_on.wait(30)
            super().write(lines, now)

    view = PrivacyView(model_document(), b"")
    written = SampledPayloadLog(Slow(folder), Metrics(NAME, "v", "d"), view, 100, {})
    running = asyncio.create_task(written.run())
    written.offer(Payload(b"one", ["age"], [[1]], [0.5], None))
    assert await asyncio.to_thread(begun.wait, 30)
    written.offer(Payload(b"two", ["age"], [[2]], [0.5], None))
    written.stop()
    go_on.set()
    await running

    assert lines(folder, tmp_path) == 2
