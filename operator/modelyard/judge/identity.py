"""The identities of runs: what the reconciler starts and `plan` foretells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.api.dataset import DatasetSpec
from modelyard.api.deployment import Batch
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


def batch_identity(batch: Batch, model_digest: str, data_fingerprint: str, token: str) -> str:
    """Return the identity of a batch: model, rows, what is written of them and where, token.

    Args:
        batch: The Deployment's `spec.batch`.
        model_digest: Digest of the model that scores.
        data_fingerprint: Fingerprint of the Dataset's rows, or digest of the source's files as
            they were applied; empty where nothing tells it.
        token: Token of the run that is asked for.
    """
    shaping = batch.to_json()
    shaping["input"].pop("datasetRef", None)
    shaping["model"] = model_digest
    return run_identity("Deployment", shaping, data_fingerprint, token)
