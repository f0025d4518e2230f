"""What a careful platform engineer tries on a plane that serves: it says what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any


def test_a_directory_that_cannot_be_written_to_is_named_without_a_stack_trace(
    make_yard: Callable[[], Any],
) -> None:
    yard = make_yard()
    yard.state.write_text("a file where the state directory should be")
    done = subprocess.run(
        [sys.executable, "-m", "modelyard.cli.main", "up", str(yard.directory), "--detach"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(yard.state) in done.stderr


def test_a_missing_secret_is_a_warning_that_names_it(served: Any) -> None:
    source = {"builtin": "iris"}
    privacy = {
        "columns": [{"name": "sepal length (cm)", "action": "Hash"}],
        "keyRef": {"name": "pepper", "key": "k"},
    }
    manifest = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Dataset",
        "metadata": {"name": "hashed", "namespace": "cells"},
        "spec": {"source": source, "privacy": privacy},
    }
    served.write("hashed", manifest)
    served.commit("Hash a column with a key that nobody made")
    served.until(
        lambda: served.condition("Dataset", "Ready", "hashed").get("reason") == "SecretMissing",
        "the missing Secret is told",
    )
    assert '"pepper"' in served.condition("Dataset", "Ready", "hashed")["message"]
    assert "SecretMissing" in served.cli("why", "dataset/hashed", status=None)
    (served.directory / "hashed.yaml").unlink()
    served.commit("Hash nothing")
    served.until(lambda: served.get("Dataset", "hashed") is None, "the Dataset is pruned")
