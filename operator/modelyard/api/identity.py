"""Canonical JSON, digests and the run identity (design: "Runs, names, models")."""

from __future__ import annotations

import hashlib
import json
from typing import Any

IDENTITY_IN_NAME = 10
"""Hex digits of the run identity in a ModelVersion's name."""


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, no white space, UTF-8.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(data: bytes) -> str:
    """Return `sha256:<64 hex digits>` of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def run_identity(
    kind: str, shaping_fields: dict[str, Any], data_fingerprint: str, token: str
) -> str:
    """Return the run identity, 64 hex digits.

    Args:
        kind: Kind of the object that runs, for example `Experiment`.
        shaping_fields: Spec fields that shape the result; seed and parallelism are among them.
        data_fingerprint: Fingerprint of the rows, or digest of the source for a Dataset.
        token: The object's `spec.run.token`.
    """
    document = {"kind": kind, "spec": shaping_fields, "data": data_fingerprint, "token": token}
    return hashlib.sha256(canonical_json(document)).hexdigest()


def model_version_name(experiment: str, identity: str) -> str:
    """Return the name of the ModelVersion that a run of an Experiment makes."""
    return f"{experiment}-{identity[:IDENTITY_IN_NAME]}"
