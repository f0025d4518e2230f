"""Every Policy of the library is complete, and does what its tests say on both engines."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import regorus
import yaml
from modelyard.api.kinds import POLICY
from modelyard.api.meta import API_VERSION
from modelyard.api.policy import PolicySpec
from modelyard.judge.gate import failed_tests
from modelyard.judge.rego import compile_policy, rego_source
from modelyard.judge.rego_tokens import tokens
from modelyard.ports.policy import PolicyEngine

LIBRARY = Path(__file__).parents[2] / "policies"
FOLDERS = sorted(path for path in LIBRARY.iterdir() if path.is_dir())
each_policy = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def manifest(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((folder / "policy.yaml").read_text())
    return document


def spec(folder: Path) -> PolicySpec:
    return PolicySpec.model_validate(manifest(folder)["spec"])


def rego_tests_of(folder: Path) -> Path:
    return folder / f"{folder.name.replace('-', '_')}_test.rego"


def test_the_library_covers_every_gate() -> None:
    assert len(FOLDERS) >= 11
    assert {gate for folder in FOLDERS for gate in spec(folder).gates} == {
        "dataset",
        "train",
        "promote",
        "deploy",
    }


def test_the_index_names_every_policy() -> None:
    index = (LIBRARY / "README.md").read_text()
    assert [f.name for f in FOLDERS if f"({f.name}/policy.yaml)" not in index] == []


@each_policy
def test_a_folder_is_complete(folder: Path) -> None:
    files = {
        "policy.yaml",
        "policy.rego",
        "allowed.yaml",
        "disallowed.yaml",
        rego_tests_of(folder).name,
    }
    assert {path.name for path in folder.iterdir()} == files


@each_policy
def test_a_manifest_is_ready_to_apply(folder: Path) -> None:
    document = manifest(folder)
    assert (document["apiVersion"], document["kind"]) == (API_VERSION, POLICY.kind)
    assert document["metadata"] == {"name": folder.name}
    assert spec(folder).description


@each_policy
def test_the_rego_beside_a_manifest_is_the_one_that_is_evaluated(folder: Path) -> None:
    evaluated = rego_source(folder.name, spec(folder))
    assert (folder / "policy.rego").read_text() == evaluated


@each_policy
def test_samples_are_the_policys_own_tests(folder: Path) -> None:
    samples = {
        name: yaml.safe_load((folder / f"{name}.yaml").read_text())
        for name in ("allowed", "disallowed")
    }
    assert {test.name: test.input for test in spec(folder).tests} == samples
    assert {test.name: test.allow for test in spec(folder).tests} == {
        "allowed": True,
        "disallowed": False,
    }


@each_policy
@pytest.mark.asyncio(loop_scope="module")
async def test_samples_pass_or_fail_with_a_reason(engine: PolicyEngine, folder: Path) -> None:
    module = compile_policy(folder.name, spec(folder))
    assert await engine.check(module) == ()
    said = [await engine.evaluate(module, test.input) for test in spec(folder).tests]
    assert failed_tests(spec(folder), said) == ()
    assert [len(decision.reasons) > 0 for decision in said] == [False, True]
    assert all("undefined;" not in reason for decision in said for reason in decision.reasons)


@each_policy
def test_rego_tests_pass_on_regorus(folder: Path) -> None:
    source = rego_tests_of(folder).read_text()
    names = [t.text for t in tokens(source) if t.text.startswith("test_") and t.column == 1]
    assert len(names) >= 3
    engine = regorus.Engine()
    engine.add_policy("policy.rego", (folder / "policy.rego").read_text())
    package = engine.add_policy("policy_test.rego", source)
    results = {}
    for name in names:
        answer = json.loads(engine.eval_query_as_json(f"{package}.{name}"))
        rows = answer.get("result", [{"expressions": [{"value": None}]}])
        results[name] = rows[0]["expressions"][0]["value"]
    assert results == dict.fromkeys(names, True)


def test_rego_tests_pass_on_opa(opa_binary: Path) -> None:
    done = subprocess.run(
        [opa_binary, "test", LIBRARY, "--ignore", "*.yaml", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(done.stdout)) >= 3 * len(FOLDERS)


@pytest.mark.parametrize("check", [["fmt", "--fail"], ["check", "--strict", "--ignore", "*.yaml"]])
def test_opa_finds_no_fault_in_the_library(opa_binary: Path, check: list[str]) -> None:
    written = sorted(str(path) for path in LIBRARY.glob("*/*.rego"))
    done = subprocess.run(
        [opa_binary, *check, *written], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
