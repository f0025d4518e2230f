"""Argo CD's Lua as its sandbox has it, kstatus, and Kustomize as kubectl carries it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import lua51
from modelyard.judge.conditions import is_ready

ARGOCD = Path(__file__).parents[2] / "charts" / "modelyard" / "gitops" / "argocd"
CONFIG: dict[str, str] = yaml.safe_load((ARGOCD / "argocd-cm.yaml").read_text())["data"]
NOW = "2026-11-27T12:00:00Z"

_SANDBOX = """
package.loaded.os, package.loaded.string, getmetatable("").__index = nil, nil, nil
local safe = { time = clock.time, date = clock.date }
package.preload.os = function() return safe end
clock, python = nil, nil
io, os, string, math, debug, coroutine = nil, nil, nil, nil, nil, nil
"""
"""Argo CD opens the base and table libraries, and of `os` only time and date."""


class Lua:
    """Runs a script of Argo CD on an object, in Lua 5.1 at a set time."""

    def run(self, script: str, manifest: dict[str, Any], **parameters: str) -> Any:
        """Return what a script returns, as JSON would have it.

        Raises:
            lua51.LuaError: the script raised an error.
        """
        lua = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False)
        lua.globals().clock = lua.table(time=lambda: 0, date=self._date)
        lua.execute(_SANDBOX)
        lua.globals().obj = lua.table_from(_without_nulls(manifest), recursive=True)
        lua.globals().actionParams = lua.table_from(parameters)
        return _plain(lua.execute(script), manifest)

    @staticmethod
    def _date(form: str) -> str:
        return {"!%Y-%m-%dT%H:%M:%SZ": NOW, "!%Y%m%dT%H%M%SZ": "20261127T120000Z"}[form]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if isinstance(value, list) else value


def _plain(value: Any, like: Any) -> Any:
    """Return a Lua value in Python. An empty table is what it was before, as in Argo CD."""
    if lua51.lua_type(value) != "table":
        return value
    keys = list(value.keys())
    if not keys and isinstance(like, dict | list):
        return type(like)()
    if keys == list(range(1, len(keys) + 1)):
        before = like if isinstance(like, list) else []
        padded = [*before, *[None] * len(keys)]
        return [_plain(child, old) for child, old in zip(value.values(), padded, strict=False)]
    before = like if isinstance(like, dict) else {}
    return {key: _plain(child, before.get(key)) for key, child in value.items()}


def health_script(kind: str) -> str:
    """Return the script by which Argo CD tells the health of a kind."""
    return CONFIG[f"resource.customizations.health.modelyard.dev_{kind}"]


def kstatus(manifest: dict[str, Any]) -> str:
    """Return the status of an object by the rules of kstatus for kinds that it does not know."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if "deletionTimestamp" in metadata:
        return "Terminating"
    if status.get("observedGeneration") not in (None, metadata["generation"]):
        return "InProgress"
    told = {one["type"]: one["status"] for one in status.get("conditions") or []}
    if told.get("Reconciling") == "True":
        return "InProgress"
    if told.get("Stalled") == "True":
        return "Failed"
    return "Current" if told.get("Ready", "True") == "True" else "InProgress"


def judged(manifest: dict[str, Any]) -> bool:
    """Return whether status and every condition are about the present generation."""
    status, generation = manifest.get("status") or {}, manifest["metadata"]["generation"]
    told = [status, *status.get("conditions", [])]
    return bool(status) and {one.get("observedGeneration") for one in told} == {generation}


def read_rightly(manifest: dict[str, Any], *, broken: bool) -> None:
    """Check that nobody reads as healthy what nobody judged yet, nor what cannot be right.

    Args:
        manifest: The object as it stands.
        broken: Whether its spec is one that never becomes Ready.
    """
    told = Lua().run(health_script(manifest["kind"]), manifest)["status"]
    presented = (told, kstatus(manifest), is_ready(manifest))
    if not judged(manifest):
        assert presented == ("Progressing", "InProgress", False), manifest
    if broken:
        assert (told != "Healthy", presented[1:] != ("Current", True)) == (True, True), manifest


@pytest.fixture
def lua() -> Lua:
    return Lua()


@pytest.fixture(scope="session")
def kubectl() -> str:
    found = shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("there is no kubectl")
    return found


@pytest.fixture(scope="session")
def engine_binary() -> Path:
    """The sync engine with Argo CD's own Lua and kstatus; `make soak` builds it."""
    command = [sys.executable, Path(__file__).parents[1] / "tools" / "gitops.py", "--built"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return Path(found.stdout.strip())
