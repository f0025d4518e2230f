"""Starts a runtime as the plane does: a process of its own, told everything by its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from modelyard.api.runs import DatasetConfig, TrainConfig
from modelyard.api.runtime import CONFIG_VARIABLE
from modelyard.cli.faults import CommandError

INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")
RUNTIMES = "modelyard_runtimes"


def check_installed() -> None:
    """Check that the runtimes can be started by this interpreter.

    Raises:
        CommandError: they are not installed beside it.
    """
    if find_spec(RUNTIMES) is None:
        raise CommandError(
            "the runtimes are not installed here; pip install 'modelyard-runtimes[dataset,train]'"
        )


def start_runtime(
    runtime: Literal["dataset", "train"],
    config: DatasetConfig | TrainConfig,
    keys: Mapping[str, str],
    log: Path,
) -> int:
    """Run a runtime to its end and return its exit status.

    Args:
        runtime: Which one.
        config: What it is given.
        keys: Variables with credentials.
        log: File that its output is added to.
    """
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment = {**inherited, **keys, CONFIG_VARIABLE: config.model_dump_json(by_alias=True)}
    command = [sys.executable, "-m", f"{RUNTIMES}.{runtime}"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    return done.returncode
