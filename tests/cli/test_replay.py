"""`modelyard replay`: what is recorded comes again, or the first step that differs is named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelyard.api.artifacts import RECORD, TRIALS, run_key
from modelyard.api.dataset import DatasetSpec
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.identity import run_identity
from modelyard.api.meta import Model
from modelyard.api.records import DatasetRecord
from modelyard.api.runs import TrainConfig
from modelyard.api.runtime import CONFIG_VARIABLE, StoreConfig
from modelyard.build.run_config import dataset_config, train_config
from modelyard.cli import apply, main, manifests
from modelyard.judge.identity import dataset_identity
from modelyard.reconcile.dataset import resolve_path
from sklearn.datasets import load_breast_cancer

from tests.tools.object_store import make_bucket, object_store

REPOSITORY = Path(__file__).parents[2]
NAMESPACE = "cells"
DATASET: dict[str, Any] = {"source": {"path": "rows.csv"}, "privacy": {"detection": "Disabled"}}
EXPERIMENT: dict[str, Any] = {
    "datasetRef": {"name": "cells"},
    "task": {"type": "Classification", "target": "target"},
    "validation": {"folds": 2},
    "search": {"trials": 5, "learners": ["Linear", "LightGBM"]},
    "explain": {"permutationRepeats": 1, "shapRows": 5},
}


def manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    head = {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": metadata}
    return {**head, "spec": spec}


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def start(runtime: str, config: Model) -> subprocess.Popen[bytes]:
    # What somebody has told OpenBLAS must not shape a run: a replay is not told it.
    kernels = {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_L2_SIZE": "256"}
    told = {CONFIG_VARIABLE: config.model_dump_json(by_alias=True)}
    environment = {**os.environ, **kernels, **told}
    command = [sys.executable, "-m", f"modelyard_runtimes.{runtime}"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


@dataclass(frozen=True)
class Yard:
    """A project whose runs are recorded and whose plane does not run."""

    directory: Path

    @property
    def store(self) -> Path:
        return self.directory / ".modelyard" / "artifacts"

    def folder(self, kind: str, name: str) -> Path:
        [folder] = (self.store / run_key(NAMESPACE, kind, name, "")).iterdir()
        return folder

    def files(self) -> dict[str, bytes]:
        """Return all bytes of the project but the directory's own git folder."""
        return {
            path.relative_to(self.directory).as_posix(): path.read_bytes()
            for path in self.directory.rglob("*")
            if path.is_file() and ".git" not in path.parts
        }

    def edit_record(self, kind: str, name: str, change: Callable[[Any], None]) -> None:
        path = self.folder(kind, name) / RECORD
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))

    def replay(
        self,
        *arguments: str,
        status: int,
        variables: dict[str, str] | None = None,
        python: str = sys.executable,
    ) -> Any:
        """Run `modelyard replay ... -o json` there and return the document."""
        done = subprocess.run(
            [python, "-m", "modelyard.cli.main", "replay", "-o", "json", *arguments],
            cwd=self.directory, capture_output=True, text=True, check=False,
            env={**os.environ, **(variables or {})},
        )  # fmt: skip
        assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)


def record_snapshot(yard: Yard, name: str) -> DatasetRecord:
    """Take a snapshot as the operator would have it taken."""
    tree = manifests.load(yard.directory)
    dataset = next(one for one in tree.of_kind("Dataset") if one.key.name == name)
    body = apply.desired(dataset, apply.origin_of(yard.directory), None)
    spec = DatasetSpec.model_validate(body["spec"])
    source = resolve_path(spec.source, str(yard.directory), "spec.source")
    config = dataset_config(
        body,
        spec.model_copy(update={"source": source}),
        dataset_identity(body, spec),
        StoreConfig(uri=yard.store.as_uri()),
        None,
    )
    assert start("dataset", config).wait() == 0
    return DatasetRecord.model_validate_json((yard.folder("Dataset", name) / RECORD).read_bytes())


def search_config(
    yard: Yard, name: str, fields: dict[str, Any], data: DatasetRecord
) -> TrainConfig:
    """Return what the operator would give to a search."""
    spec = ExperimentSpec.model_validate(fields)
    identity = run_identity("Experiment", spec.shaping_fields(), data.fingerprint, "")
    body = manifest("Experiment", name, fields)
    store = StoreConfig(uri=yard.store.as_uri())
    return train_config(body, spec, identity, data, store, workers=1)


def record_killed_search(yard: Yard, data: DatasetRecord) -> None:
    """Run the search to its record, killed once on the way."""
    config = search_config(yard, "tumor", EXPERIMENT, data)
    search = start("train", config)
    log = yard.store / run_key(NAMESPACE, "Experiment", "tumor", config.identity) / TRIALS
    while not log.exists() or log.read_bytes().count(b"\n") < 3:
        assert search.poll() is None
        time.sleep(0.01)
    search.send_signal(signal.SIGKILL)
    search.wait()
    assert not (log.parent / RECORD).exists()
    assert start("train", config).wait() == 0


def make_yard(directory: Path, documents: list[dict[str, Any]]) -> Yard:
    """Commit a project in a folder of a new repository; git does not hold its rows."""
    directory.mkdir(parents=True)
    (directory / "all.yaml").write_text(yaml.safe_dump_all(documents))
    (directory / ".gitignore").write_text(".modelyard/\nrows.csv\n")
    git(directory.parent, "init", "-q", "-b", "main")
    git(directory, "add", "-A")
    git(directory, "commit", "-qm", "Start")
    return Yard(directory)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose commit has a snapshot and a search."""
    documents = [
        manifest("Project", "cells", {}),
        manifest("Dataset", "cells", DATASET),
        manifest("Experiment", "tumor", EXPERIMENT),
    ]
    yard = make_yard(tmp_path_factory.mktemp("repository") / "cells", documents)
    frame = load_breast_cancer(as_frame=True).frame.iloc[:160, [0, 1, 2, 3, 4, -1]]
    frame.to_csv(yard.directory / "rows.csv", index=False)
    record_killed_search(yard, record_snapshot(yard, "cells"))
    return yard.directory.parent


@pytest.fixture
def yard(recorded: Path, tmp_path: Path) -> Yard:
    """A copy elsewhere, as a clone with its store is."""
    shutil.copytree(recorded, tmp_path / "clone")
    return Yard(tmp_path / "clone" / "cells")


def test_a_snapshot_and_a_search_that_was_killed_replay_to_equal_digests(yard: Yard) -> None:
    before = yard.files()
    document = yard.replay("HEAD", status=0)
    assert document["equal"] is True
    assert document["commit"] == git(yard.directory, "rev-parse", "HEAD")
    snapshot, search = document["runs"]
    assert (snapshot["kind"], search["kind"]) == ("Dataset", "Experiment")
    assert [run["verdict"] for run in document["runs"]] == ["Equal", "Equal"]
    assert set(snapshot["digests"]) == {"fingerprint", "snapshot"}
    assert set(search["digests"]) == {"winner", "evidence"}
    digests = [*snapshot["digests"].values(), *search["digests"].values()]
    assert all(one["recorded"] == one["replayed"] for one in digests)
    assert search["trials"] == 5
    assert [run["changedSince"] for run in document["runs"]] == [[], []]
    assert [run["notes"] for run in document["runs"]] == [[], []]
    assert yard.files() == before
    assert git(yard.directory, "status", "--porcelain") == ""


def test_a_changed_cell_of_the_source_is_named_by_its_column(yard: Yard) -> None:
    path = yard.directory / "rows.csv"
    lines = path.read_text().splitlines()
    cells = lines[7].split(",")
    cells[1] = "11.11"
    lines[7] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    document = yard.replay("HEAD", "dataset/cells", status=1)
    [run] = document["runs"]
    assert run["verdict"] == "Different"
    assert run["firstDifference"]["step"].startswith("column mean texture")
    assert run["changedSince"] == ["data: the files behind spec.source.path are others than then"]
    assert run["digests"]["fingerprint"]["recorded"] != run["digests"]["fingerprint"]["replayed"]


def test_rows_that_git_holds_are_those_of_the_commit(yard: Yard) -> None:
    git(yard.directory, "add", "--force", "rows.csv")
    git(yard.directory, "commit", "-qm", "Hold the rows")
    (yard.directory / "rows.csv").write_text("target\n1\n")
    document = yard.replay("HEAD", "dataset/cells", status=0)
    assert document["equal"] is True


def test_a_trial_log_that_was_changed_is_named_with_what_else_is_not_as_then(yard: Yard) -> None:
    log = yard.folder("Experiment", "tumor") / TRIALS
    lines = log.read_text().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if '"number":2,' in line)
    trial = json.loads(lines[place])
    found = trial["folds"][1]
    trial["folds"][1] = found / 2
    lines[place] = json.dumps(trial) + "\n"
    log.write_text("".join(lines))

    def older(record: Any) -> None:
        record["provenance"]["environment"]["lightgbm"] = "3.0.0"

    yard.edit_record("Experiment", "tumor", older)
    [run] = yard.replay("HEAD", "experiment/tumor", status=1)["runs"]
    assert run["firstDifference"] == {
        "step": "trial 2: folds[1]",
        "recorded": found / 2,
        "replayed": found,
    }
    [change] = run["changedSince"]
    assert change.startswith("environment: lightgbm 3.0.0 then, ")
    [note] = run["notes"]
    assert note.startswith("trials.jsonl was changed since the run, at trial 2")
    assert run["digests"]["winner"]["recorded"] == run["digests"]["winner"]["replayed"]


def test_a_recorded_snapshot_that_was_altered_is_the_difference(yard: Yard) -> None:
    [snapshot] = yard.store.glob("artifacts/*/snapshot.parquet")
    content = bytearray(snapshot.read_bytes())
    content[len(content) // 2] ^= 1
    snapshot.write_bytes(content)
    [run] = yard.replay("HEAD", "experiment/tumor", status=1)["runs"]
    assert run["firstDifference"]["step"] == "snapshot"
    assert "snapshot.parquet: digest is sha256:" in run["firstDifference"]["replayed"]


def test_a_record_of_an_earlier_version_is_replayed_from_the_commit_and_says_what_it_lacks(
    yard: Yard,
) -> None:
    def older(record: Any) -> None:
        del record["config"]
        for name in ("codeDigest", "platform", "threads"):
            record["provenance"].pop(name, None)

    yard.edit_record("Dataset", "cells", older)
    [run] = yard.replay("HEAD", "dataset/cells", status=0)["runs"]
    assert run["verdict"] == "Equal"
    [note] = run["notes"]
    assert "the configuration, the digest of the code, the platform" in note


@pytest.fixture
def bucket() -> Iterator[tuple[Any, str]]:
    """A client of an S3 server on loopback, with an empty bucket, and the server's URL."""
    with object_store() as endpoint:
        yield make_bucket(endpoint, "models"), endpoint


def test_a_store_in_s3_is_read_with_keys_of_the_environment(
    yard: Yard, bucket: tuple[Any, str]
) -> None:
    client, endpoint = bucket
    for path in sorted(yard.store.rglob("*")):
        key = f"cells/{path.relative_to(yard.store).as_posix()}"
        if path.is_file() and ".incoming" not in path.parts:
            client.put_object(Bucket="models", Key=key, Body=path.read_bytes())
    shutil.rmtree(yard.directory / ".modelyard")
    connection = {"name": "lake", "type": "S3", "endpoint": endpoint, "secretRef": {"name": "keys"}}
    store = {"uri": "s3://models/cells", "connectionRef": {"name": "lake"}}
    documents = list(yaml.safe_load_all((yard.directory / "all.yaml").read_text()))
    documents[0]["spec"] = {"connections": [connection], "artifactStore": store}
    (yard.directory / "all.yaml").write_text(yaml.safe_dump_all(documents))
    git(yard.directory, "commit", "-qam", "Keep artifacts in the lake")
    before = {
        one["Key"]: one["ETag"] for one in client.list_objects_v2(Bucket="models")["Contents"]
    }
    [run] = yard.replay("HEAD", "experiment/tumor", status=3)["runs"]
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in run["message"]
    variables = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "mine"}
    [run] = yard.replay("HEAD", "experiment/tumor", status=0, variables=variables)["runs"]
    assert run["verdict"] == "Equal"
    after = {one["Key"]: one["ETag"] for one in client.list_objects_v2(Bucket="models")["Contents"]}
    assert after == before


def test_what_did_not_run_is_not_compared(yard: Yard) -> None:
    path = yard.directory / "all.yaml"
    path.write_text(path.read_text().replace("trials: 5", "trials: 6"))
    git(yard.directory, "commit", "-qam", "Search longer")
    [run] = yard.replay("HEAD", "experiment/tumor", status=3)["runs"]
    assert run["verdict"] == "NotCompared"
    assert "did not run yet" in run["message"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("main~7",), "no commit 'main~7'", id="no such commit"),
        pytest.param(("--", "--all"), "no commit '--all'", id="an option as a commit"),
        pytest.param(("HEAD", "experiment/cells"), "it has: dataset/cells", id="no such object"),
        pytest.param(("HEAD", "monitor/x"), "no such object with runs", id="a kind without runs"),
        pytest.param(("HEAD", "--into", "."), "not an empty folder", id="into what is there"),
        pytest.param(("HEAD", "--into", "/dev/null/x"), "name a new folder", id="into a file"),
        pytest.param(("HEAD", "-C", "/"), "not in a git repository", id="outside git"),
        pytest.param(("HEAD", "--quick"), "No such option", id="a wrong option"),
        pytest.param((), "COMMIT", id="no commit"),
    ],
)
def test_a_fault_of_usage_ends_with_3(
    recorded: Path,
    arguments: Any,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # `recorded` itself is only read.
    monkeypatch.chdir(recorded / "cells")
    monkeypatch.setattr(sys, "argv", ["modelyard", "replay", "-o", "json", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 3
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.fixture
def new_python(tmp_path: Path) -> str:
    """The interpreter of a new environment with the locked versions."""
    variables = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(tmp_path / "environment")}
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "sync", "--frozen", "--quiet", "--system-certs", "--python", sys.executable]
    if not uv.exists() or subprocess.call(command, cwd=REPOSITORY, env=variables):
        pytest.skip("uv cannot make an environment here")
    return str(tmp_path / "environment" / "bin" / "python")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_searches_replay_to_equal_digests_in_a_new_environment(
    tmp_path: Path, new_python: str
) -> None:
    sets = {"iris": "Classification", "wine": "Classification", "digits": "Classification",
            "breast_cancer": "Classification", "diabetes": "Regression"}  # fmt: skip
    datasets, searches = {}, {}
    for source, task in sets.items():
        name = source.replace("_", "-")
        datasets[name] = {"source": {"builtin": source}}
        for seed in (1, 2):
            searches[f"{name}-{seed}"] = {
                "datasetRef": {"name": name},
                "task": {"type": task, "target": "target"},
                "search": {"trials": 4},
                "explain": {"permutationRepeats": 1, "shapRows": 10},
                "seed": seed,
            }
    documents = [manifest("Dataset", name, spec) for name, spec in datasets.items()]
    documents += [manifest("Experiment", name, spec) for name, spec in searches.items()]
    yard = make_yard(tmp_path / "repository" / "yard", documents)
    records = {name: record_snapshot(yard, name) for name in datasets}
    for name, spec in searches.items():
        config = search_config(yard, name, spec, records[spec["datasetRef"]["name"]])
        assert start("train", config).wait() == 0
    shutil.move(yard.directory.parent, tmp_path / "moved")
    document = Yard(tmp_path / "moved" / "yard").replay("HEAD", status=0, python=new_python)
    assert document["equal"] is True
    assert len(document["runs"]) == 15
