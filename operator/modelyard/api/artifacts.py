"""How the artifact store is laid out, and what the digest of an artifact covers.

    <root>/artifacts/<64 hex>/...                     files of an artifact, manifest.json last
    <root>/runs/<namespace>/<kind>/<name>/<identity>/ record.json (last), failure.json,
                                                      progress.json, trials.jsonl
    <root>/payloads/<namespace>/<deployment>/         logged requests, JSON lines
    <root>/batches/<namespace>/<deployment>/<run>/    scored rows, _manifest.json last
    <root>/monitors/<namespace>/<monitor>/            latest.json, reports

An artifact is a set of files. Its digest is the digest of its manifest, which lists path, size and
digest of each file in the order of paths; so it does not depend on names of the store, on the
clock or on the order of writing. An artifact exists once its manifest.json exists; the manifest
lies beside the files but is not listed in itself.
"""

from __future__ import annotations

import json
import re

from pydantic import Field

from modelyard.api.identity import canonical_json, digest
from modelyard.api.meta import Digest, Model

MANIFEST = "manifest.json"
RECORD = "record.json"
FAILURE = "failure.json"
PROGRESS = "progress.json"
TRIALS = "trials.jsonl"
LATEST = "latest.json"

MODEL_MEDIA_TYPE = "modelyard/model.v1"
MODEL_FILE = "model.json"

S3_REFUSED = frozenset(
    {
        "403",
        "AccessDenied",
        "ExpiredToken",
        "Forbidden",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
    }
)
"""Error codes by which an S3 server says that keys or rights are wrong: trying again is no use."""


class Artifact(Model):
    """The bytes of the model."""

    uri: str = Field(description="Where the model lies in the artifact store.", max_length=1024)
    digest: Digest = Field(description="Digest of all that prediction needs.")
    size_bytes: int = Field(ge=0, description="Size of all files in bytes.")


class Failure(Model):
    """Why a run ended without a result: failure.json."""

    reason: str = Field(description="One CamelCase word, for example UnreadableSource.")
    message: str = Field(description="For a person, with the field's path and the next step.")
    retryable: bool = Field(
        default=False, description="Whether the same run may succeed when tried again."
    )


class FileEntry(Model):
    """One file of an artifact."""

    path: str = Field(description="Path within the artifact, with slashes, never absolute.")
    size: int = Field(ge=0, description="Size in bytes.")
    digest: Digest = Field(description="Digest of the bytes.")


class Manifest(Model):
    """The list of an artifact's files, in the order of their paths."""

    media_type: str = Field(description="What the artifact is, for example modelyard/model.v1.")
    files: list[FileEntry] = Field(description="The files, ordered by path.")

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the manifest: its digest is the artifact's digest."""
        ordered = sorted(self.files, key=lambda entry: entry.path)
        return canonical_json(
            {"mediaType": self.media_type, "files": [entry.to_json() for entry in ordered]}
        )

    def artifact_digest(self) -> str:
        """Return the digest of the artifact."""
        return digest(self.to_bytes())

    def size(self) -> int:
        """Return the size of all files in bytes."""
        return sum(entry.size for entry in self.files)


def artifact_key(artifact_digest: str) -> str:
    """Return the key, relative to the store's root, of the folder of an artifact."""
    return f"artifacts/{artifact_digest.removeprefix('sha256:')}"


def artifact_uri(root: str, artifact_digest: str) -> str:
    """Return the URI of an artifact in the store at `root`."""
    return f"{root.rstrip('/')}/{artifact_key(artifact_digest)}"


_ARTIFACT_URI = re.compile(rb'(?<!\\)"(?:file|s3)://[^"\\]*?/(artifacts/[0-9a-f]{64})(?=[/"])')


def relocated(record: bytes, root: str) -> bytes:
    """Return a stored record with its artifacts in the store at `root`, which it was read from.

    A record names artifacts by URI and lies beside them. A store that was moved, or restored from
    a backup elsewhere, holds both.
    """
    prefix = json.dumps(root.rstrip("/"))[:-1].encode()
    return _ARTIFACT_URI.sub(lambda found: prefix + b"/" + found[1], record)


def run_key(namespace: str, kind: str, name: str, identity: str) -> str:
    """Return the key of the folder of a run."""
    return f"runs/{namespace}/{kind.lower()}/{name}/{identity}"


def payload_key(namespace: str, deployment: str) -> str:
    """Return the key of the folder of a Deployment's logged payloads."""
    return f"payloads/{namespace}/{deployment}"


def batch_key(namespace: str, deployment: str) -> str:
    """Return the key of the folder of a Deployment's batches that declare no other place."""
    return f"batches/{namespace}/{deployment}"


def monitor_key(namespace: str, monitor: str) -> str:
    """Return the key of the folder of a Monitor."""
    return f"monitors/{namespace}/{monitor}"
