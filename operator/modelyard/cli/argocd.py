"""The scripts of `charts/modelyard/gitops/argocd` as one patch of Argo CD's ConfigMap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from modelyard.api.kinds import KINDS, Kind
from modelyard.api.meta import GROUP

SCRIPTS = Path(__file__).parents[3] / "charts" / "modelyard" / "gitops" / "argocd"
_ACTIONS_BY_FIELD = {
    "suspend": ("suspend", "resume"),
    "run": ("retry",),
    "stage": ("promote",),
    "model": ("rollback",),
}
"""Which actions a kind has, by a field of its spec; the script discovery.lua reads the same."""


class _Text(str):
    """A text of several lines, which YAML shows line by line."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def actions(kind: Kind) -> list[str]:
    """Return the names of the actions that objects of a kind may offer."""
    fields = [field for field in _ACTIONS_BY_FIELD if field in kind.spec.model_fields]
    return ["refresh", *(name for field in fields for name in _ACTIONS_BY_FIELD[field])]


def config_map() -> str:
    """Return the patch of the ConfigMap argocd-cm as YAML: health and actions of every kind."""
    data: dict[str, Any] = {}
    for kind in KINDS:
        data[f"resource.customizations.health.{GROUP}_{kind.kind}"] = _script("health.lua")
        data[f"resource.customizations.actions.{GROUP}_{kind.kind}"] = _Text(_dump(_actions(kind)))
    return (
        "# Written by `make generate` from the scripts beside it; change those, not this file.\n"
    ) + _dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "argocd-cm",
                "labels": {"app.kubernetes.io/part-of": "argocd"},
            },
            "data": data,
        }
    )


def _actions(kind: Kind) -> dict[str, Any]:
    return {
        "discovery.lua": _script("actions/discovery.lua"),
        "definitions": [
            {"name": name, "action.lua": _script(f"actions/{name}/action.lua")}
            for name in actions(kind)
        ],
    }


def _script(name: str) -> _Text:
    return _Text((SCRIPTS / name).read_text(encoding="utf-8"))


def _dump(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=100)
