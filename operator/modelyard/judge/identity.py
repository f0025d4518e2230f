"""The identity of a Dataset's run: what the reconciler starts and `plan` foretells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.api.dataset import DatasetSpec
from modelyard.api.identity import run_identity
from modelyard.api.meta import SOURCE_DIGEST

NOT_SHAPING = ("description", "run", "deletionPolicy", "suspend", "resources")
"""Fields of a Dataset's spec that do not change the snapshot."""


def dataset_identity(manifest: Mapping[str, Any], spec: DatasetSpec) -> str:
    """Return the identity of a Dataset's run: spec, files behind a path as applied, token."""
    shaping = spec.to_json()
    for name in NOT_SHAPING:
        shaping.pop(name, None)
    annotations = manifest["metadata"].get("annotations") or {}
    files = annotations.get(SOURCE_DIGEST, "")
    return run_identity("Dataset", shaping, files, spec.run.token)
