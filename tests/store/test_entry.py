"""A run ends with record.json or failure.json, and a recorded run does not run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from modelyard.api.artifacts import Failure
from modelyard.api.meta import Model
from modelyard.api.runs import DatasetConfig
from modelyard.api.runtime import CONFIG_VARIABLE, UNTOLD_STATUS
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
