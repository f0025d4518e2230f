"""ModelVersions that the operator creates for a winner that git does not declare yet."""

from __future__ import annotations

from modelyard.api.meta import API_VERSION
from modelyard.build.common import IDENTITY_LABEL, Manifest, metadata


def model_version(owner: Manifest, name: str, identity: str) -> Manifest:
    """Return the ModelVersion of an Experiment's run, without a spec: only git owns one.

    Applied so, not even the spec's defaults belong to the operator, and git meets no conflict.
    """
    child = metadata(owner, name, "model")
    child["labels"][IDENTITY_LABEL] = identity[:10]
    return {"apiVersion": API_VERSION, "kind": "ModelVersion", "metadata": child}
