"""What the processes of an idle plane do without: together they stay under 200 MiB."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

OPERATOR = ["modelyard.plane.__main__", "modelyard.adapters.regorus"]
API_SERVER = ["modelyard.embedded.apiserver.__main__"]
STAND_INS = ["modelyard.embedded.standins.__main__"]

COMMAND_LINE = {"httpx", "jsonschema", "rich", "typer", "watchfiles", "modelyard.cli"}
RUNTIMES = {"modelyard_runtimes", "numpy", "pandas", "polars", "pyarrow", "sklearn"}
NEEDED_SELDOM = {"boto3", "botocore", "cryptography", "opa_client", "regorus"}
SYNCHRONOUS_CLIENT = {"kubernetes.config", "kubernetes.stream", "requests", "oauthlib", "websocket"}
CLUSTER_CLIENTS = {"kopf", "kubernetes", "pydantic"}
SCHEMAS = {"cel", "jsonschema_rs", "modelyard.embedded.apiserver"}


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        pytest.param(
            OPERATOR,
            COMMAND_LINE | RUNTIMES | NEEDED_SELDOM | SYNCHRONOUS_CLIENT | SCHEMAS,
            id="operator",
        ),
        pytest.param(
            API_SERVER,
            COMMAND_LINE | RUNTIMES | NEEDED_SELDOM | CLUSTER_CLIENTS | {"requests"},
            id="API server",
        ),
        pytest.param(
            STAND_INS,
            COMMAND_LINE | RUNTIMES | NEEDED_SELDOM | CLUSTER_CLIENTS | SCHEMAS | {"requests"},
            id="stand-ins",
        ),
    ],
)
def test_a_process_imports_nothing_large_that_it_can_do_without(
    modules: list[str], without: set[str]
) -> None:
    code = f"import json, sys, {', '.join(modules)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    imported = set(json.loads(done.stdout))
    assert set(modules) <= imported
    assert imported & without == set()
