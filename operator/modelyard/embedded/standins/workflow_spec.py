"""The Workflows that the embedded plane runs: one container, retried."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.embedded.client import Object
from modelyard.embedded.standins.containers import CONTAINER_SHAPE, VOLUMES_SHAPE, module_command
from modelyard.embedded.standins.shapes import ANY, Shape, Unsupported, require, require_supported

WORKFLOW_SHAPE: Shape = {
    "entrypoint": ANY,
    "serviceAccountName": ANY,
    "shutdown": ANY,
    "ttlStrategy": {"secondsAfterCompletion": ANY},
    "activeDeadlineSeconds": ANY,
    "podGC": ANY,
    "podMetadata": ANY,
    "securityContext": ANY,
    "nodeSelector": ANY,
    "tolerations": ANY,
    "affinity": ANY,
    "volumes": VOLUMES_SHAPE,
    "podSpecPatch": ANY,
    "templates": [
        {
            "name": ANY,
            "metadata": ANY,
            "retryStrategy": {"limit": ANY, "expression": ANY, "retryPolicy": ANY},
            "container": CONTAINER_SHAPE,
        }
    ],
}
_EXPRESSION = re.compile(r"asInt\(lastRetry\.exitCode\) != (\d+)")


@dataclass(frozen=True)
class WorkflowRun:
    """What a Workflow's spec asks for.

    Attributes:
        template: Name of the template that runs.
        command: Program and arguments.
        environment: Entries of the container's `env`.
        environment_path: Path of that field.
        retries: How often it is tried again; None without a retryStrategy.
        final_exit_code: The exit code that is not tried again.
        deadline: Seconds that it may take in all.
        time_to_live: Seconds after its end until it is deleted.
    """

    template: str
    command: tuple[str, ...]
    environment: list[Object]
    environment_path: str
    retries: int | None
    final_exit_code: int | None
    shutdown: str
    deadline: float | None
    time_to_live: float | None


def parse_workflow(
    spec: Object, python: str, allowed_modules: Sequence[str], path: str = "spec"
) -> WorkflowRun:
    """Return what a Workflow's spec asks for.

    Raises:
        Unsupported: it asks for what the embedded plane does not do.
    """
    require_supported(spec, WORKFLOW_SHAPE, path)
    templates = spec.get("templates") or []
    require(len(templates) == 1, f"{path}.templates", "use exactly one template")
    template = templates[0]
    place = f"{path}.templates[0]"
    require(
        spec.get("entrypoint") == template.get("name"),
        f"{path}.entrypoint",
        "use the name of the one template",
    )
    container = template.get("container")
    require(container is not None, f"{place}.container", "use a container template")
    _require_plain(container, f"{place}.container")
    words = [*container.get("command", []), *container.get("args", [])]
    retries, final = _retry(template.get("retryStrategy"), f"{place}.retryStrategy")
    return WorkflowRun(
        template=template["name"],
        command=module_command(python, words, allowed_modules, f"{place}.container.command"),
        environment=container.get("env", []),
        environment_path=f"{place}.container.env",
        retries=retries,
        final_exit_code=final,
        shutdown=spec.get("shutdown") or "",
        deadline=spec.get("activeDeadlineSeconds"),
        time_to_live=(spec.get("ttlStrategy") or {}).get("secondsAfterCompletion"),
    )


def _require_plain(container: Object, path: str) -> None:
    """Refuse template tags: Argo Workflows would substitute them, or fail for want of a value."""
    texts = [(f"{path}.command", word) for word in container.get("command", [])]
    texts += [(f"{path}.args", word) for word in container.get("args", [])]
    for index, entry in enumerate(container.get("env", [])):
        texts.append((f"{path}.env[{index}].value", entry.get("value", "")))
    for place, text in texts:
        require("{{" not in text, place, "use no {{, which Argo Workflows takes for a template tag")


def _retry(strategy: Any, path: str) -> tuple[int | None, int | None]:
    if strategy is None:
        return None, None
    policy = strategy.get("retryPolicy", "Always")
    require(policy in ("Always", "OnFailure"), f"{path}.retryPolicy", "use Always or OnFailure")
    limit = str(strategy.get("limit", ""))
    require(limit.isdigit(), f"{path}.limit", "use a number")
    expression = strategy.get("expression")
    if expression is None:
        return int(limit), None
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise Unsupported(f"{path}.expression", "use asInt(lastRetry.exitCode) != <number>")
    return int(limit), int(match[1])
