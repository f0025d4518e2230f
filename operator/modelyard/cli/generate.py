"""`python -m modelyard.cli.generate [DIR]`: writes all that follows from the models."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from modelyard.api.crd import bundle_schema, crd, json_schema
from modelyard.api.kinds import KINDS
from modelyard.api.kustomize import merge_schema, name_references
from modelyard.api.reference import reference_page
from modelyard.cli.argocd import config_map
from modelyard.cli.reference import cli_page
from modelyard.plane.permissions import operator_rules, people_rules

CHART = "charts/modelyard"


def generated_files() -> dict[str, str]:
    """Return path and text of every generated file: CRDs, editor schemas, pages, chart parts."""
    files = {}
    for kind in KINDS:
        files[f"crds/{kind.plural}.yaml"] = _yaml(crd(kind))
        files[f"{CHART}/files/crds/{kind.plural}.yaml"] = _yaml(crd(kind))
        files[f"crds/schemas/{kind.kind.lower()}.json"] = _json(json_schema(kind))
    files["crds/schemas/modelyard.json"] = _json(bundle_schema())
    kustomize = "charts/modelyard/gitops/kustomize"
    files[f"{kustomize}/name-references.yaml"] = (
        "# Written by `make generate` from the models.\n"
        + yaml.safe_dump(name_references(), sort_keys=False)
    )
    files[f"{kustomize}/merge-schema.json"] = _json(merge_schema())
    files["charts/modelyard/gitops/argocd/argocd-cm.yaml"] = config_map()
    files["docs/reference/kinds.md"] = reference_page()
    files["docs/reference/cli.md"] = cli_page()
    files[f"{CHART}/files/rbac/operator.yaml"] = _yaml(operator_rules())
    files[f"{CHART}/files/rbac/people.yaml"] = _yaml(people_rules())
    return files


def write(root: Path) -> None:
    """Write every generated file under a directory."""
    for name, text in generated_files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=100)


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
