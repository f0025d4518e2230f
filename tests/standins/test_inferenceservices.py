"""InferenceServices are served without a gap, at a URL that stays."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from modelyard.embedded.client import CONFIG_MAPS, ApiError, Object
from modelyard.embedded.standins.predictor import parse_inference_service
from modelyard.embedded.standins.requests import METRICS_URL
from modelyard.embedded.standins.shapes import Unsupported
from modelyard.embedded.standins.volumes import write

from .conftest import Cluster, entries, eventually, is_alive


def inference_service(answer: str, **fields: Any) -> Object:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "churn"},
        "spec": predictor(answer, **fields),
    }


def predictor(answer: str, **fields: Any) -> Object:
    container = {
        "name": "kserve-container",
        "image": "modelyard/runtime:0",
        "command": ["python", "-m", "tiny_serve"],
        "args": ["--port", "8080"],
        "env": entries({"ANSWER": answer, **fields.pop("environment", {})}),
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8080}},
        **fields.pop("container", {}),
    }
    return {"predictor": {"containers": [container], **fields}}


def ready(status: Object) -> str:
    conditions: list[dict[str, str]] = status.get("conditions", [])
    return {one["type"]: one["status"] for one in conditions}.get("Ready", "")


async def is_ready(cluster: Cluster, generation: int = 1) -> Object:
    return await cluster.status(
        "InferenceService",
        "churn",
        lambda status: ready(status) == "True" and status["observedGeneration"] == generation,
    )


async def ask(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


def server_pids(cluster: Cluster) -> list[int]:
    """Return the pids of the model servers, by their command line and the log they write."""
    logs = str(cluster.stand_ins.state_dir / "logs" / cluster.namespace)
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if is_alive(pid) and _is_server(Path(f"/proc/{pid}"), logs)]


def _is_server(process: Path, logs: str) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        log = str((process / "fd" / "1").readlink())
    except OSError:
        return False
    return words[1:3] == [b"-m", b"tiny_serve"] and log.startswith(logs)


class Load:
    """Clients that ask without a pause, each over a connection of its own that is kept alive."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(8)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.post(self.url, data=b"") as answer:
                        self.answers[await answer.text()] += 1
                except aiohttp.ClientError as error:
                    self.failures.append(repr(error))
                    await asyncio.sleep(0.01)

    async def hears(self, answer: str, count: int = 50) -> None:
        """Wait for so many more answers of this text."""
        wanted = self.answers[answer] + count
        await eventually(lambda: self.answers[answer], lambda found: found >= wanted)


async def test_it_is_served_and_says_where(cluster: Cluster) -> None:
    await cluster.create(inference_service("one"))
    status = await is_ready(cluster)
    assert await ask(status["url"]) == "one"
    assert status["url"].startswith("http://127.0.0.1:")
    assert status["address"] == {"url": status["url"]}
    assert status["components"]["predictor"] == {
        "url": status["url"],
        "latestCreatedRevision": "1",
        "latestReadyRevision": "1",
    }
    assert status["modelStatus"] == {
        "transitionStatus": "UpToDate",
        "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
        "copies": {"failedCopies": 0, "totalCopies": 1},
    }
    assert [one["type"] for one in status["conditions"]] == [
        "IngressReady",
        "PredictorReady",
        "Ready",
    ]


async def test_a_switch_under_load_fails_no_request(cluster: Cluster) -> None:
    await cluster.create(inference_service("one"))
    url = (await is_ready(cluster))["url"]
    async with Load(url) as load:
        await load.hears("one")
        for generation, answer in enumerate(["two", "three", "one"], start=2):
            changed = predictor(answer, environment={"LOAD_SECONDS": "0.3"})
            await cluster.patch("InferenceService", "churn", changed)
            status = await is_ready(cluster, generation)
            await load.hears(answer)
            assert status["url"] == url
        assert load.failures == []
    assert status["components"]["predictor"]["latestReadyRevision"] == "4"
    await eventually(lambda: server_pids(cluster), lambda pids: len(pids) == 1)


async def test_while_a_new_revision_loads_the_earlier_one_serves(cluster: Cluster) -> None:
    await cluster.create(inference_service("one"))
    url = (await is_ready(cluster))["url"]
    changed = predictor("two", environment={"LOAD_SECONDS": "3600"})
    await cluster.patch("InferenceService", "churn", changed)
    status = await cluster.status(
        "InferenceService", "churn", lambda status: ready(status) == "Unknown"
    )
    assert status["modelStatus"]["transitionStatus"] == "InProgress"
    assert status["modelStatus"]["states"] == {
        "activeModelState": "Loaded",
        "targetModelState": "Loading",
    }
    assert await ask(url) == "one"
    await cluster.patch("InferenceService", "churn", predictor("three"))
    await is_ready(cluster, 3)
    await eventually(lambda: ask(url), lambda answer: answer == "three")


async def test_a_revision_that_does_not_load_leaves_the_earlier_one_serving(
    cluster: Cluster,
) -> None:
    await cluster.create(inference_service("one"))
    url = (await is_ready(cluster))["url"]
    async with Load(url) as load:
        broken = predictor("two", environment={"FAIL": "1"})
        await cluster.patch("InferenceService", "churn", broken)
        status = await cluster.status(
            "InferenceService",
            "churn",
            lambda status: status["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad",
        )
        failure = status["modelStatus"]["lastFailureInfo"]
        assert failure["reason"] == "ModelLoadFailed"
        assert failure["message"] == "the model's digest does not match"
        assert failure["exitCode"] == 1
        assert ready(status) == "Unknown"
        assert status["components"]["predictor"]["latestCreatedRevision"] == "2"
        assert status["components"]["predictor"]["latestReadyRevision"] == "1"
        await load.hears("one")
        [pid] = server_pids(cluster)
        os.kill(pid, signal.SIGKILL)
        await load.hears("one")
        await cluster.patch("InferenceService", "churn", predictor("three"))
        await is_ready(cluster, 3)
        await load.hears("three")


async def test_each_replica_is_a_process_and_scaling_fails_no_request(cluster: Cluster) -> None:
    await cluster.create(inference_service("one"))
    url = (await is_ready(cluster))["url"]
    first = server_pids(cluster)
    async with Load(url) as load:
        for generation, replicas in enumerate([3, 1], start=2):
            changed = predictor("one", minReplicas=replicas)
            await cluster.patch("InferenceService", "churn", changed)
            await is_ready(cluster, generation)
            await eventually(lambda: server_pids(cluster), lambda pids, n=replicas: len(pids) == n)
            await load.hears("one")
        assert load.failures == []
    assert server_pids(cluster) == first, "scaling restarts nothing"


async def test_nodes_mean_nothing_on_one_machine_and_restart_no_server(cluster: Cluster) -> None:
    await cluster.create(inference_service("one"))
    await is_ready(cluster)
    first = server_pids(cluster)
    toleration = {"key": "ml", "operator": "Exists"}
    placed = predictor("one", nodeSelector={"pool": "ml"}, tolerations=[toleration], affinity={})
    await cluster.patch("InferenceService", "churn", placed)
    await is_ready(cluster, 2)
    assert server_pids(cluster) == first


async def test_one_of_several_replicas_is_replaced_while_the_others_answer(
    cluster: Cluster,
) -> None:
    await cluster.create({**inference_service("one"), "spec": predictor("one", minReplicas=2)})
    url = (await is_ready(cluster))["url"]
    pids = await eventually(lambda: server_pids(cluster), lambda found: len(found) == 2)
    await cluster.status(
        "InferenceService", "churn", lambda s: s["modelStatus"]["copies"]["totalCopies"] == 2
    )
    os.kill(pids[0], signal.SIGKILL)
    assert await ask(url) == "one"
    await eventually(lambda: server_pids(cluster), lambda found: len(found) == 2 and found != pids)


ASKS = {"resources": {"requests": {"cpu": "10m"}}}
SCALED = {"minReplicas": 1, "maxReplicas": 2, "scaleMetric": "cpu", "scaleTarget": 50}


async def test_servers_come_under_load_and_go_after_it_without_a_failed_request(
    cluster: Cluster,
) -> None:
    scaled = {"spec": predictor("one", container=ASKS, **SCALED)}
    await cluster.create({**inference_service("one"), **scaled})
    url = (await is_ready(cluster))["url"]
    first = server_pids(cluster)
    assert len(first) == 1
    async with Load(url) as load:
        await eventually(lambda: server_pids(cluster), lambda pids: len(pids) == 2)
        await load.hears("one")
        assert load.failures == []
    await eventually(lambda: server_pids(cluster), lambda pids: pids == first)
    assert await ask(url) == "one"
    await cluster.status(
        "InferenceService", "churn", lambda s: s["modelStatus"]["copies"]["totalCopies"] == 1
    )


REQUESTS = {
    "type": "External",
    "external": {
        "metric": {"backend": "prometheus", "serverAddress": METRICS_URL, "query": "requests"},
        "target": {"type": "Value", "value": "20"},
    },
}
TO_ZERO = {"minReplicas": 0, "maxReplicas": 2, "autoScaling": {"metrics": [REQUESTS]}}


def elsewhere(metric: Object) -> Object:
    """Return a metric that a Prometheus counts."""
    external = metric["external"]
    counted = {**external["metric"], "serverAddress": "http://prometheus:9090"}
    return {**metric, "external": {**external, "metric": counted}}


async def test_servers_follow_requests_from_none_to_two_and_back(cluster: Cluster) -> None:
    """Eight clients ask hundreds of times a second; each server should answer twenty."""
    await cluster.create({**inference_service("one"), "spec": predictor("one", **TO_ZERO)})
    url = (await is_ready(cluster))["url"]
    assert server_pids(cluster) == []
    async with Load(url) as load:
        await load.hears("one")
        await eventually(lambda: server_pids(cluster), lambda pids: len(pids) == 2)
        await load.hears("one")
        assert load.failures == []
    await eventually(lambda: server_pids(cluster), lambda pids: not pids)
    status = await cluster.status(
        "InferenceService", "churn", lambda s: s["modelStatus"]["copies"]["totalCopies"] == 0
    )
    assert ready(status) == "True"
    assert await ask(url) == "one", "the first request after zero is answered"
    assert len(server_pids(cluster)) == 1


async def test_what_rests_when_the_stand_ins_come_back_is_woken_at_the_same_url(
    cluster: Cluster,
) -> None:
    await cluster.create({**inference_service("one"), "spec": predictor("one", **TO_ZERO)})
    url = (await is_ready(cluster))["url"]
    cluster.stand_ins.stop()
    cluster.stand_ins.start()
    await eventually(lambda: attempt(url), lambda answer: answer == "one")


async def test_what_answers_alone_is_replaced_when_counts_are_to_be_added_up(
    cluster: Cluster,
) -> None:
    await cluster.create(inference_service("one"))
    url = (await is_ready(cluster))["url"]
    [alone] = server_pids(cluster)
    async with Load(url) as load:
        await load.hears("one")
        changed = predictor("one", **TO_ZERO | {"minReplicas": 1})
        await cluster.patch("InferenceService", "churn", changed)
        await eventually(lambda: server_pids(cluster), lambda pids: pids and alone not in pids)
        await load.hears("one")
        assert load.failures == []


async def test_a_killed_server_is_started_again_while_connections_wait(cluster: Cluster) -> None:
    await cluster.create(inference_service("one"))
    url = (await is_ready(cluster))["url"]
    for _ in range(2):
        [pid] = server_pids(cluster)
        os.kill(pid, signal.SIGKILL)
        assert await ask(url) == "one", "a new connection is not refused"
        await is_ready(cluster)


async def test_a_first_revision_that_does_not_load_is_not_ready_and_says_why(
    cluster: Cluster,
) -> None:
    await cluster.create(inference_service("one", environment={"FAIL": "1"}))
    status = await cluster.status(
        "InferenceService",
        "churn",
        lambda status: (
            status.get("modelStatus", {}).get("transitionStatus") == "BlockedByFailedLoad"
        ),
    )
    assert ready(status) == "False"
    assert "url" not in status


async def test_a_missing_secret_is_waited_for_and_named(cluster: Cluster) -> None:
    secret = {"valueFrom": {"secretKeyRef": {"name": "later", "key": "word"}}}
    await cluster.create(inference_service("one", environment={"KEY": secret}))
    status = await cluster.status("InferenceService", "churn", ready)
    messages = {one["type"]: one.get("message", "") for one in status["conditions"]}
    assert 'secret "later" not found' in messages["PredictorReady"]
    await cluster.secret("later", word="hello")
    await is_ready(cluster)


@pytest.mark.parametrize("meanwhile", ["nothing", "change", "crash"])
async def test_killed_stand_ins_leave_it_serving_and_take_it_over_again(
    cluster: Cluster, meanwhile: str
) -> None:
    await cluster.create(inference_service("one"))
    url = (await is_ready(cluster))["url"]
    [pid] = server_pids(cluster)
    async with Load(url) as load:
        await load.hears("one")
        cluster.stand_ins.kill()
        await load.hears("one")
        generation = 1
        if meanwhile == "change":
            await cluster.patch("InferenceService", "churn", predictor("two"))
            generation = 2
        if meanwhile == "crash":
            os.kill(pid, signal.SIGKILL)
        cluster.stand_ins.start()
        answer = "two" if meanwhile == "change" else "one"
        if meanwhile == "nothing":
            # The stand-ins are at work again when they change something.
            await cluster.patch("InferenceService", "churn", predictor("two"))
            generation, answer = 2, "two"
        await is_ready(cluster, generation)
        await load.hears(answer)
        if meanwhile != "crash":
            assert load.failures == []
    await eventually(lambda: server_pids(cluster), lambda pids: len(pids) == 1)
    assert (await is_ready(cluster, generation))["url"] == url


async def test_stopped_stand_ins_stop_the_server_and_serve_it_again_at_the_same_url(
    cluster: Cluster,
) -> None:
    await cluster.create(inference_service("one"))
    url = (await is_ready(cluster))["url"]
    cluster.stand_ins.stop()
    assert server_pids(cluster) == []
    cluster.stand_ins.start()
    await eventually(lambda: server_pids(cluster), bool)
    await eventually(lambda: attempt(url), lambda answer: answer == "one")
    assert (await is_ready(cluster))["url"] == url


async def attempt(url: str) -> str:
    try:
        return await ask(url)
    except aiohttp.ClientError as error:
        return repr(error)


async def test_deleting_it_stops_the_server_and_closes_the_port(cluster: Cluster) -> None:
    await cluster.create(inference_service("one"))
    url = (await is_ready(cluster))["url"]
    await cluster.delete("InferenceService", "churn")
    await eventually(lambda: server_pids(cluster), lambda pids: not pids)
    assert "ConnectorError" in await attempt(url) or "Connection" in await attempt(url)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        pytest.param(
            {"predictor": {"model": {"modelFormat": {"name": "lightgbm"}}}},
            "spec.predictor.model",
            id="model",
        ),
        pytest.param({**predictor("one"), "transformer": {}}, "spec.transformer", id="transformer"),
        pytest.param(predictor("one", minReplicas=0), "spec.predictor.minReplicas", id="to zero"),
        pytest.param(
            predictor("one", container=ASKS, **SCALED | {"scaleMetric": "rps"}),
            "spec.predictor.scaleMetric",
            id="by another metric",
        ),
        pytest.param(
            predictor("one", **TO_ZERO | {"autoScaling": {"metrics": [REQUESTS, REQUESTS]}}),
            "spec.predictor.autoScaling.metrics",
            id="by two metrics",
        ),
        pytest.param(
            predictor("one", **TO_ZERO | {"autoScaling": {"metrics": [elsewhere(REQUESTS)]}}),
            "spec.predictor.autoScaling.metrics[0].external.metric.serverAddress",
            id="by a Prometheus",
        ),
        pytest.param(
            predictor("one", **SCALED),
            "spec.predictor.containers[0].resources.requests.cpu",
            id="a share of nothing",
        ),
        pytest.param(
            predictor("one", canaryTrafficPercent=10), "spec.predictor.canary", id="canary"
        ),
        pytest.param(
            predictor("one", container={"command": ["sh"]}),
            "spec.predictor.containers[0].command",
            id="command",
        ),
    ],
)
async def test_what_is_not_supported_is_refused_by_its_name(
    cluster: Cluster, spec: Object, path: str
) -> None:
    await cluster.create({**inference_service("one"), "spec": spec})
    status = await cluster.status("InferenceService", "churn", ready)
    assert ready(status) == "False"
    assert status["modelStatus"]["transitionStatus"] == "InvalidSpec"
    failure = status["modelStatus"]["lastFailureInfo"]
    assert failure["reason"] == "InvalidPredictorSpec"
    assert failure["message"].startswith(path)
    assert "is not supported by the embedded plane; use " in failure["message"]


MOUNTED: Any = {
    "args": ["--port", "8080", "--folder", "/etc/models"],
    "volumeMounts": [{"name": "models", "mountPath": "/etc/models", "readOnly": True}],
}
VOLUME = {"name": "models", "configMap": {"name": "settings"}}


async def set_config_map(cluster: Cluster, data: dict[str, str | None]) -> None:
    """Create or change the ConfigMap; None takes a key out."""
    name = "settings"
    try:
        await cluster.client.merge(CONFIG_MAPS, cluster.namespace, name, {"data": data})
    except ApiError:
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        await cluster.client.create(CONFIG_MAPS, cluster.namespace, document | {"data": data})


async def test_a_mounted_config_map_is_waited_for_and_renewed_without_a_restart(
    cluster: Cluster,
) -> None:
    service = inference_service("unused", container=MOUNTED, volumes=[VOLUME])
    await cluster.create(service)
    status = await cluster.status(
        "InferenceService", "churn", lambda found: "not found" in str(found.get("conditions"))
    )
    assert 'configmap "settings" not found' in str(status["conditions"])
    await set_config_map(cluster, {"a": "1", "b": "2"})
    status = await is_ready(cluster)
    assert await ask(status["url"]) == "a=1 b=2"
    before = server_pids(cluster)
    await set_config_map(cluster, {"a": None, "c": "3"})
    await eventually(lambda: ask(status["url"]), lambda text: text == "b=2 c=3")
    assert server_pids(cluster) == before


@pytest.mark.parametrize(
    ("volume", "mount", "field"),
    [
        ({"name": "m", "hostPath": {"path": "/"}}, {}, "spec.predictor.volumes[0].hostPath"),
        ({"name": "m", "secret": {"secretName": "s"}}, {}, "spec.predictor.volumes[0].secret"),
        (
            {"name": "m", "configMap": {"name": "s", "items": []}},
            {},
            "spec.predictor.volumes[0].configMap.items",
        ),
        (
            {"name": "m", "configMap": {"name": "s"}},
            {"subPath": "a"},
            "spec.predictor.containers[0].volumeMounts",
        ),
        (
            {"name": "other", "configMap": {"name": "s"}},
            {},
            "spec.predictor.containers[0].volumeMounts",
        ),
    ],
    ids=["host-path", "secret", "items", "sub-path", "not-mounted"],
)
def test_other_volumes_are_refused_by_name(
    volume: dict[str, Any], mount: dict[str, Any], field: str
) -> None:
    mounts = [{"name": "m", "mountPath": "/m"} | mount]
    spec = predictor("x", container={"volumeMounts": mounts}, volumes=[volume])
    with pytest.raises(Unsupported, match=re.escape(field)):
        parse_inference_service(spec, "python", ["tiny_*"])


def test_a_folder_is_renewed_at_once_and_keeps_nothing_old(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    write(folder, {"a": b"1", "b": b"2"})
    held = (folder / "..data").resolve()
    write(folder, {"a": b"1", "b": b"2"})
    assert (folder / "..data").resolve() == held, "the same again writes nothing"
    write(folder, {"b": b"3"})
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["b"]
    assert (folder / "b").read_bytes() == b"3"
    assert not held.exists()
