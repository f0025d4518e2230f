"""The main job on one machine, with nothing faked: commit YAML, get a governed, served, watched model."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from modelyard.api.resources import INFERENCE_SERVICE, OURS, Key

from .conftest import PATIENCE, manifest
from .test_kills import pids_running

EVERYTHING = [
    ("Project", "cells"),
    ("Dataset", "cells"),
    ("Experiment", "tumor"),
    ("Deployment", "tumor"),
    ("Monitor", "tumor"),
]


def versions(yard: Any) -> dict[str, str]:
    return {
        f"{kind}/{entry['metadata']['name']}": entry["metadata"]["resourceVersion"]
        for kind, resource in OURS.items()
        for entry in yard.client.list(resource, "cells")
    }


def still(yard: Any, seconds: float) -> None:
    """Assert that nothing of ours is written for a while."""
    before = versions(yard)
    time.sleep(seconds)
    assert versions(yard) == before


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_every_kind_becomes_ready(served: Any, kind: str, name: str) -> None:
    served.until(lambda: served.ready(kind, name), f"{kind} is Ready")


@pytest.mark.parametrize(
    ("process", "used", "unused"),
    [
        ("apiserver", "jsonschema_rs", ["cryptography", "pydantic_core"]),
        ("standins", "aiohttp", ["cryptography", "jsonschema_rs", "pydantic_core"]),
        ("operator", "pydantic_core", ["cryptography", "charset_normalizer", "regorus"]),
    ],
)
def test_no_process_keeps_a_library_that_it_does_not_use(
    served: Any, process: str, used: str, unused: list[str]
) -> None:
    mapped = Path(f"/proc/{served.processes()[process]}/maps").read_text()
    assert used in mapped
    assert [library for library in unused if library in mapped] == []


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_kubectl_waits_for_every_kind(served: Any, kind: str, name: str) -> None:
    resource = f"{OURS[kind].plural}.modelyard.dev/{name}"
    command = ["kubectl", "--kubeconfig", str(served.state / "kubeconfig"), "-n", "cells", "wait"]
    done = subprocess.run(
        [*command, "--for=condition=Ready", resource, "--timeout=60s"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "condition met" in done.stdout, done.stderr


def test_the_statuses_say_what_the_contract_asks_for(served: Any) -> None:
    best = served.status("Experiment")["bestModelVersion"]
    artifact = served.status("ModelVersion", best)["artifact"]
    deployment = served.status("Deployment")
    assert deployment["modelVersion"] == best
    assert deployment["modelDigest"] == artifact["digest"]
    assert deployment["url"].startswith("http://127.0.0.1:")


def test_predictions_carry_the_way_back_to_the_commit(served: Any) -> None:
    answer = httpx.post(
        f"{served.url()}/v1/inference/tumor:predict", json={"instances": served.rows(2)}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 2
    head = served.git("log", "--format=%H", "-1", "--", "experiment.yaml")
    assert answer.headers["x-modelyard-source-revision"] == head
    assert answer.headers["x-modelyard-model-digest"] == served.digest()


def test_a_served_prediction_is_explained_by_what_adds_up_to_it(served: Any) -> None:
    answer = httpx.post(
        f"{served.url()}/v1/models/tumor:explain", json={"instances": served.rows(2)}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    for prediction, why in zip(found["predictions"], found["explanations"], strict=True):
        total = why["base"] + sum(why["contributions"].values())
        assert total == pytest.approx(prediction["probabilities"][why["label"]], abs=1e-6)


def test_applying_the_tree_again_writes_nothing(served: Any) -> None:
    served.until(lambda: served.ready("Monitor"), "the Monitor is Ready")
    (served.directory / "experiment.yaml").touch()
    time.sleep(3)
    still(served, 8)


@pytest.mark.soak
def test_a_settled_plane_writes_nothing_for_a_minute(served: Any) -> None:
    still(served, 60)


def test_a_finished_run_survives_its_children_and_three_restarts(served: Any) -> None:
    for workflow in served.workflows():
        key = Key("Workflow", "cells", workflow["metadata"]["name"])
        served.client.delete("argoproj.io/v1alpha1", key)
    for _ in range(3):
        before = served.kill("operator")
        served.until(
            lambda b=before: served.processes().get("operator", 0) not in (0, b), "a restart"
        )
    served.until(lambda: served.ready("Experiment"), "the Experiment is Ready")
    time.sleep(4)
    assert served.workflows() == []


def test_a_policy_holds_back_and_lets_go(served: Any) -> None:
    rule = {
        "name": "auc",
        "path": "modelVersion.status.metrics.roc_auc",
        "operator": "GreaterOrEqual",
        "value": 1.01,
    }
    policy = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": "impossible", "namespace": "cells"},
        "spec": {"gates": ["deploy"], "rules": [rule]},
    }
    served.write("policy", policy)
    served.commit("Demand the impossible")
    served.until(
        lambda: served.condition("Deployment", "Ready").get("reason") == "PolicyDenied", "a denial"
    )
    message = served.condition("Deployment", "Ready")["message"]
    assert 'rule "auc"' in message
    assert "1.01" in message
    served.git("revert", "--no-edit", "HEAD")
    served.until_served()


def test_shifted_requests_raise_drift_and_an_alert(served: Any) -> None:
    rows = served.rows(569)
    columns = sorted(rows[0])
    served.predict(rows[:300])
    served.until(
        lambda: served.condition("Monitor", "NoData").get("status") == "False", "a first look"
    )
    assert served.condition("Monitor", "DriftDetected")["status"] == "False"
    for column in columns[: round(0.3 * len(columns))]:
        values = [row[column] for row in rows]
        mean = sum(values) / len(values)
        deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
        for row in rows:
            row[column] += 0.5 * deviation
    served.predict(rows[:500])
    served.predict(rows[69:])
    served.until(
        lambda: served.condition("Monitor", "DriftDetected").get("status") == "True", "drift"
    )
    assert served.status("Monitor")["alerts"][0]["state"] == "Firing"


class Load:
    """Asks a model server without pause, and counts what failed."""

    def __init__(self, url: str, instances: list[Any]) -> None:
        self._url, self._body = f"{url}/v1/models/tumor:predict", {"instances": instances}
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.digests: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(self._url, json=self._body)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status_code != 200:
                    self.failures.append(answer.text)
                digest = answer.headers.get("x-modelyard-model-digest", "")
                if not self.digests or self.digests[-1] != digest:
                    self.digests.append(digest)


def test_git_revert_brings_the_earlier_model_back_without_a_failed_request(served: Any) -> None:
    first = served.digest()
    served.change("experiment", seed=7)
    served.commit("Try another seed")
    served.until(
        lambda: (
            served.status("Deployment").get("modelDigest") not in (None, first)
            and served.ready("Deployment")
        ),
        "the other model serves",
    )
    second = served.status("Deployment")["modelDigest"]
    runs = len(served.workflows())
    with Load(served.url(), served.rows(1)) as load:
        served.git("revert", "--no-edit", "HEAD")
        started = time.monotonic()
        served.until(
            lambda: (
                served.status("Deployment")["modelDigest"] == first and served.ready("Deployment")
            ),
            "the earlier model serves again",
        )
        took = time.monotonic() - started
        time.sleep(1)
    assert load.failures == []
    assert load.digests == [second, first]
    assert len(served.workflows()) == runs
    print(f"revert to served: {took:.1f} s")


def test_a_version_that_fails_its_smoke_test_never_gets_a_request(served: Any) -> None:
    digest, url = served.digest(), served.url()
    (row,) = served.rows(1)
    check = {"name": "impossible", "instance": row, "expect": {"label": "neither"}}
    with Load(url, [row]) as load:
        served.change("deployment", smokeTest={"checks": [check]})
        served.commit("Demand the impossible of every server")
        served.until(
            lambda: (
                served.condition("Deployment", "SmokeTestPassed")["reason"] == "SmokeTestFailed"
            ),
            "the smoke test fails",
        )
        message = served.condition("Deployment", "Ready")["message"]
        assert "check impossible: answered 200" in message
        assert "expected the label neither" in message
        assert served.status("Deployment")["modelDigest"] == digest
        served.git("revert", "--no-edit", "HEAD")
        served.until_served()
    assert load.failures == []
    assert load.digests == [digest]


def test_a_canary_comes_and_goes_without_a_restart_of_what_serves(served: Any) -> None:
    versions = {entry["metadata"]["name"] for entry in served.client.list(OURS["ModelVersion"])}
    stable = served.status("Deployment")["modelVersion"]
    (beside,) = sorted(versions - {stable})[:1]
    before = revision(served, "tumor")
    served.change("deployment", canary={"modelVersion": beside, "percent": 10})
    served.commit("Try the other version")
    served.until(
        lambda: served.condition("Deployment", "CanaryReady").get("status") == "True", "a canary"
    )
    canary = served.status("Deployment")["canary"]
    answer = httpx.get(f"{canary['url']}/v2/models/tumor/ready", timeout=30)
    assert answer.headers["x-modelyard-model-version"] == beside == canary["modelVersion"]
    assert served.condition("Deployment", "TrafficSplit")["reason"] == "NoGateway"
    assert served.status("Deployment")["modelVersion"] == stable
    served.git("revert", "--no-edit", "HEAD")
    served.until(lambda: revision(served, "tumor-canary") is None, "the canary is gone")
    served.until_served()
    assert "canary" not in served.status("Deployment")
    assert revision(served, "tumor") == before


def revision(yard: Any, name: str) -> tuple[str, str] | None:
    """Return the number of the server's revision and its process."""
    key = Key("InferenceService", "cells", name)
    found = yard.client.get(INFERENCE_SERVICE.api_version, key)
    if found is None:
        return None
    predictor = found["status"]["components"]["predictor"]
    started = sorted((yard.state / "logs" / "cells" / name).glob("*.log"))
    return predictor["latestReadyRevision"], started[-1].name


def scored(yard: Any) -> pa.Table:
    """Return the rows that the last batch wrote."""
    folder = Path(
        yard.status("Deployment", "nightly")["batch"]["outputUri"].removeprefix("file://")
    )
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("part-*"))])


def test_a_batch_scores_each_row_once_though_it_is_killed(served: Any) -> None:
    rows = pa.Table.from_pylist(served.rows(300))
    path = served.directory / "new.parquet"
    pq.write_table(pa.concat_tables([rows] * 100), path)
    spec = {
        "model": {"experiment": "tumor"},
        "mode": "Batch",
        "batch": {"input": {"source": {"path": "new.parquet"}}, "rowsPerShard": 100},
    }
    served.write("nightly", manifest("Deployment", "nightly", spec))

    parts = served.state / "artifacts" / "batches"
    served.until(lambda: len([*parts.rglob("part-*")]) > 2, "some rows are scored")
    for pid in pids_running("batch", served.state):
        os.kill(pid, signal.SIGKILL)
    assert not [*parts.rglob("_manifest.json")], "it ended before it was killed"
    served.until(lambda: served.ready("Deployment", "nightly"), "all rows are scored")

    found = scored(served)
    assert found["row"].to_pylist() == list(range(30_000))
    answers = served.predict(served.rows(50))["predictions"]
    for answer, row in zip(answers, found.slice(0, 50).to_pylist(), strict=True):
        assert answer["label"] == row["label"]
        assert answer["score"] == pytest.approx(row["score"], abs=1e-6)
    first = served.status("Deployment", "nightly")["run"]["identity"]
    still(served, 2)

    pq.write_table(rows, path)
    served.until(
        lambda: (served.status("Deployment", "nightly").get("batch") or {}).get("rowsRead") == 300,
        "the rows that came are scored",
    )
    runs = served.status("Deployment", "nightly")["runs"]
    assert [run["state"] for run in runs] == ["Succeeded", "Succeeded"]
    assert runs[1]["identity"] == first
    assert "300 of 300 rows" in served.cli("why", "deployment/nightly")
    assert "record written" in served.cli("logs", "deployment/nightly")
    (served.directory / "nightly.yaml").unlink()
    served.until(lambda: served.get("Deployment", "nightly") is None, "it is pruned")


def test_a_deployment_of_no_replica_is_ready_and_its_first_request_is_answered(
    served: Any,
) -> None:
    scaling = {"minReplicas": 0, "maxReplicas": 2, "targetRequestsPerSecond": 50}
    spec = {"model": {"experiment": "tumor"}, "autoscaling": scaling}
    served.write("resting", manifest("Deployment", "resting", spec))

    def reason() -> str:
        return str(served.condition("Deployment", "Ready", "resting").get("reason", ""))

    served.until(lambda: reason() == "AtRest", "it has served, and rests")
    assert served.ready("Deployment", "resting")
    status = served.status("Deployment", "resting")
    assert status["replicas"] == 0
    assert status["modelVersion"] == served.status("Experiment")["bestModelVersion"]
    before = set(pids_running("serve", served.state))
    predict = f"{status['url']}/v1/models/resting:predict"
    answer = httpx.post(predict, json={"instances": served.rows(1)}, timeout=PATIENCE)
    assert answer.status_code == 200
    assert answer.headers["x-modelyard-model-version"] == status["modelVersion"]
    assert set(pids_running("serve", served.state)) - before
    served.until(lambda: reason() == "Serving", "the operator has heard of it")
    served.until(lambda: reason() == "AtRest", "it rests again, since nobody asks")
    (served.directory / "resting.yaml").unlink()
    served.until(lambda: served.get("Deployment", "resting") is None, "it is gone")


def test_a_new_token_starts_exactly_one_run(served: Any) -> None:
    before = {entry["metadata"]["name"] for entry in served.workflows()}
    digest = served.digest()
    identity = served.status("Experiment")["run"]["identity"]
    served.change("experiment", run={"token": "again"})
    served.commit("Run again")
    served.until(
        lambda: (
            served.status("Experiment")["run"]["identity"] != identity
            and served.ready("Experiment")
        ),
        "the new run ends",
    )
    time.sleep(3)
    after = {entry["metadata"]["name"] for entry in served.workflows()}
    assert len(after - before) == 1
    assert served.digest() == digest, "the token is in the identity, not in the model"
    served.until_served()


def test_what_is_removed_from_the_tree_is_pruned_with_its_children(served: Any) -> None:
    (served.directory / "monitor.yaml").unlink()
    served.commit("Watch no more")
    served.until(lambda: served.get("Monitor", "tumor") is None, "the Monitor is gone")


def test_down_leaves_nothing_and_up_carries_on(served: Any) -> None:
    digest, url = served.digest(), served.url()
    served.down()
    assert served.processes() == {}
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, timeout=5)
    served.up()
    # What is Ready may be what the plane before wrote, until the operator has looked.
    served.until(lambda: served.predict(served.rows(1))["predictions"], "it answers again")
    served.until_served()
    assert (served.digest(), served.url()) == (digest, url)
