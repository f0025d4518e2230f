"""The project as a commit has it: its objects, and the files that its Datasets read."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.api.meta import SOURCE_DIGEST, SOURCE_REVISION
from modelyard.api.project import ProjectSpec
from modelyard.api.resources import Key
from modelyard.cli import manifests, revision
from modelyard.cli.faults import CommandError
from modelyard.cli.manifests import Manifest, Tree
from modelyard.cli.sources import SourceDigests

RUNS = ("Dataset", "Experiment")
"""Kinds that have runs."""


@dataclass(frozen=True)
class SourceFiles:
    """Files that a Dataset may have read, and their digest."""

    path: Path
    digest: str


@dataclass(frozen=True)
class CommittedProject:
    """A project at one commit.

    Attributes:
        commit: Full name of the commit.
        tree: Its manifests.
        directory: The project's directory as it is now, for files that git does not hold.
    """

    commit: str
    tree: Tree
    directory: Path
    digests: SourceDigests = field(default_factory=SourceDigests)

    def objects(
        self, wanted: tuple[str, str, str | None] | None, namespace: str | None
    ) -> list[Key]:
        """Return the objects with runs, Datasets first; with `wanted` the one that is named.

        Raises:
            CommandError: the commit has none such.
        """
        keys = [manifest.key for kind in RUNS for manifest in self.tree.of_kind(kind)]
        if wanted is None:
            found = [key for key in keys if namespace in (None, key.namespace)]
        else:
            kind, name, inside = wanted
            found = [k for k in keys if (k.kind, k.name) == (kind, name)]
            found = [k for k in found if inside in (None, k.namespace)]
        if not found:
            known = ", ".join(f"{key.kind.lower()}/{key.name}" for key in keys) or "none"
            raise CommandError(
                f"commit {self.commit[:12]} has no such object with runs; it has: {known}"
            )
        return found

    def body(self, key: Key) -> dict[str, Any] | None:
        """Return an object as it was applied, with its namespace; None when there is none."""
        manifest = self._manifest(key)
        if manifest is None:
            return None
        body: dict[str, Any] = copy.deepcopy(manifest.body)
        annotations = {**(body["metadata"].get("annotations") or {}), SOURCE_REVISION: self.commit}
        body["metadata"] |= {"namespace": key.namespace, "annotations": annotations}
        return body

    def dataset_of(self, experiment: Key) -> Key:
        """Return the Dataset that an Experiment learns from."""
        manifest = self._manifest(experiment)
        name = manifest.get("spec", "datasetRef", "name") if manifest is not None else ""
        return Key("Dataset", experiment.namespace, str(name))

    def project(self, namespace: str) -> ProjectSpec | None:
        """Return the Project of a namespace, None without one."""
        for project in self.tree.of_kind("Project"):
            if project.key.namespace == namespace:
                return ProjectSpec.model_validate(project.body.get("spec") or {})
        return None

    def source_files(self, path: str) -> Iterator[SourceFiles]:
        """Yield the files that a `spec.source.path` may mean: of the commit, then as they are now.

        Files that git does not hold are only as they are now.
        """
        for directory in (self.tree.directory, self.directory):
            place = Path(os.path.normpath(directory / path))
            try:
                yield SourceFiles(place, self.digests.digest(place))
            except OSError:
                continue

    def _manifest(self, key: Key) -> Manifest | None:
        found = (one for one in self.tree.of_kind(key.kind) if one.key == key)
        return next(found, None)


def with_digest(body: dict[str, Any], files: SourceFiles) -> dict[str, Any]:
    """Return a Dataset as it was applied with these files behind it."""
    metadata = body["metadata"]
    annotations = {**metadata["annotations"], SOURCE_DIGEST: files.digest}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def committed_project(directory: Path, commit: str, into: Path) -> CommittedProject:
    """Return the project of a directory as a commit has it.

    Args:
        directory: The project's directory in its working tree.
        commit: Any name of a commit.
        into: New folder that the files of the commit are written into.

    Raises:
        CommandError: there is no such commit, or its manifests cannot be read.
    """
    found = revision.checkout(directory)
    if found is None:
        raise CommandError(f"{directory} is not in a git repository with a commit; commit it first")
    name = revision.resolve(directory, commit)
    if name is None:
        raise CommandError(f"no commit {commit!r} here; see `git log`")
    if not revision.export(found.root, name, into):
        raise CommandError(f"the files of commit {name[:12]} cannot be read; see `git fsck`")
    inside = into / directory.relative_to(found.root)
    if not inside.is_dir():
        raise CommandError(f"commit {name[:12]} has no folder {directory.relative_to(found.root)}")
    tree = manifests.load(inside)
    if tree.faults:
        faults = "\n".join(map(str, tree.faults))
        raise CommandError(f"commit {name[:12]} has manifests that cannot be read:\n{faults}")
    return CommittedProject(name, tree, directory)
