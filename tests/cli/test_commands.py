"""The commands as a person meets them: what they print, and the status they end with."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelyard.cli import apply, card, interview, lookup, main, reference
from modelyard.cli.apply import origin_of
from modelyard.cli.client import Client
from modelyard.cli.faults import Fault
from modelyard.cli.layout import Layout, write_json
from modelyard.cli.starter import TEMPLATES, project_files
from modelyard.cli.validate import judge

REPOSITORY = Path(__file__).parents[2]
COMMANDS = ("init", "validate", "plan", "up", "down", "status", "get", "why", "predict", "logs",
            "card", "report", "doctor", "kubeconfig", "schema", "version", "replay")  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        return json.loads(self.stdout)


Run = Callable[..., Ended]


@pytest.fixture
def modelyard(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Runs `modelyard ARGUMENTS` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["modelyard", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_the_examples_are_what_init_writes(name: str, modelyard: Run) -> None:
    assert modelyard("init", name, "--template", name).status == 0
    written = {path.name: path.read_text() for path in Path(name).iterdir()}
    example = REPOSITORY / "examples" / "specs" / name
    assert written == {path.name: path.read_text() for path in example.iterdir()}


@pytest.mark.parametrize("example", sorted((REPOSITORY / "examples" / "specs").iterdir()),
                         ids=lambda path: path.name)  # fmt: skip
def test_the_examples_are_sound(example: Path, modelyard: Run) -> None:
    assert modelyard("validate", str(example)).status == 0


def test_validate_prints_one_line_for_each_fault(project: Path, modelyard: Run) -> None:
    experiment = project / "experiment.yaml"
    experiment.write_text(experiment.read_text().replace("trials: 10", "trials: ten"))
    ended = modelyard("validate", str(project))
    assert ended.status == 1
    line = next(n for n, text in enumerate(experiment.read_text().splitlines(), 1) if "ten" in text)
    assert ended.stdout.startswith(f"experiment.yaml:{line}: spec.search.trials: ")
    document = modelyard("validate", str(project), "-o", "json").document
    assert document["valid"] is False
    assert document["faults"][0]["field"] == "spec.search.trials"


def test_validate_notes_what_is_not_applied(project: Path, modelyard: Run) -> None:
    (project / "kustomization.yaml").write_text("resources: []\n")
    (project / "notes.yaml").write_text("# later\n")
    (project / ".hidden.yaml").write_text("broken: [")
    (project / ".modelyard").mkdir()
    (project / ".modelyard" / "state.yaml").write_text("broken: [")
    ended = modelyard("validate", str(project))
    assert ended.status == 0
    assert "kustomization.yaml" in ended.stderr
    assert "notes.yaml: holds only comments" in ended.stderr


def test_a_policy_that_does_not_compile_is_named_at_its_line(project: Path, modelyard: Run) -> None:
    policy = yaml.safe_load((project / "policy.yaml").read_text())
    del policy["spec"]["rules"]
    text = yaml.safe_dump(policy, sort_keys=False)
    text += "  rego: |\n    package x\n    import rego.v1\n    allow if http.send({})\n"
    (project / "policy.yaml").write_text(text)
    ended = modelyard("validate", str(project))
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "http.send" in row)
    assert ended.stdout.startswith(f"policy.yaml:{line}: spec.rego: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("validate", "nowhere"), "no such directory", id="validate a missing folder"),
        pytest.param(("plan", "."), "holds no YAML", id="plan an empty folder"),
        pytest.param(("up", "."), "holds no YAML", id="up an empty folder"),
        pytest.param(("init", "My Project", "--template", "wine"), "try my-project", id="bad name"),
        pytest.param(("init", "x", "--template", "titanic"), "there are: ", id="no such template"),
        pytest.param(("init", "x"), "--template NAME", id="init without a source"),
        pytest.param(
            ("init", "taken", "--template", "wine"),
            "taken: cannot be written: File exists; choose another NAME",
            id="init where a file is",
        ),
        pytest.param(("validate", "."), "holds no YAML", id="validate nothing"),
        pytest.param(("init", "--from", "none"), "cannot be read", id="init from nothing"),
        pytest.param(("get",), "start one with", id="get without a plane"),
        pytest.param(("kubeconfig",), "run `modelyard up`", id="kubeconfig without a plane"),
        pytest.param(("logs", "operator"), "no plane was started", id="logs without a plane"),
        pytest.param(("why",), "name one object", id="why of nothing"),
        pytest.param(("predict", "x"), "--data FILE", id="predict without rows"),
        pytest.param(
            ("get", "--kubeconfig", "none"), "no such kubeconfig", id="kubeconfig missing"
        ),
    ],
)
def test_what_cannot_be_done_is_said_with_a_remedy(
    arguments: tuple[str, ...], message: str, modelyard: Run
) -> None:
    Path("taken").touch()
    ended = modelyard(*arguments)
    assert ended.status == 1
    assert message in ended.stderr
    in_json = modelyard(*arguments, "-o", "json")
    assert message in in_json.document["error"]["message"]


def test_a_wrong_option_ends_with_status_one(modelyard: Run) -> None:
    assert modelyard("plan", "--nonsense").status == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("plan", "--nonsense"), "--nonsense", id="wrong option"),
        pytest.param(("frobnicate",), "frobnicate", id="wrong command"),
        pytest.param(("predict",), "NAME", id="missing argument"),
        pytest.param(("up", "--timeout", "abc"), "--timeout", id="wrong value"),
    ],
)
def test_wrong_usage_is_one_json_document_too(
    arguments: tuple[str, ...], message: str, modelyard: Run
) -> None:
    ended = modelyard(*arguments, "-o", "json")
    assert ended.status == 1
    assert message in ended.document["error"]["message"]


def test_init_names_what_is_missing_as_the_command_line_does(modelyard: Run) -> None:
    Path("data.csv").write_text(ROWS["two classes"])
    ended = modelyard("init", "--data", "data.csv")
    assert "\n  NAME: " in ended.stderr
    assert "\n  --target: " in ended.stderr


ROWS = {
    "two classes": "a,y\n" + "1,no\n2,yes\n" * 20,
    "three classes": "a,y\n" + "1,red\n2,blue\n3,green\n" * 9,
    "many numbers": "a,y\n" + "".join(f"{n},{n * 1.5}\n" for n in range(50)),
}


@pytest.mark.parametrize(
    ("rows", "task"),
    [
        pytest.param("two classes", "Classification", id="two classes"),
        pytest.param("three classes", "Classification", id="three classes"),
        pytest.param("many numbers", "Regression", id="many numbers"),
    ],
)
def test_init_makes_a_sound_project_of_a_csv_and_says_what_it_assumed(
    rows: str, task: str, modelyard: Run
) -> None:
    Path("data.csv").write_text(ROWS[rows])
    ended = modelyard("init", "mine", "--data", "data.csv", "--target", "y")
    assert ended.status == 0
    assert f"assumed: task: {task}" in ended.stdout
    spec = yaml.safe_load(Path("mine/experiment.yaml").read_text())["spec"]
    assert (spec["task"]["type"], spec["task"]["target"]) == (task, "y")
    assert modelyard("validate", "mine").status == 0


def test_init_turns_a_required_metric_into_a_policy(modelyard: Run) -> None:
    Path("data.csv").write_text(ROWS["two classes"])
    source = ("--data", "data.csv", "--target", "y", "--require", "AUC > 0.85")
    assert modelyard("init", "mine", *source).status == 0
    policies = [yaml.safe_load(file.read_text()) for file in Path("mine").rglob("*.yaml")]
    rule = next(p for p in policies if p["kind"] == "Policy")["spec"]["rules"][0]
    assert (rule["operator"], rule["value"]) == ("GreaterThan", 0.85)


REQUIREMENTS = """
project_name: Customer Churn
data_source: data.csv
objective: Predict y
target_metric: "AUC > 0.85"
deployment: "REST API, 100k requests/day"
"""


def test_init_from_requirements_writes_a_sound_project(modelyard: Run) -> None:
    Path("data.csv").write_text(ROWS["two classes"])
    Path("user_requirements.yaml").write_text(REQUIREMENTS)
    ended = modelyard("init", "--from", "user_requirements.yaml", "-o", "json")
    assert ended.document["project"] == "customer-churn"
    assert ended.document["assumptions"]
    assert modelyard("validate", "customer-churn").status == 0


def test_init_asks_instead_of_guessing_and_writes_nothing_until_answered(modelyard: Run) -> None:
    Path("data.csv").write_text(ROWS["two classes"])
    Path("r.yaml").write_text("project_name: mine\ndata_source: data.csv\nobjective: Help me\n")
    ended = modelyard("init", "--from", "r.yaml")
    assert ended.status == 1
    assert "target: " in ended.stderr
    assert not Path("mine").exists()


def test_answers_on_a_terminal_complete_the_requirements(
    modelyard: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("data.csv").write_text(ROWS["two classes"])
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "y"

    monkeypatch.setattr(interview, "person", lambda: answer)
    Path("r.yaml").write_text("project_name: mine\ndata_source: data.csv\nobjective: Help me\n")
    assert modelyard("init", "--from", "r.yaml").status == 0
    assert [question.partition(":")[0] for question in asked] == ["target"]


def test_init_overwrites_nothing(modelyard: Run) -> None:
    modelyard("init", "wine", "--template", "wine")
    ended = modelyard("init", "wine", "--template", "wine")
    assert ended.status == 1
    assert "there already" in ended.stderr


def test_plan_without_a_plane_ends_with_two_and_names_the_gate(
    project: Path, modelyard: Run
) -> None:
    ended = modelyard("plan", str(project))
    assert ended.status == 2
    assert "judged by: good-enough" in ended.stdout
    assert "10 trials, 2 at once" in ended.stdout


@pytest.mark.parametrize(
    ("gateway", "said"),
    [
        pytest.param({}, "at its own URL; no traffic is split", id="without a gateway"),
        pytest.param(
            {"gateway": {"name": "public", "hostname": "wine.example.org"}},
            "gets 5 % of the requests at wine.example.org once it answers",
            id="with one",
        ),
    ],
)
def test_plan_says_what_a_canary_will_get(
    project: Path, modelyard: Run, gateway: dict[str, Any], said: str
) -> None:
    manifest = project / "deployment.yaml"
    body = yaml.safe_load(manifest.read_text())
    body["spec"] |= {"canary": {"modelVersion": "wine-0123456789", "percent": 5}, **gateway}
    manifest.write_text(yaml.safe_dump(body))
    assert f"canary: wine-0123456789 {said}" in modelyard("plan", str(project)).stdout


def test_plan_says_what_the_quota_would_refuse(project: Path, modelyard: Run) -> None:
    manifest = project / "experiment.yaml"
    body = yaml.safe_load(manifest.read_text())
    body["spec"]["execution"] = {"parallelism": 9}
    manifest.write_text(yaml.safe_dump(body))
    for command in ("plan", "validate"):
        ended = modelyard(command, str(project))
        assert ended.status == 1
        said = ended.stdout + ended.stderr
        assert "spec.execution.parallelism: 9 is more than the Project's spec.quota.para" in said
        assert said.count("spec.execution.parallelism") == 1
        assert "Runs" not in said


def test_a_search_that_declares_no_parallelism_fits_any_quota(
    project: Path, modelyard: Run
) -> None:
    for name, part in (
        ("experiment", {"execution": {}}),
        ("project", {"quota": {"parallelTrials": 1}}),
    ):
        manifest = project / f"{name}.yaml"
        body = yaml.safe_load(manifest.read_text())
        body["spec"] |= part
        manifest.write_text(yaml.safe_dump(body))
    assert modelyard("validate", str(project)).status == 0
    assert "trials, 1 at once" in modelyard("plan", str(project)).stdout


@pytest.mark.parametrize(
    ("fields", "until"),
    [
        pytest.param({"suspend": True}, "once spec.suspend is false", id="suspended"),
        pytest.param({"run": {"cancel": True}}, "once spec.run.cancel is false", id="cancelled"),
        pytest.param({"schedule": {"every": "1d"}}, "from the first slot of spec.sch", id="later"),
    ],
)
def test_a_search_that_will_not_start_is_not_said_to(
    fields: dict[str, Any], until: str, project: Path, modelyard: Run
) -> None:
    manifest = project / "experiment.yaml"
    body = yaml.safe_load(manifest.read_text())
    body["spec"] |= fields
    manifest.write_text(yaml.safe_dump(body))
    said = modelyard("plan", str(project)).stdout
    (line,) = [line for line in said.splitlines() if " trials, " in line]
    assert "Waits" in line
    assert until in line


@pytest.fixture
def applied(project: Path, client: Client) -> Path:
    """The wine project, applied to an API server without an operator."""
    state = Layout(project).state
    state.mkdir()
    shutil.copy(client.kubeconfig, Layout(project).kubeconfig)
    apply.apply_tree(judge(project), origin_of(project), client)
    return project


def test_plan_of_an_applied_project_ends_with_zero(applied: Path, modelyard: Run) -> None:
    ended = modelyard("plan", str(applied), "-o", "json")
    assert ended.status == 0
    assert ended.document["changes"] is False


def test_plan_shows_what_is_granted_to_whom(applied: Path, modelyard: Run) -> None:
    manifest = applied / "project.yaml"
    body = yaml.safe_load(manifest.read_text())
    member = {"kind": "User", "name": "ana"}
    body["spec"]["members"] = [member | {"role": role} for role in ("Admin", "Approver")]
    body["metadata"]["labels"] = {"modelyard.dev/platform": "true"}
    manifest.write_text(yaml.safe_dump(body))
    said = modelyard("plan", str(applied)).stdout
    for part in ("members[ana].role", "members[ana 2].role", "modelyard.dev/platform"):
        assert part in said


BATCH = """\
apiVersion: modelyard.dev/v1alpha1
kind: Deployment
metadata: {name: nightly, namespace: wine}
spec:
  model: {experiment: wine}
  mode: Batch
  batch: {input: {source: {path: rows.csv}}}
"""


def test_the_schedule_of_a_batch_is_validated(project: Path, modelyard: Run) -> None:
    (project / "rows.csv").write_text("alcohol\n12\n")
    wrong = '  schedule: {cron: "0 3 * * *", timeZone: Nowhere/Land}\n'
    (project / "batch.yaml").write_text(BATCH + wrong)
    ended = modelyard("validate", str(project))
    assert ended.status == 1
    assert "spec.schedule.timeZone" in ended.stdout + ended.stderr


def test_a_batch_is_planned(applied: Path, modelyard: Run) -> None:
    (applied / "rows.csv").write_text("alcohol\n12\n")
    (applied / "nightly.yaml").write_text(BATCH)
    planned = modelyard("plan", str(applied))
    assert "scores the rows once the model is known" in planned.stdout


def test_a_batch_tells_who_asks_it_where_its_rows_lie(
    applied: Path, modelyard: Run, client: Client
) -> None:
    (applied / "rows.csv").write_text("alcohol\n12\n")
    (applied / "nightly.yaml").write_text(BATCH)
    apply.apply_tree(judge(applied), origin_of(applied), client)
    ended = modelyard("predict", "nightly", "-C", str(applied), "-n", "wine", "--row", "{}")
    assert ended.status == 1
    assert "has mode Batch and answers no requests" in ended.stderr
    chain = modelyard("why", "deployment/nightly", "-C", str(applied), "-n", "wine").stdout
    assert "spec.model.experiment" in chain


def test_get_shows_all_objects_or_one(applied: Path, modelyard: Run) -> None:
    everything = modelyard("get", "-C", str(applied), "-n", "wine", "-o", "json").document
    assert {body["kind"] for body in everything["items"]} >= {"Project", "Experiment", "Monitor"}
    one = modelyard("get", "mexp/wine", "-C", str(applied), "-n", "wine", "-o", "json").document
    assert one["spec"]["search"]["trials"] == 10
    assert "Experiment" in modelyard("get", "experiments", "-C", str(applied)).stdout


def test_status_ends_with_one_while_something_is_not_ready(applied: Path, modelyard: Run) -> None:
    ended = modelyard("status", str(applied), "-n", "wine", "-o", "json")
    assert ended.status == 1
    assert ended.document["ready"] is False


def test_status_names_what_is_not_applied(applied: Path, modelyard: Run) -> None:
    fault = Fault("policy.yaml", 17, 1, "", "not YAML")
    write_json(Layout(applied).follower, {"faults": [fault.to_json()], "results": []})
    ended = modelyard("status", str(applied), "-o", "json")
    assert ended.status == 1
    assert ended.document["notApplied"] == ["policy.yaml:17: (document): not YAML"]
    assert "not applied: policy.yaml:17" in ended.stderr


def test_why_names_the_root_of_the_chain(applied: Path, modelyard: Run) -> None:
    ended = modelyard("why", "monitor/wine", "-C", str(applied), "-n", "wine", "-o", "json")
    chain = [(link["kind"], link["relation"]) for link in ended.document["chain"]]
    assert [kind for kind, _ in chain] == ["Monitor", "Deployment", "Experiment", "Dataset"]
    assert ended.document["rootCause"]["kind"] == "Dataset"
    assert ended.document["source"]["path"] == "experiment.yaml"
    text = modelyard("why", "monitor/wine", "-C", str(applied), "-n", "wine").stdout
    assert "Root cause: dataset/wine/wine: Pending" in text


def test_predict_says_that_nothing_serves_yet(applied: Path, modelyard: Run) -> None:
    ended = modelyard("predict", "wine", "-C", str(applied), "-n", "wine", "--row", "{}")
    assert ended.status == 1
    assert "modelyard why deployment/wine" in ended.stderr


@pytest.mark.parametrize(
    ("file", "why"),
    [
        pytest.param("nowhere/page.html", "No such file or directory", id="a missing folder"),
        pytest.param(".", "Is a directory", id="a folder"),
    ],
)
def test_a_report_that_cannot_be_written_is_said_with_a_remedy(
    file: str, why: str, applied: Path, modelyard: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "find_of_kind", lambda *_: None)
    monkeypatch.setattr(card, "report", lambda *_: "<!DOCTYPE html>")
    ended = modelyard("report", "wine-1", "-C", str(applied), "--file", file)
    assert ended.status == 1
    assert ended.stderr == (
        f"error: --file {file}: cannot be written: {why}; name a file in a folder that is there\n"
    )


def test_a_misspelt_kind_or_name_is_answered_with_the_nearest(
    applied: Path, modelyard: Run
) -> None:
    assert "did you mean Deployment?" in modelyard("get", "deploymnt/x", "-C", str(applied)).stderr
    assert "did you mean wine?" in modelyard("get", "mds/wien", "-C", str(applied)).stderr


def test_doctor_looks_at_the_machine(modelyard: Run) -> None:
    ended = modelyard("doctor", "-o", "json")
    assert {"python", "memory", "ports", "plane"} <= {c["name"] for c in ended.document["checks"]}


def test_down_of_a_project_that_does_not_run_is_fine(project: Path, modelyard: Run) -> None:
    assert modelyard("down", str(project), "-o", "json").document == {"stopped": False}


def test_an_object_is_found_by_the_key_that_messages_print(applied: Path, modelyard: Run) -> None:
    key = f"experiment/{applied.name}/{applied.name}"
    found = modelyard("get", key, "-C", str(applied), "-o", "json")
    assert found.document["metadata"]["name"] == applied.name
    other = modelyard("get", key, "-C", str(applied), "-n", "other")
    assert "-n says other" in other.stderr


def test_version_is_that_of_the_package(modelyard: Run) -> None:
    assert modelyard("version").stdout.startswith("modelyard 0.")


def test_the_reference_page_names_every_command() -> None:
    page = reference.cli_page()
    assert [name for name in COMMANDS if f"\n## {name}\n" not in page] == []


def test_the_schema_for_editors_is_the_committed_one(modelyard: Run) -> None:
    committed = (REPOSITORY / "crds" / "schemas" / "modelyard.json").read_text()
    assert modelyard("schema").document == json.loads(committed)


@pytest.mark.parametrize("program", ["modelyard", "kubectl-modelyard"])
def test_both_programs_are_installed(program: str) -> None:
    path = Path(sys.executable).parent / program
    done = subprocess.run([path, "--help"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.soak
def test_help_is_printed_within_three_hundred_milliseconds() -> None:
    path = Path(sys.executable).parent / "modelyard"
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([path, "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.3


def test_templates_name_objects_as_the_project() -> None:
    for text in project_files("mine", TEMPLATES["iris"]).values():
        assert yaml.safe_load(text)["metadata"]["namespace"] == "mine"
