"""The server as a process: sockets, readiness, hand-over, refusals at the start, workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import numpy as np
import pytest

NAME = "churn"
V1 = f"/v1/models/{NAME}:predict"


def row(**changes: Any) -> dict[str, Any]:
    return {"age": 30, "income": 2000.5, "member": True, "plan": "gold", **changes}


def run_serve(config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelyard_runtimes.serve", *arguments],
        env={**os.environ, "MODELYARD_CONFIG": config},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_ends_with_status_0_when_told_to(serve: Any) -> None:
    assert serve().stop() == 0


def test_it_binds_host_and_port_by_itself(configure: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "modelyard_runtimes.serve", "--port", str(port)],
        env={
            **os.environ,
            "MODELYARD_CONFIG": json.dumps(configure().to_json()),
            "NOTIFY_FD": str(writer),
        },
        pass_fds=(writer,),
    )
    os.close(writer)
    try:
        assert os.read(reader, 64) == b"READY=1\n"
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    finally:
        os.close(reader)
        process.terminate()
        process.wait(30)


def damage(folder: Path, config: Any) -> None:
    model = next((folder / "store/artifacts").glob("*/members/0.npy"))
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(bytes(content))


def remove(folder: Path, config: Any) -> None:
    next((folder / "store/artifacts").glob("*/model.json")).unlink()


REFUSALS: dict[str, tuple[Callable[[Path, Any], None], dict[str, Any], str]] = {
    "a file was changed": (damage, {}, "digest is"),
    "another digest": (lambda _a, _b: None, {"modelDigest": f"sha256:{'0' * 64}"}, "digest is"),
    "a file is missing": (remove, {}, "model.json"),
}


@pytest.mark.parametrize(("change", "fields", "message"), REFUSALS.values(), ids=list(REFUSALS))
def test_it_refuses_another_model_than_the_one_it_was_told(
    configure: Any, tmp_path: Path, change: Any, fields: dict[str, Any], message: str
) -> None:
    config = configure()
    change(tmp_path, config)

    ended = run_serve(json.dumps({**config.to_json(), **fields}), "--port", "0")

    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_server_of_trees_starts_without_what_it_may_never_need() -> None:
    """The kinds and NumPy are half of the time to the first answer; see the row `start`."""
    code = (
        "import sys; from modelyard_runtimes.serve import __main__, predictor, server, smoke_test;"
        "loaded = {name.partition('.')[0] for name in sys.modules} | set(sys.modules);"
        "print(*loaded & {'numpy', 'llvmlite', 'pyarrow', 'boto3', 'grpc', 'google',"
        " 'modelyard.api.experiment', 'modelyard.api.dataset', 'modelyard.api.deployment',"
        " 'modelyard.api.monitor'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""


def test_it_refuses_a_configuration_and_names_the_field() -> None:
    ended = run_serve('{"name": "x"}')

    assert ended.returncode != 0
    assert "modelDigest" in ended.stderr


def test_a_model_folder_takes_the_place_of_the_uri(configure: Any, tmp_path: Path) -> None:
    config = configure()
    folder = config.model_uri.removeprefix("file://")
    other = {**config.to_json(), "modelUri": "s3://nowhere/model", "payloadUri": None}
    process = subprocess.Popen(
        [sys.executable, "-m", "modelyard_runtimes.serve", "--port", "0", "--model-dir", folder],
        env={**os.environ, "MODELYARD_CONFIG": json.dumps(other), "NOTIFY_FD": "1"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"READY=1\n"
    process.terminate()
    process.communicate(timeout=30)


async def load(url: str, switches: Callable[[], None]) -> tuple[int, list[str]]:
    """Send requests over kept-alive connections while `switches` runs; count and failures."""
    done, failures = 0, []
    stop = asyncio.Event()

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal done
        while not stop.is_set():
            try:
                async with session.post(f"{url}{V1}", json={"instances": [row()]}) as response:
                    await response.read()
                    if response.status != 200:
                        failures.append(str(response.status))
            except aiohttp.ClientError as error:
                failures.append(repr(error))
            done += 1

    async with aiohttp.ClientSession() as session:
        clients = [asyncio.create_task(client(session)) for _ in range(8)]
        await asyncio.to_thread(switches)
        stop.set()
        await asyncio.gather(*clients)
    return done, failures


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_no_request_fails_while_processes_that_share_a_socket_take_turns(
    serve: Any,
) -> None:
    running = [serve()]

    def switches() -> None:
        for _ in range(3):
            running.append(serve())
            running.pop(0).stop()

    done, failures = await load(running[0].url, switches)

    assert failures == []
    assert done > 100


def test_a_kept_connection_is_answered_and_closed_after_the_end_was_asked_for(
    serve: Any,
) -> None:
    served = serve()
    with served.client() as client:
        before = client.get("/healthz")
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        after = client.get("/healthz")

    assert "connection" not in before.headers
    assert (after.status_code, after.headers["connection"]) == (200, "close")
    assert served.process.wait(30) == 0


def test_a_request_in_flight_is_finished(serve: Any) -> None:
    served = serve()
    host, port = served.url.removeprefix("http://").split(":")
    body = json.dumps({"instances": [row()]}).encode()
    head = f"POST {V1} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + body[:10])
        time.sleep(0.2)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body[10:])
        answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer
    assert served.process.wait(30) == 0


def test_several_workers_share_socket_and_metrics(serve: Any) -> None:
    served = serve(workers=2)
    for _ in range(20):  # each on a connection of its own, so both workers get some
        with served.client() as client:
            client.post(V1, json={"instances": [row()]}).raise_for_status()
    with served.client() as client:
        text = client.get("/metrics").text

    assert 'modelyard_requests_total{model="churn",protocol="v1",status="200"} 20.0' in text
    assert served.stop() == 0


def test_a_killed_worker_is_replaced(serve: Any) -> None:
    served = serve(workers=2)
    children = f"/proc/{served.process.pid}/task/{served.process.pid}/children"
    first = int(Path(children).read_text().split()[0])
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        now = Path(children).read_text().split()
        if len(now) == 2 and str(first) not in now:
            break
        time.sleep(0.05)

    assert len(Path(children).read_text().split()) == 2
    with served.client() as client:
        assert client.get("/healthz").status_code == 200


def test_offline_and_served_predictions_agree_on_10_000_rows(serve: Any, load_model: Any) -> None:
    served = serve(payload_uri=None)
    random = np.random.default_rng(7)
    rows = [
        row(
            age=None if missing else float(age),
            income=float(income),
            member=bool(member),
            plan=str(plan),
        )
        for missing, age, income, member, plan in zip(
            random.random(10_000) < 0.1,
            random.normal(40, 12, 10_000),
            random.lognormal(7, 1, 10_000),
            random.random(10_000) < 0.5,
            random.choice(["basic", "gold", "unknown"], 10_000),
            strict=True,
        )
    ]
    offline = load_model(served.config).predict(
        {name: [instance[name] for instance in rows] for name in rows[0]}
    )
    with served.client() as client:
        whole = client.post(V1, json={"instances": rows}).json()["predictions"]
        single = [
            client.post(V1, json={"instances": [one]}).json()["predictions"][0]
            for one in rows[:200]
        ]

    answered = np.array([item["probabilities"]["yes"] for item in whole])
    np.testing.assert_allclose(answered, offline[:, 1], atol=1e-6, rtol=0)
    alone = np.array([item["probabilities"]["yes"] for item in single])
    np.testing.assert_allclose(alone, offline[:200, 1], atol=1e-6, rtol=0)
