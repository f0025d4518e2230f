"""A run ends with record.json or failure.json, and a recorded run does not run again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from modelyard import api
from modelyard.api.artifacts import Failure
from modelyard.api.meta import Model
from modelyard.api.runs import DatasetConfig
from modelyard.api.runtime import CONFIG_VARIABLE, UNTOLD_STATUS
from modelyard_runtimes import provenance as provenance_module
from modelyard_runtimes.entry import RunFailure, now, run
from modelyard_runtimes.provenance import provenance
from modelyard_runtimes.store import Store

Main = Callable[[DatasetConfig, Store], Model]


class Outcome(Model):
    """Stands for a record."""

    number: int


def succeed(_config: DatasetConfig, _store: Store) -> Model:
    return Outcome(number=1)


def fail(_config: DatasetConfig, _store: Store) -> Model:
    raise RunFailure("EmptySource", "spec.source.path: no rows; add a file", retryable=True)


def break_down(_config: DatasetConfig, _store: Store) -> Model:
    raise ValueError("secret value")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = {
        "namespace": "team",
        "name": "rows",
        "identity": "1" * 64,
        "spec": {"source": {"builtin": "iris"}},
        "store": {"uri": f"file://{tmp_path}"},
    }
    monkeypatch.setenv(CONFIG_VARIABLE, json.dumps(config))
    return tmp_path / "runs" / "team" / "dataset" / "rows" / ("1" * 64)


def status_of(main: Main) -> Any:
    with pytest.raises(SystemExit) as caught:
        run(DatasetConfig, main)
    return caught.value.code


def test_a_result_becomes_the_record(folder: Path) -> None:
    assert status_of(succeed) == 0
    assert (folder / "record.json").read_bytes() == b'{"number":1}'


def test_a_recorded_run_is_not_run_again(folder: Path) -> None:
    status_of(succeed)

    assert status_of(fail) == 0
    assert not (folder / "failure.json").exists()


def test_a_failure_is_told_and_the_status_is_1(folder: Path) -> None:
    assert status_of(fail) == 1
    failure = Failure.model_validate_json((folder / "failure.json").read_bytes())
    assert failure == Failure(
        reason="EmptySource", message="spec.source.path: no rows; add a file", retryable=True
    )
    assert not (folder / "record.json").exists()


def test_a_failure_that_the_store_does_not_take_has_a_status_of_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.parents[4].joinpath("runs").write_text("a file where a folder should be")

    assert status_of(fail) == UNTOLD_STATUS
    assert "spec.source.path" in capsys.readouterr().err


def test_an_unforeseen_exception_is_told_without_its_values(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(break_down) == 1
    written = (folder / "failure.json").read_text() + capsys.readouterr().err
    assert "InternalError" in written
    assert "break_down" in written
    assert "secret value" not in written


@pytest.mark.parametrize("text", [None, "{}", "no json"], ids=["unset", "incomplete", "no JSON"])
def test_without_a_configuration_the_status_is_2(
    text: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    if text is not None:
        monkeypatch.setenv(CONFIG_VARIABLE, text)

    assert status_of(succeed) == 2
    lines = capsys.readouterr().err.splitlines()
    assert CONFIG_VARIABLE in json.loads(lines[-1])["message"]


def test_provenance_holds_versions_and_cpu_seconds() -> None:
    found = provenance(now(), "abc", ["pyarrow", "no-such-library"])

    assert set(found.environment) == {"pyarrow"}
    assert found.cpu_seconds > 0
    assert found.source_revision == "abc"


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy what runs to a folder that may be changed, and let it be what runs."""
    runtimes = Path(provenance_module.__file__).parent
    for name, root in (("runtimes", runtimes), ("api", Path(api.__path__[0]))):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root, tmp_path / name, ignore=ignored)
    monkeypatch.setattr(provenance_module, "__file__", str(tmp_path / "runtimes/provenance.py"))
    monkeypatch.setattr(api, "__path__", [str(tmp_path / "api")])
    return tmp_path


def edit_a_line(file: Path) -> None:
    lines = file.read_text().splitlines(keepends=True)
    lines[-1] = lines[-1].rstrip("\n") + "  # another\n"
    file.write_text("".join(lines))


def test_a_copy_of_the_code_has_its_digest(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = provenance(now(), "").code_digest
    (sources / "runtimes" / "entry.pyc").write_bytes(b"compiled")
    assert provenance(now(), "").code_digest == copied
    monkeypatch.undo()
    assert provenance(now(), "").code_digest == copied


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda at: edit_a_line(at / "runtimes/train/trial.py"), id="a line"),
        pytest.param(lambda at: edit_a_line(at / "runtimes/model/schema.py"), id="of the model"),
        pytest.param(lambda at: edit_a_line(at / "api/identity.py"), id="of the api"),
        pytest.param(lambda at: (at / "runtimes/new.py").touch(), id="an empty file more"),
        pytest.param(lambda at: (at / "runtimes/entry.py").unlink(), id="a file less"),
        pytest.param(
            lambda at: (at / "runtimes/entry.py").rename(at / "runtimes/start.py"),
            id="another name",
        ),
    ],
)
def test_code_that_was_changed_has_another_digest(
    sources: Path, change: Callable[[Path], object]
) -> None:
    before = provenance(now(), "").code_digest
    change(sources)
    assert provenance(now(), "").code_digest != before


def test_another_version_of_a_library_is_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = provenance(now(), "", ["lightgbm", "numpy"]).environment
    installed = tmp_path / "lightgbm-0.0.1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: lightgbm\nVersion: 0.0.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert provenance(now(), "", ["lightgbm", "numpy"]).environment == {
        **before,
        "lightgbm": "0.0.1",
    }
    assert before["lightgbm"] != "0.0.1"
