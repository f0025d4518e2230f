"""The plane's state is lost; git and a copy of the artifact store bring everything back."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelyard.api.artifacts import LATEST, monitor_key
from modelyard.api.resources import OURS

from .conftest import NAMESPACE

BACK_UP = 'cp -ru "$0"/runs "$0"/[!r]* "$1"'
"""As the page on backups does it."""


def models(yard: Any) -> dict[str, str]:
    """Return the digests of all ModelVersions by name."""
    listed = yard.client.list(OURS["ModelVersion"], NAMESPACE)
    return {one["metadata"]["name"]: one["status"]["artifact"]["digest"] for one in listed
            if (one.get("status") or {}).get("artifact")}  # fmt: skip


def look(yard: Any) -> dict[str, Any]:
    """Return what the last look of the Monitor found."""
    path = yard.state / "artifacts" / monitor_key(NAMESPACE, "tumor") / LATEST
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def trained_twice(yard: Any) -> None:
    """Serve a model, then one of another seed."""
    yard.change("experiment", search={"trials": 2, "learners": ["Linear"]})
    yard.commit("Search little")
    yard.up()
    yard.until_served()
    first = yard.status("Experiment")["bestModelVersion"]
    yard.change("experiment", seed=7)
    yard.commit("Another seed")
    yard.until(
        lambda: yard.ready("Deployment") and yard.status("Deployment")["modelVersion"] != first,
        "the other model serves",
    )


def lose_the_plane(yard: Any, backup: Path) -> None:
    """Move to another checkout of the same commit; only the artifact store is restored there."""
    before = yard.directory.rename(yard.directory.with_name("lost"))
    elsewhere = yard.directory.with_name("elsewhere")
    subprocess.run(["git", "clone", "-q", before, elsewhere], check=True)
    shutil.rmtree(before)
    (elsewhere / ".modelyard").mkdir()
    shutil.copytree(backup, elsewhere / ".modelyard" / "artifacts")
    yard.move(elsewhere)


def test_git_and_the_artifact_store_bring_everything_back(
    make_yard: Callable[[], Any], tmp_path: Path
) -> None:
    yard = make_yard()
    trained_twice(yard)
    rows = yard.rows(40)
    for _ in range(6):
        yard.predict(rows)
    yard.until(lambda: look(yard).get("enough"), "the Monitor has a verdict")
    before, history = models(yard), yard.status("Experiment")["history"]
    served, answer = yard.status("Deployment")["modelVersion"], yard.predict(rows)
    backup = tmp_path / "backup"
    backup.mkdir()
    subprocess.run(["bash", "-c", BACK_UP, yard.state / "artifacts", backup], check=True)
    yard.down()

    lose_the_plane(yard, backup)
    yard.up()
    yard.until_served()

    assert yard.workflows() == [], "nothing ran again"
    assert models(yard) == before
    assert len(before) == 2
    assert yard.status("Experiment")["history"] == history
    assert yard.status("Deployment")["modelVersion"] == served
    assert yard.predict(rows) == answer
    assert yard.condition("Monitor", "NoData")["status"] == "False", "its verdict stands"
    seen = look(yard)["evaluatedAt"]
    yard.until(lambda: look(yard)["evaluatedAt"] > seen, "the Monitor looks again")
    yard.down()
