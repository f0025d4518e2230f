"""Nothing that was acknowledged is lost, and clients find their way after a restart."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from modelyard.embedded.apiserver import process
from modelyard.embedded.apiserver.offline import amend
from modelyard.embedded.apiserver.server import FolderInUseError

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


def test_a_restart_keeps_objects_port_token_and_history(start: Any, connect: Any) -> None:
    first = start()
    api = connect(first)
    before = api.get(CONFIGMAPS)["metadata"]["resourceVersion"]
    created = api.create(CONFIGMAPS, named("kept"))
    kubeconfig = first.kubeconfig.read_bytes()
    assert first.stop() == 0

    second = start()
    again = connect(second)

    assert second.url == first.url
    assert second.kubeconfig.read_bytes() == kubeconfig
    assert again.get(f"{CONFIGMAPS}/kept") == created
    with again.watch(CONFIGMAPS, resourceVersion=before, timeoutSeconds=1) as events:
        assert [event["object"]["metadata"]["name"] for event in events] == ["kept"]
    later = again.create(CONFIGMAPS, named("later"))["metadata"]["resourceVersion"]
    assert int(later) > int(created["metadata"]["resourceVersion"])


def test_a_restart_keeps_definitions(
    start: Any, connect: Any, declare_crd: Any, declared: Any, widget: Any
) -> None:
    first = start()
    declare_crd(connect(first), declared)
    first.stop()

    api = connect(start())

    api.create("/apis/lab.example.com/v1/namespaces/default/widgets", widget())


@pytest.mark.parametrize("round_", range(3))
def test_a_kill_loses_nothing_acknowledged(
    start: Any, connect: Any, eventually: Any, round_: int
) -> None:
    running = start()
    api = connect(running)
    acknowledged: list[str] = []

    def write() -> None:
        number = 0
        while True:
            try:
                api.create(CONFIGMAPS, named(f"c{number}"))
            except httpx.HTTPError:
                return
            acknowledged.append(f"c{number}")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    eventually(lambda: len(acknowledged) >= 20 * (round_ + 1))
    running.kill()
    writer.join()

    again = connect(start())
    names = {item["metadata"]["name"] for item in again.get(CONFIGMAPS)["items"]}
    with again.watch(CONFIGMAPS, resourceVersion="2", timeoutSeconds=1) as events:
        watched = {event["object"]["metadata"]["name"] for event in events}

    assert set(acknowledged) <= names
    assert watched == names
    assert len(names) - len(acknowledged) in {0, 1}  # at most the write that was under way


def test_sigterm_ends_watches(start: Any, connect: Any) -> None:
    running = start()
    api = connect(running)

    with api.watch(CONFIGMAPS) as events:
        stopper = threading.Thread(target=running.stop)
        stopper.start()
        assert list(events) == []
    stopper.join()
    assert running.process.returncode == 0


def test_what_a_killed_server_left_undone_is_done_after(
    start: Any, connect: Any, eventually: Any, tmp_path: Path
) -> None:
    running = start()
    api = connect(running)
    owner = api.create(CONFIGMAPS, named("owner"))
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    api.create(CONFIGMAPS, {"metadata": {"name": "kid", "ownerReferences": [reference]}})
    running.kill()
    remove = (
        "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]);"
        " d.execute(\"DELETE FROM objects WHERE name='owner'\"); d.commit(); d.close()"
    )
    subprocess.run([sys.executable, "-c", remove, str(running.data_dir / "state.db")], check=True)

    again = connect(start())

    eventually(lambda: again.gone(f"{CONFIGMAPS}/kid"))


def test_what_is_amended_between_two_servers_is_told_to_watches_that_go_on(
    start: Any, connect: Any, tmp_path: Path
) -> None:
    running = start()
    api = connect(running)
    before = {name: api.create(CONFIGMAPS, named(name)) for name in ("kept", "changed")}
    with pytest.raises(FolderInUseError, match="another API server runs on"):
        amend(running.data_dir, "configmaps", lambda found: found)
    running.stop()

    def change(found: dict[str, Any]) -> dict[str, Any] | None:
        return {**found, "data": {"a": "b"}} if found["metadata"]["name"] == "changed" else None

    amend(running.data_dir, "configmaps", change)

    again = connect(start())
    after = {name: again.get(f"{CONFIGMAPS}/{name}") for name in before}
    assert after["kept"] == before["kept"]
    assert after["changed"]["data"] == {"a": "b"}
    since = max(int(one["metadata"]["resourceVersion"]) for one in before.values())
    with again.watch(CONFIGMAPS, resourceVersion=str(since), timeoutSeconds=1) as events:
        assert [event["object"] for event in events] == [after["changed"]]


def test_where_no_server_ever_ran_nothing_is_amended_or_made(tmp_path: Path) -> None:
    amend(tmp_path / "none", "configmaps", lambda found: found)
    assert not (tmp_path / "none").exists()


def test_one_folder_has_one_server(start: Any) -> None:
    running = start()

    with pytest.raises(process.StartError, match="another API server runs on"):
        process.start(running.data_dir)


def test_a_port_that_was_taken_meanwhile_is_replaced(start: Any, connect: Any) -> None:
    first = start(folder="one")
    port = first.url.rsplit(":", 1)[1]
    (first.data_dir.parent / "two").mkdir()
    (first.data_dir.parent / "two" / "port").write_text(port)

    second = start(folder="two")

    assert second.url != first.url
    assert connect(second).get("/version")


def test_secrets_of_the_folder_are_private(start: Any) -> None:
    running = start()

    for name in ("token", "kubeconfig", "server.pem", "state.db", "port", "ca.crt"):
        mode = stat.S_IMODE((running.data_dir / name).stat().st_mode)
        assert mode == 0o600, name


def test_the_server_keeps_its_token_to_itself(start: Any, connect: Any) -> None:
    running = start()
    api = connect(running)
    api.http.get("/odd")
    api.http.post(CONFIGMAPS, content="{")

    assert running.token not in running.log.read_text()


def test_it_listens_on_loopback_only(start: Any) -> None:
    running = start()
    port = int(running.url.rsplit(":", 1)[1])

    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
    ]

    assert listening == [f"0100007F:{port:04X}"]


def test_an_idle_server_is_small(start: Any, connect: Any, declare_crd: Any, declared: Any) -> None:
    running = start()
    declare_crd(connect(running), declared)

    status = Path(f"/proc/{running.pid}/status").read_text()

    resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
    assert resident < 70


def test_events_expire(start: Any, connect: Any, eventually: Any) -> None:
    api = connect(start("--event-ttl", "0.3"))
    events = "/api/v1/namespaces/default/events"
    body = {"metadata": {"name": "e"}, "involvedObject": {"name": "x", "kind": "X"}}
    api.create(events, {**body, "lastTimestamp": "2020-01-01T00:00:00Z"})

    eventually(lambda: api.gone(f"{events}/e"))


def test_unexpired_events_stay(start: Any, connect: Any) -> None:
    api = connect(start())
    events = "/api/v1/namespaces/default/events"
    api.create(events, {"metadata": {"name": "e"}, "involvedObject": {"name": "x", "kind": "X"}})

    assert not api.gone(f"{events}/e")


def test_the_command_announces_where_it_listens(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modelyard.embedded.apiserver", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
        assert server.stdout is not None
        announced = json.loads(server.stdout.readline())
        server.terminate()

    assert announced["url"].startswith("https://127.0.0.1:")
    assert Path(announced["kubeconfig"]) == tmp_path / "kubeconfig"
    assert server.returncode == 0
