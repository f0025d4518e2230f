"""Applying a directory to a real API server: idempotent, pruning, with its origin on each object."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from modelyard.api.artifacts import FAILURE, RECORD, Failure, run_key
from modelyard.api.resources import OURS, Key
from modelyard.cli import apply
from modelyard.cli.apply import Result, origin_of
from modelyard.cli.client import Client, our_objects
from modelyard.cli.follower import Follower
from modelyard.cli.layout import Layout, read_json
from modelyard.cli.planning import Planner, Run
from modelyard.cli.starter import TEMPLATES, project_files, write
from modelyard.cli.validate import judge

SOURCE_REVISION = "modelyard.dev/source-revision"


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A project in a namespace of its own, so tests do not meet on the shared API server."""
    name = f"p{abs(hash(request.node.name)) % 10**8}"
    directory = tmp_path / name
    write(directory, project_files(name, TEMPLATES["wine"]))
    return directory


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    done = subprocess.run(
        ["git", "-C", str(directory), *identity, *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def commit(directory: Path) -> str:
    if not (directory / ".git").exists():
        git(directory, "init", "-q")
    git(directory, "add", "-A")
    git(directory, "commit", "-qm", "change")
    return git(directory, "rev-parse", "HEAD")


def apply_directory(directory: Path, client: Client) -> dict[str, str]:
    results = apply.apply_tree(judge(directory), origin_of(directory), client)
    return actions(results)


def actions(results: list[Result]) -> dict[str, str]:
    return {result.key.kind: result.action for result in results}


def revisions(directory: Path, client: Client) -> dict[str, str]:
    return {
        body["kind"]: body["metadata"]["annotations"][SOURCE_REVISION]
        for body in our_objects(client, [directory.name])
    }


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_the_first_apply_creates_every_object_and_its_namespace(
    project: Path, client: Client
) -> None:
    assert set(apply_directory(project, client).values()) == {"Created"}
    assert client.get("v1", Key("Namespace", "", project.name)) is not None


def test_applying_again_changes_no_resource_version(project: Path, client: Client) -> None:
    apply_directory(project, client)
    before = [b["metadata"]["resourceVersion"] for b in our_objects(client, [project.name])]
    assert set(apply_directory(project, client).values()) == {"Unchanged"}
    after = [b["metadata"]["resourceVersion"] for b in our_objects(client, [project.name])]
    assert before == after


def test_outside_git_the_revision_says_so(project: Path, client: Client) -> None:
    apply_directory(project, client)
    assert set(revisions(project, client).values()) == {"unversioned"}


def test_an_uncommitted_edit_marks_only_its_own_object_dirty(project: Path, client: Client) -> None:
    first = commit(project)
    edit(project / "experiment.yaml", "seed: 42", "seed: 43")
    apply_directory(project, client)
    found = revisions(project, client)
    assert found.pop("Experiment") == f"{first}-dirty"
    assert set(found.values()) == {first}


def test_a_commit_moves_the_revision_of_what_it_changed_and_of_nothing_else(
    project: Path, client: Client
) -> None:
    first = commit(project)
    apply_directory(project, client)
    edit(project / "experiment.yaml", "seed: 42", "seed: 43")
    apply_directory(project, client)
    second = commit(project)
    assert apply_directory(project, client)["Experiment"] == "Configured"
    found = revisions(project, client)
    assert found.pop("Experiment") == second
    assert set(found.values()) == {first}


def test_an_edit_of_the_data_changes_the_digest_and_a_revert_brings_it_back(
    project: Path, client: Client
) -> None:
    (project / "data.csv").write_text("target\n1\n")
    edit(project / "dataset.yaml", "builtin: wine", "path: data.csv")
    key = Key("Dataset", project.name, project.name)

    def digest() -> str:
        apply_directory(project, client)
        body = client.get(OURS["Dataset"].api_version, key)
        assert body is not None
        return str(body["metadata"]["annotations"]["modelyard.dev/source-digest"])

    first = digest()
    (project / "data.csv").write_text("target\n1\n2\n")
    assert digest() != first
    (project / "data.csv").write_text("target\n1\n")
    assert digest() == first


def test_what_vanished_from_the_directory_is_pruned_and_nothing_else(
    project: Path, client: Client
) -> None:
    apply_directory(project, client)
    foreign = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "foreign", "namespace": project.name},
    }
    client.apply(foreign, Key("ConfigMap", project.name, "foreign"))
    (project / "monitor.yaml").unlink()
    assert apply_directory(project, client)["Monitor"] == "Pruned"
    assert client.get("v1", Key("ConfigMap", project.name, "foreign")) is not None


def test_a_broken_file_prunes_nothing_and_the_sound_ones_are_applied(
    project: Path, client: Client
) -> None:
    apply_directory(project, client)
    (project / "monitor.yaml").write_text("kind: [")
    edit(project / "project.yaml", "parallelTrials: 2", "parallelTrials: 3")
    done = apply_directory(project, client)
    assert done["Project"] == "Configured"
    assert "Monitor" not in done
    monitor = Key("Monitor", project.name, project.name)
    assert client.get(OURS["Monitor"].api_version, monitor) is not None


def test_secrets_and_config_maps_of_the_directory_are_applied_and_pruned(
    project: Path, client: Client
) -> None:
    secret = project / "secret.yaml"
    secret.write_text(
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: keys, namespace: {project.name}}}\n"
        "stringData: {AWS_ACCESS_KEY_ID: a}\n"
    )
    assert apply_directory(project, client)["Secret"] == "Created"
    secret.unlink()
    assert apply_directory(project, client)["Secret"] == "Pruned"


def test_a_kind_the_server_does_not_know_is_named_with_its_file(
    project: Path, client: Client
) -> None:
    (project / "odd.yaml").write_text(
        f"apiVersion: odd.io/v1\nkind: Odd\nmetadata: {{name: x, namespace: {project.name}}}\n"
    )
    results = apply.apply_tree(judge(project), origin_of(project), client)
    failed = next(result for result in results if result.action == "Failed")
    assert failed.message.startswith("odd.yaml:1: the API server serves no kind Odd")


def plan(project: Path, client: Client | None) -> dict[str, str]:
    planner = Planner(judge(project).tree, origin_of(project), client, project / "store")
    return {entry.key.kind: entry.action for entry in planner.plan()}


def test_the_plan_says_what_apply_then_does(project: Path, client: Client) -> None:
    assert set(plan(project, None).values()) == {"Create"}
    assert set(plan(project, client).values()) == {"Create"}
    apply_directory(project, client)
    assert set(plan(project, client).values()) == {"Unchanged"}
    edit(project / "experiment.yaml", "seed: 42", "seed: 43")
    (project / "monitor.yaml").unlink()
    found = plan(project, client)
    assert (found.pop("Experiment"), found.pop("Monitor")) == ("Change", "Delete")
    assert set(found.values()) == {"Unchanged"}


def runs(project: Path) -> dict[str, Run]:
    planner = Planner(judge(project).tree, origin_of(project), None, project / "store")
    return {entry.key.kind: entry.run for entry in planner.plan() if entry.run}


@pytest.fixture
def snapshotted(project: Path) -> Path:
    """A project whose snapshot the store holds."""
    key = run_key(project.name, "Dataset", project.name, runs(project)["Dataset"].identity)
    folder = project / "store" / key
    folder.mkdir(parents=True)
    record = {"snapshot": {"rows": 178}, "fingerprint": "sha256:" + "f" * 64}
    (folder / RECORD).write_text(json.dumps(record))
    return project


def test_the_plan_says_that_a_change_of_the_model_finds_its_data_cached(snapshotted: Path) -> None:
    before = runs(snapshotted)
    edit(snapshotted / "experiment.yaml", "seed: 42", "seed: 43")
    after = runs(snapshotted)
    assert (after["Dataset"].state, after["Dataset"].message) == (
        "Cached",
        "snapshot of 178 rows is there",
    )
    assert after["Experiment"].state == "Runs"
    assert after["Experiment"].model_version != before["Experiment"].model_version


FAILURES = {"for good": (False, "Failed"), "for a passing reason": (True, "Runs")}


@pytest.mark.parametrize(("retryable", "state"), FAILURES.values(), ids=list(FAILURES))
def test_the_plan_says_whether_a_run_that_failed_runs_again(
    project: Path, retryable: bool, state: str
) -> None:
    identity = runs(project)["Dataset"].identity
    folder = project / "store" / run_key(project.name, "Dataset", project.name, identity)
    folder.mkdir(parents=True)
    failure = Failure(reason="MissingColumn", message="spec.schema[0]", retryable=retryable)
    (folder / FAILURE).write_text(failure.model_dump_json(by_alias=True))

    planned = runs(project)

    assert planned["Dataset"].state == state
    assert ("spec.schema[0]" in planned["Dataset"].message) is not retryable
    assert planned["Experiment"].model_version == ""


def test_the_plan_says_that_a_scheduled_experiment_waits_for_its_first_slot(
    snapshotted: Path,
) -> None:
    edit(snapshotted / "experiment.yaml", "seed: 42", "seed: 42\n  schedule: {every: 6h}")
    planned = runs(snapshotted)["Experiment"]
    assert planned.state == "Waits"
    assert "from the first slot of spec.schedule on" in planned.message
    assert planned.model_version == ""


def test_the_plan_hides_the_values_of_secrets(project: Path, client: Client) -> None:
    manifest = (
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: keys, namespace: {project.name}}}\n"
        "data: {key: b25l}\n"
    )
    (project / "secret.yaml").write_text(manifest)
    apply_directory(project, client)
    (project / "secret.yaml").write_text(manifest.replace("b25l", "dHdv"))
    planner = Planner(judge(project).tree, origin_of(project), client, project / "store")
    secret = next(entry for entry in planner.plan() if entry.key.kind == "Secret")
    assert [(c.path, c.before, c.after) for c in secret.changes] == [
        ("data.key", "(hidden)", "(hidden)")
    ]


@pytest.fixture
def followed(project: Path, client: Client) -> Iterator[Path]:
    """A project that a follower keeps applied; its state is no part of the repository."""
    Layout(project).state.mkdir()
    (Layout(project).state / ".gitignore").write_text("*\n")
    follower = Follower(Layout(project), client)
    thread = threading.Thread(target=follower.run)
    thread.start()
    yield project
    follower.stop()
    thread.join()


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds; pytest's own limit ends it when it never does."""
    while not holds():
        time.sleep(0.05)


def seed(project: Path, client: Client) -> int | None:
    body = client.get(OURS["Experiment"].api_version, Key("Experiment", project.name, project.name))
    return body and body["spec"]["seed"]


def test_the_follower_brings_back_what_was_deleted_by_hand(followed: Path, client: Client) -> None:
    eventually(lambda: seed(followed, client) == 42)
    experiment = Key("Experiment", followed.name, followed.name)
    client.delete(OURS["Experiment"].api_version, experiment)
    assert seed(followed, client) is None
    eventually(lambda: seed(followed, client) == 42)


def test_the_follower_applies_edits_prunes_and_follows_a_revert(
    followed: Path, client: Client
) -> None:
    eventually(lambda: seed(followed, client) == 42)
    first = commit(followed)
    eventually(lambda: set(revisions(followed, client).values()) == {first})
    edit(followed / "experiment.yaml", "seed: 42", "seed: 43")
    eventually(lambda: seed(followed, client) == 43)
    commit(followed)
    git(followed, "revert", "--no-edit", "HEAD")
    eventually(lambda: seed(followed, client) == 42)
    (followed / "monitor.yaml").unlink()
    eventually(lambda: "Monitor" not in revisions(followed, client))


def test_the_follower_reports_faults_and_goes_on_when_they_are_mended(
    followed: Path, client: Client
) -> None:
    state = Layout(followed).follower
    eventually(lambda: seed(followed, client) == 42)
    sound = (followed / "experiment.yaml").read_text()
    (followed / "experiment.yaml").write_text(sound + "\nbroken: [")
    eventually(lambda: bool(read_json(state).get("faults")))
    assert seed(followed, client) == 42
    (followed / "experiment.yaml").write_text(sound.replace("seed: 42", "seed: 44"))
    eventually(lambda: seed(followed, client) == 44)
    eventually(lambda: not read_json(state)["faults"])


@pytest.mark.parametrize(
    ("file", "old", "new", "path", "value"),
    [
        pytest.param("experiment.yaml", "trials: 10", "trials: 10\n    learners: [Linear]",
                     ("search", "learners"), ["Linear"], id="learners"),
        pytest.param("dataset.yaml", "builtin: wine", "builtin: wine\n    nullValues: ['-']",
                     ("source", "nullValues"), ["-"], id="null values"),
    ],
)  # fmt: skip
def test_a_list_that_is_written_later_replaces_the_default(
    file: str, old: str, new: str, path: tuple[str, str], value: list[str],
    project: Path, client: Client,
) -> None:  # fmt: skip
    apply_directory(project, client)
    edit(project / file, old, new)
    apply_directory(project, client)
    kind = file.removesuffix(".yaml").capitalize()
    body = client.get(OURS[kind].api_version, Key(kind, project.name, project.name))
    assert body is not None
    assert body["spec"][path[0]][path[1]] == value


S3_PROJECT = """\
apiVersion: modelyard.dev/v1alpha1
kind: Project
metadata: {name: NAME, namespace: NAME}
spec:
  artifactStore: {uri: "s3://bucket/wine", connectionRef: {name: data}}
  connections:
    - {name: data, type: S3, endpoint: "http://127.0.0.1:9", secretRef: {name: keys}}
"""


def test_the_plan_says_why_a_run_is_unknown_when_the_store_cannot_be_read(project: Path) -> None:
    (project / "project.yaml").write_text(S3_PROJECT.replace("NAME", project.name))
    planner = Planner(judge(project).tree, origin_of(project), None, project / "store")
    runs = {entry.key.kind: entry.run for entry in planner.plan() if entry.run}
    assert runs["Dataset"].state == "Unknown"
    assert "Secret keys, which only a running plane holds" in runs["Dataset"].message
