"""Brings a directory to the API server: applies what stands in it, prunes what no longer does.

Every object is applied server-side by the field manager `modelyard-git` and carries where it comes
from. An object whose content did not change keeps the commit recorded on it, so applying the same
tree again writes nothing.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.api import meta
from modelyard.api.identity import canonical_json, digest
from modelyard.api.meta import GROUP
from modelyard.api.resources import OURS, SECRET, Key, Resource
from modelyard.cli import revision, sources
from modelyard.cli.client import Client, Object, Refused, Unreachable, key_of
from modelyard.cli.faults import CommandError
from modelyard.cli.manifests import Manifest, Tree
from modelyard.cli.revision import Checkout
from modelyard.cli.sources import SourceDigests
from modelyard.cli.validate import Judgement

APPLIED_FROM = f"{GROUP}/applied-from"
"""Label: hash of the directory that an object was applied from; only such objects are pruned."""
APPLIED_DIGEST = f"{GROUP}/applied-digest"
"""Annotation: digest of the object as written, to tell whether its own content changed."""

ORDER = (
    "Namespace", "Secret", "ConfigMap", "Project", "Policy", "Dataset", "Experiment",
    "ModelVersion", "Deployment", "Monitor",
)  # fmt: skip
_PRUNED_CORE = (SECRET, Resource("v1", "ConfigMap", "configmaps"))


@dataclass(frozen=True)
class Result:
    """What became of one object: Created, Configured, Unchanged, Pruned or Failed."""

    key: Key
    action: str
    message: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the JSON form."""
        return {
            "kind": self.key.kind,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "action": self.action,
            "message": self.message,
        }


@dataclass(frozen=True)
class Origin:
    """Where a tree comes from: its directory, its commit, the digests of its data."""

    directory: Path
    checkout: Checkout | None
    digests: SourceDigests = field(default_factory=SourceDigests)

    def label(self) -> str:
        """Return the value of the label `applied-from`."""
        return hashlib.sha256(str(self.directory).encode()).hexdigest()[:40]

    def revision(self, manifest: Manifest) -> str:
        """Return the commit that holds a manifest and its data, as they are now."""
        if self.checkout is None:
            return revision.UNVERSIONED
        paths = [self.directory / manifest.file]
        source = sources.source_path(manifest, self.directory)
        if source is not None:
            paths.append(source.resolve())
        return self.checkout.revision(paths)

    def path_of(self, manifest: Manifest) -> str:
        """Return the manifest's path within its repository, or within its directory outside git."""
        if self.checkout is None:
            return manifest.file
        return self.checkout.path_of(self.directory / manifest.file)


def origin_of(directory: Path, digests: SourceDigests | None = None) -> Origin:
    """Return where the tree in a directory comes from at this moment."""
    return Origin(directory, revision.checkout(directory), digests or SourceDigests())


def desired(manifest: Manifest, origin: Origin, live: Object | None) -> Object:
    """Return the object to apply: as written, with its origin in labels and annotations.

    Raises:
        CommandError: the data that it reads cannot be read.
    """
    body: dict[str, Any] = copy.deepcopy(manifest.body)
    metadata = body["metadata"]
    if manifest.key.namespace:
        metadata["namespace"] = manifest.key.namespace
    labels = {**(metadata.get("labels") or {}), APPLIED_FROM: origin.label()}
    annotations = dict(metadata.get("annotations") or {})
    annotations[meta.SOURCE_PATH] = origin.path_of(manifest)
    annotations[meta.SOURCE_DIRECTORY] = str(origin.directory)
    source = sources.source_path(manifest, origin.directory)
    if source is not None:
        annotations[meta.SOURCE_DIGEST] = _source_digest(source, origin, manifest)
    metadata |= {"labels": labels, "annotations": annotations}
    annotations[APPLIED_DIGEST] = digest(canonical_json(body))
    annotations[meta.SOURCE_REVISION] = _revision(manifest, origin, annotations, live)
    return body


def _source_digest(source: Path, origin: Origin, manifest: Manifest) -> str:
    try:
        return origin.digests.digest(source)
    except OSError as error:
        field = sources.PATH_FIELDS[manifest.key.kind]
        where = manifest.document.position(field).line
        raise CommandError(
            f"{manifest.file}:{where}: {'.'.join(field)}: {source} cannot be read "
            f"({error.strerror or 'no such file or directory'})"
        ) from error


def _revision(
    manifest: Manifest, origin: Origin, annotations: dict[str, str], live: Object | None
) -> str:
    """Return the recorded commit while the content is the same, else the present one."""
    recorded = ((live or {}).get("metadata", {}).get("annotations")) or {}
    earlier = str(recorded.get(meta.SOURCE_REVISION, ""))
    same = recorded.get(APPLIED_DIGEST) == annotations[APPLIED_DIGEST]
    return earlier if same and revision.is_settled(earlier) else origin.revision(manifest)


def apply_tree(judgement: Judgement, origin: Origin, client: Client) -> list[Result]:
    """Apply every object of the files without faults, then prune, if there is no fault at all.

    Raises:
        Unreachable: the API server does not answer.
    """
    tree = judgement.tree
    sound = [m for m in tree.manifests if m.file not in judgement.faulty_files]
    declared = {m.key.name for m in sound if m.key.kind == "Namespace"}
    for namespace in sorted({m.key.namespace for m in sound} - declared - {""}):
        client.ensure_namespace(namespace)
    results = [apply_one(manifest, origin, client) for manifest in in_order(sound)]
    if not judgement.faults:
        results.extend(_prune(tree, origin, client))
    return results


def in_order(manifests: list[Manifest]) -> list[Manifest]:
    """Return manifests so that what others refer to comes first."""
    rank = {kind: place for place, kind in enumerate(ORDER)}
    return sorted(manifests, key=lambda m: (rank.get(m.key.kind, len(ORDER)), m.key))


def apply_one(manifest: Manifest, origin: Origin, client: Client) -> Result:
    """Apply one object and say what became of it."""
    key = manifest.key
    try:
        live = client.get(manifest.api_version, key)
        applied = client.apply(desired(manifest, origin, live), key)
    except Refused as refused:
        line = manifest.document.position(()).line
        return Result(key, "Failed", f"{manifest.file}:{line}: {refused}")
    except Unreachable:
        raise
    except CommandError as error:
        return Result(key, "Failed", str(error))
    if live is None:
        return Result(key, "Created")
    before, after = (body["metadata"]["resourceVersion"] for body in (live, applied))
    return Result(key, "Unchanged" if before == after else "Configured")


def stale(tree: Tree, origin: Origin, client: Client) -> Iterator[Object]:
    """Yield the objects that came from this directory and no longer stand in it.

    Namespaces are never among them: deleting one deletes all that is in it.
    """
    kept = {manifest.key for manifest in tree.manifests}
    for resource in (*reversed(OURS.values()), *_PRUNED_CORE):
        for body in client.list(resource, labelSelector=f"{APPLIED_FROM}={origin.label()}"):
            if key_of(body) not in kept and "deletionTimestamp" not in body["metadata"]:
                yield body


def _prune(tree: Tree, origin: Origin, client: Client) -> Iterator[Result]:
    for body in stale(tree, origin, client):
        key = key_of(body)
        try:
            client.delete(str(body["apiVersion"]), key)
        except Refused as refused:
            yield Result(key, "Failed", str(refused))
        else:
            yield Result(key, "Pruned")
