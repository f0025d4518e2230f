"""The main job in one go: YAML in, a governed, served and watched model out.

    python examples/demo.py

It does what a person would do, by the same commands, each printed before it runs: bring up the
breast-cancer project, ask it for predictions, send ordinary and then shifted traffic, and see the
Monitor find the drift. Everything happens in a temporary folder; nothing is left running.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer

SPECS = Path(__file__).parent / "specs" / "breast-cancer"
NAME = "breast-cancer"
ROWS = 1000
SHIFTED_SHARE = 0.3
SHIFT = 0.5
"""How far features are shifted, in standard deviations."""
PATIENCE_SECONDS = 120


def run(*command: str, quiet: bool = False) -> str:
    """Print a command, run it, print what it says, and return its stdout.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    if not quiet:
        print(f"\n$ {shlex.join(command)}", flush=True)
    program = [sys.executable, "-m", "modelyard.cli.main", *command[1:]]
    argv = program if command[0] == "modelyard" else list(command)
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    if not quiet:
        print(done.stdout, end="", flush=True)
    return done.stdout


def status_of(project: Path, what: str) -> dict[str, Any]:
    """Return the status of an object."""
    text = run("modelyard", "get", what, "-C", str(project), "-o", "json", quiet=True)
    status: dict[str, Any] = json.loads(text).get("status", {})
    return status


def await_verdict(project: Path, reason: str) -> None:
    """Wait until the Monitor says `NoDrift` or `FeaturesDrifted`."""
    started = time.monotonic()
    while True:
        conditions = status_of(project, f"monitor/{NAME}").get("conditions", [])
        found = next((c for c in conditions if c["type"] == "DriftDetected"), {})
        if found.get("reason") == reason:
            print(f"the Monitor says {reason}: {found['message']}", flush=True)
            return
        if time.monotonic() - started > PATIENCE_SECONDS:
            run("modelyard", "why", f"monitor/{NAME}", "-C", str(project))
            sys.exit(f"the Monitor did not say {reason} in {PATIENCE_SECONDS} s")
        time.sleep(1)


def send(project: Path, rows: pd.DataFrame, file: str) -> None:
    """Send rows to the served model."""
    path = project.parent / file
    rows.to_csv(path, index=False)
    run("modelyard", "predict", NAME, "-C", str(project), "--data", str(path), quiet=True)
    print(f"sent {len(rows)} rows: {file}", flush=True)


def shifted(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return rows with a share of the features moved by half a standard deviation."""
    columns = np.random.default_rng(seed).choice(
        rows.columns, size=round(SHIFTED_SHARE * rows.shape[1]), replace=False
    )
    moved = rows.copy()
    moved[columns] += SHIFT * rows[columns].std()
    return moved


def commit(project: Path) -> None:
    """Put the project under git, as a user would; every object then names its commit."""
    author = ("-c", "user.name=Demo", "-c", "user.email=demo@example.com")
    for arguments in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "Start")):
        run("git", "-C", str(project), *author, *arguments)


def demonstrate(project: Path) -> None:
    """Run the whole story in a folder that holds the project."""
    if shutil.which("git"):
        commit(project)
    run("modelyard", "validate", str(project))
    run("modelyard", "up", str(project), "--wait", "--detach")

    features = load_breast_cancer(as_frame=True).data
    few = project.parent / "few.csv"
    features.head(3).to_csv(few, index=False)
    run("modelyard", "predict", NAME, "-C", str(project), "--data", str(few))
    run("modelyard", "why", f"deployment/{NAME}", "-C", str(project))

    print("\nOrdinary traffic, then traffic from a changed world:")
    ordinary = features.sample(ROWS, replace=True, random_state=1)
    send(project, ordinary, "ordinary.csv")
    await_verdict(project, "NoDrift")
    send(project, shifted(ordinary, seed=2), "shifted.csv")
    await_verdict(project, "FeaturesDrifted")
    run("modelyard", "status", str(project))


def main() -> None:
    """Copy the project, run the story, stop everything."""
    with tempfile.TemporaryDirectory(prefix="modelyard-demo-") as folder:
        project = Path(folder) / NAME
        project.mkdir()
        for manifest in SPECS.glob("*.yaml"):
            (project / manifest.name).write_bytes(manifest.read_bytes())
        try:
            demonstrate(project)
        finally:
            run("modelyard", "down", str(project))
    print("\nDone: nothing is left running.")


if __name__ == "__main__":
    main()
