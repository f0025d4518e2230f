"""`up` and `down` with everything real: the plane, the operator, a search, a served model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from modelyard.cli import plane as cli_plane
from modelyard.cli import session
from modelyard.cli.faults import CommandError
from modelyard.cli.layout import Layout
from modelyard.cli.output import Format
from modelyard.cli.starter import TEMPLATES, project_files, write
from modelyard.embedded import plane
from modelyard.embedded.apiserver import process

ROW = json.dumps(
    {
        "sepal length (cm)": 5.1,
        "sepal width (cm)": 3.5,
        "petal length (cm)": 1.4,
        "petal width (cm)": 0.2,
    }
)


def modelyard(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelyard.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answer(*arguments: str) -> Any:
    done = modelyard(*arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def processes_of(directory: Path) -> list[str]:
    """Return the command lines of everything that runs for a project."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(directory) in line and str(os.getpid()) != entry.parent.name:
            found.append(line)
    return found


def ready_of(directory: Path) -> dict[str, Any]:
    """Return the condition Ready of the Deployment, as it is stored."""
    found = answer("get", "deployment/flowers", "-C", str(directory))["status"]["conditions"]
    return next(one for one in found if one["type"] == "Ready")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A committed project whose plane runs and whose model serves."""
    directory = tmp_path_factory.mktemp("projects") / "flowers"
    write(directory, project_files("flowers", TEMPLATES["iris"]))
    git(directory, "init", "-q")
    git(directory, "add", ".")
    git(directory, "commit", "-qm", "Start")
    answer("up", str(directory), "--wait", "--detach")
    yield directory
    modelyard("down", str(directory))


def test_the_document_of_up_holds_conditions_endpoints_and_digests(flowers: Path) -> None:
    document = answer("up", str(flowers), "--wait")
    assert document["ready"]
    assert document["revision"] == git(flowers, "rev-parse", "HEAD")
    kinds = {entry["kind"] for entry in document["objects"] if entry["conditions"]}
    assert kinds == {"Project", "Dataset", "Experiment", "ModelVersion", "Deployment", "Monitor",
                     "Policy"}  # fmt: skip
    assert document["endpoints"][0]["url"].startswith("http://127.0.0.1:")
    digest = document["models"][0]["digest"]
    assert digest.startswith("sha256:")
    assert document["endpoints"][0]["modelDigest"] == digest


def test_up_wait_on_a_running_plane_leaves_it_running(flowers: Path) -> None:
    assert modelyard("up", str(flowers), "--wait").returncode == 0
    assert plane.attach(flowers / ".modelyard") is not None


def test_a_served_prediction_leads_back_to_commit_and_path(flowers: Path) -> None:
    url = answer("up", str(flowers), "--wait")["endpoints"][0]["predictUrl"]
    served = httpx.post(url, json={"instances": [json.loads(ROW)]})
    version = served.headers["x-modelyard-model-version"]
    source = answer("why", "--model-version", version, "-C", str(flowers))["source"]
    assert source == {"revision": git(flowers, "rev-parse", "HEAD"), "path": "experiment.yaml"}


def test_predict_answers_with_the_version_that_said_so(flowers: Path) -> None:
    found = answer("predict", "flowers", "-C", str(flowers), "--row", ROW)
    assert found["predictions"][0]["label"] == "setosa"
    assert found["modelVersion"].startswith("flowers-")


def test_plan_finds_nothing_to_do_and_all_runs_cached(flowers: Path) -> None:
    document = answer("plan", str(flowers))
    runs = {entry["kind"]: entry["run"] for entry in document["objects"] if entry["run"]}
    assert document["changes"] is False
    assert {run["state"] for run in runs.values()} == {"Cached"}
    assert runs["Experiment"]["modelVersion"].startswith("flowers-")


def test_the_card_says_how_good_the_model_is(flowers: Path) -> None:
    version = answer("get", "modelversion", "-C", str(flowers))["items"][0]["metadata"]["name"]
    assert "log_loss" in answer("card", version, "-C", str(flowers))["card"]


def test_the_report_is_a_page_in_a_file(flowers: Path, tmp_path: Path) -> None:
    version = answer("get", "modelversion", "-C", str(flowers))["items"][0]["metadata"]["name"]
    page = tmp_path / "report.html"
    found = answer("report", version, "-C", str(flowers), "--file", str(page))
    assert found["report"] == str(page)
    assert page.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("what", ["experiment/flowers", "deployment/flowers", "operator"])
def test_logs_are_those_of_what_runs(what: str, flowers: Path) -> None:
    found = answer("logs", what, "-C", str(flowers))["logs"]
    assert any(entry["lines"] for entry in found)


def test_doctor_finds_every_process_of_the_plane(flowers: Path) -> None:
    checks = {check["name"]: check["verdict"] for check in answer("doctor", str(flowers))["checks"]}
    names = ("apiserver", "standins", "operator", "follower")
    assert [checks[f"process {name}"] for name in names] == ["Good"] * 4


def test_kubectl_plugin_answers_the_same(flowers: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on PATH")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [kubectl, "modelyard", "why", "deployment/flowers", "-C", str(flowers)],
        capture_output=True, text=True, check=False, env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Everything in this chain is Ready." in done.stdout


def test_ctrl_c_on_a_view_of_a_running_plane_leaves_it_running(flowers: Path) -> None:
    command = [sys.executable, "-m", "modelyard.cli.main", "up", str(flowers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stderr is not None
        for line in up.stderr:
            if "`modelyard down` stops it" in line:
                break
        up.send_signal(signal.SIGINT)
        up.communicate()
    assert up.returncode == 130
    assert plane.attach(flowers / ".modelyard") is not None


def test_ctrl_c_leaves_nothing_running_and_the_next_up_trains_nothing(flowers: Path) -> None:
    before = answer("get", "experiment/flowers", "-C", str(flowers))
    assert modelyard("down", str(flowers)).returncode == 0
    command = [sys.executable, "-m", "modelyard.cli.main", "up", str(flowers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stderr is not None
        for line in up.stderr:
            if "Ctrl-C stops everything" in line:
                break
        after = answer("get", "experiment/flowers", "-C", str(flowers))
        up.send_signal(signal.SIGINT)
        up.communicate()
    assert up.returncode == 130
    assert processes_of(flowers) == []
    assert after["status"]["run"] == before["status"]["run"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_after_down_no_deployment_claims_to_serve_before_its_server_answers(
    flowers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer("up", str(flowers), "--wait", "--detach")
    assert ready_of(flowers)["reason"] == "Serving"
    assert modelyard("down", str(flowers)).returncode == 0
    layout = Layout(flowers)
    # In place of the whole plane its API server alone: nobody judges what is stored.
    monkeypatch.setattr(
        cli_plane, "start_plane", lambda state, *_, **__: process.start(state / "apiserver")
    )
    api_server = cli_plane.start(layout)
    try:
        told = ready_of(flowers)
    finally:
        api_server.stop()
    assert (told["status"], told["reason"]) == ("False", "Starting")
    assert answer("up", str(flowers), "--wait", "--detach")["ready"]
    assert ready_of(flowers)["reason"] == "Serving"


def test_a_fault_is_named_before_anything_starts(tmp_path: Path) -> None:
    directory = tmp_path / "flowers"
    write(directory, project_files("flowers", TEMPLATES["iris"]))
    (directory / "monitor.yaml").write_text("kind: [")
    done = modelyard("up", str(directory), "--wait")
    assert done.returncode == 1
    assert "monitor.yaml:1: " in done.stderr
    assert not (directory / ".modelyard").exists()


def test_an_up_that_comes_second_leaves_the_plane_of_the_first_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class First:
        def stop(self) -> None:
            raise AssertionError("it is not ours to stop")

    seen: list[First | None] = [None, First()]
    monkeypatch.setattr(session.plane, "running", lambda layout: seen.pop(0))

    def start(layout: Layout, opa_url: str | None) -> None:
        raise CommandError("another supervisor runs")

    monkeypatch.setattr(session.plane, "start", start)
    mode = session.Mode(wait=False, detach=False, timeout=1, format=Format.TEXT, opa_url=None)
    with (
        pytest.raises(CommandError, match="another supervisor"),
        session._plane(Layout(tmp_path), mode),
    ):
        raise AssertionError("there is no plane to use")
