"""What a container of a pod means as a local process: its command and its environment."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from modelyard.embedded.client import SECRETS, ApiError, Client, Object
from modelyard.embedded.standins.shapes import ANY, Shape, Unsupported, require

DEFAULT_MODULES = ("modelyard_runtimes.*",)
"""Modules that a container may run, as shell patterns."""

ENVIRONMENT_SHAPE: Shape = [
    {
        "name": ANY,
        "value": ANY,
        "valueFrom": {"secretKeyRef": {"name": ANY, "key": ANY, "optional": ANY}},
    }
]
CONTAINER_SHAPE: dict[str, Any] = {
    "name": ANY,
    "image": ANY,
    "imagePullPolicy": ANY,
    "command": [ANY],
    "args": [ANY],
    "env": ENVIRONMENT_SHAPE,
    "resources": ANY,
    "securityContext": ANY,
    "volumeMounts": ANY,
    "terminationMessagePolicy": ANY,
}
"""Supported fields. Image, resources, securityContext and volumeMounts mean nothing to a local
process: it has the rights and the machine of the user who started the plane, and its log is all
kept."""
VOLUMES_SHAPE: Shape = [{"name": ANY, "emptyDir": ANY}]
"""Room to write is all that a volume can offer here; the machine has that."""

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")


class NotYet(Exception):
    """A container cannot be started yet: what it refers to is missing."""


def module_command(
    python: str, words: Sequence[str], allowed_modules: Sequence[str], path: str
) -> tuple[str, ...]:
    """Return the command of a process that runs `python -m <module> ...`.

    Args:
        python: The interpreter that stands for the image's.
        words: The container's command and arguments.
        allowed_modules: Patterns of modules that may run.
        path: Path of the field the words come from, for the error.

    Raises:
        Unsupported: it is another command.
    """
    remedy = f"use python -m <module> with a module of {', '.join(allowed_modules)}"
    require(list(words[:2]) in (["python", "-m"], ["python3", "-m"]), path, remedy)
    require(
        len(words) > 2 and any(fnmatchcase(words[2], allowed) for allowed in allowed_modules),
        path,
        remedy,
    )
    return (python, *words[1:])


async def read_environment(
    client: Client, namespace: str, entries: Sequence[Object], path: str
) -> dict[str, str]:
    """Return the environment of a container, with secrets read and `$(NAME)` expanded.

    Expansion is Kubernetes' own: `$(NAME)` is the value of an earlier entry, `$$` is `$`, and a
    reference to no entry stays as it is. Values from secrets are not expanded.

    Raises:
        NotYet: a Secret or a key of it is missing and not optional.
        Unsupported: an entry has neither value nor valueFrom.secretKeyRef.
    """
    environment: dict[str, str] = {}
    for index, entry in enumerate(entries):
        if "valueFrom" not in entry:
            environment[entry["name"]] = expand(entry.get("value", ""), environment)
            continue
        reference = entry["valueFrom"].get("secretKeyRef")
        if reference is None:
            raise Unsupported(f"{path}[{index}].valueFrom", "use secretKeyRef")
        value = await _secret_value(client, namespace, reference)
        if value is not None:
            environment[entry["name"]] = value
    return environment


def expand(value: str, environment: dict[str, str]) -> str:
    """Return a value with `$(NAME)` and `$$` expanded."""

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return environment.get(match[1], match[0])

    return _REFERENCE.sub(replace, value)


async def _secret_value(client: Client, namespace: str, reference: Object) -> str | None:
    name, key = reference["name"], reference["key"]
    optional = reference.get("optional", False)
    try:
        secret = await client.get(SECRETS, namespace, name)
    except ApiError as error:
        if error.code != 404:
            raise
        if optional:
            return None
        raise NotYet(f'secret "{name}" not found') from error
    data = secret.get("data") or {}
    if key in data:
        return base64.b64decode(data[key]).decode(errors="surrogateescape")
    if optional:
        return None
    raise NotYet(f"couldn't find key {key} in Secret {namespace}/{name}")
