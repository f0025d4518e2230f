"""A directory of manifests, read whole: the objects, where they stand, what is wrong with them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.api.identity import canonical_json
from modelyard.api.meta import API_VERSION, GROUP
from modelyard.api.resources import Key
from modelyard.cli import documents
from modelyard.cli.documents import Document
from modelyard.cli.faults import CommandError, Fault

DEFAULT_NAMESPACE = "default"
CLUSTER_SCOPED = ("Namespace",)
KUSTOMIZATION = ("kustomization.yaml", "kustomization.yml")
REQUIREMENTS = ("user_requirements.yaml", "user_requirements.yml")

FaultAt = Callable[[documents.Path, str], Fault]

_DNS_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_MAX_NAME = 253


@dataclass(frozen=True)
class Manifest:
    """One object as written, and the file it stands in, relative to the directory."""

    file: str
    document: Document

    @property
    def body(self) -> dict[str, Any]:
        """The object as written."""
        value: dict[str, Any] = self.document.value
        return value

    @property
    def api_version(self) -> str:
        """Group and version, for example modelyard.dev/v1alpha1."""
        return str(self.body["apiVersion"])

    @property
    def ours(self) -> bool:
        """Whether it is one of the seven kinds."""
        return self.api_version == API_VERSION

    @property
    def key(self) -> Key:
        """Kind, namespace and name."""
        kind, metadata = str(self.body["kind"]), self.body["metadata"]
        if kind in CLUSTER_SCOPED:
            return Key(kind, "", metadata["name"])
        return Key(kind, metadata.get("namespace") or DEFAULT_NAMESPACE, metadata["name"])

    def get(self, *path: str) -> Any:
        """Return the value at a path of mapping keys, None where there is none."""
        value: Any = self.body
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def fault(self, path: documents.Path, message: str) -> Fault:
        """Return a fault at a field of this object."""
        at = self.document.position(path)
        return Fault(self.file, at.line, at.column, documents.field_path(path), message)


@dataclass(frozen=True)
class Tree:
    """All manifests under a directory."""

    directory: Path
    manifests: tuple[Manifest, ...]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]

    def of_kind(self, kind: str) -> Iterator[Manifest]:
        """Yield the manifests of one of the seven kinds."""
        return (m for m in self.manifests if m.ours and m.key.kind == kind)

    def namespaces(self) -> list[str]:
        """Return the namespaces of all objects, in order."""
        keys = [manifest.key for manifest in self.manifests]
        return sorted({key.namespace or key.name for key in keys})

    def digest(self) -> str:
        """Return a digest of all objects as written: equal trees, equal digest."""
        content = [[str(m.key), m.file, m.body] for m in self.manifests]
        return hashlib.sha256(canonical_json(content)).hexdigest()


def project_directory(directory: Path) -> Path:
    """Return the directory made absolute.

    Raises:
        CommandError: there is no such directory.
    """
    if not directory.is_dir():
        raise CommandError(f"{directory}: no such directory; name the folder that holds the YAML")
    return directory.resolve()


def load(directory: Path) -> Tree:
    """Read every *.yaml and *.yml under a directory, hidden files and folders left out."""
    manifests: list[Manifest] = []
    faults: list[Fault] = []
    notes: list[str] = []
    for path in yaml_files(directory):
        file = path.relative_to(directory).as_posix()
        if path.name in KUSTOMIZATION:
            notes.append(f"{file}: not applied; only `kubectl apply -k` reads kustomizations")
            continue
        if path.name in REQUIREMENTS:
            notes.append(f"{file}: not applied; `modelyard init --from` reads it")
            continue
        read, wrong = _read(path, file)
        manifests.extend(read)
        faults.extend(wrong)
        if not read and not wrong:
            notes.append(f"{file}: holds only comments")
    faults.extend(_duplicates(manifests))
    return Tree(directory, tuple(manifests), tuple(sorted(set(faults))), tuple(notes))


def yaml_files(directory: Path) -> list[Path]:
    """Return the YAML files under a directory, hidden files and folders left out."""
    found: list[Path] = []
    for folder, subfolders, files in os.walk(directory):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found.extend(
            Path(folder, name)
            for name in files
            if name.endswith((".yaml", ".yml")) and not name.startswith(".")
        )
    return sorted(found)


def _read(path: Path, file: str) -> tuple[list[Manifest], list[Fault]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        return [], [Fault(file, 1, 1, "", f"cannot be read: {error.strerror}")]
    found, faults = documents.read_documents(data, file)
    manifests = []
    for document in found:
        wrong = list(_shape_faults(document, file))
        faults.extend(wrong)
        if not wrong:
            manifests.append(Manifest(file, document))
    return manifests, faults


def _shape_faults(document: Document, file: str) -> Iterator[Fault]:
    """Yield what keeps a document from being a Kubernetes object at all."""
    body = document.value

    def fault(path: documents.Path, message: str) -> Fault:
        at = document.position(path)
        return Fault(file, at.line, at.column, documents.field_path(path), message)

    if not isinstance(body, dict):
        yield fault((), "not an object; write apiVersion, kind, metadata and spec")
        return
    for name in ("apiVersion", "kind"):
        if not isinstance(body.get(name), str) or not body[name]:
            yield fault((name,), f"missing; every manifest names it, for example {_EXAMPLES[name]}")
    if (
        str(body.get("apiVersion", "")).startswith(f"{GROUP}/")
        and body["apiVersion"] != API_VERSION
    ):
        yield fault(("apiVersion",), f"no such version; write {API_VERSION}")
    if body.get("kind") == "List":
        yield fault(("kind",), "lists are not read; separate the objects by lines of ---")
        return
    if body.get("status") is not None:
        yield fault(("status",), "only the operator writes status; remove it")
    yield from _metadata_faults(body.get("metadata"), fault)


_EXAMPLES = {"apiVersion": API_VERSION, "kind": "Experiment"}
_METADATA = ("name", "namespace", "labels", "annotations", "finalizers", "ownerReferences")


def _metadata_faults(metadata: Any, fault: FaultAt) -> Iterator[Fault]:
    if not isinstance(metadata, dict):
        yield fault(("metadata",), "missing; write metadata with a name")
        return
    for field, value in metadata.items():
        if field not in _METADATA and value is not None:
            yield fault(("metadata", field), "not a field that a manifest sets; remove it")
    for field in ("name", "namespace"):
        value = metadata.get(field)
        if value is None and field == "namespace":
            continue
        if not isinstance(value, str) or not value:
            yield fault(("metadata", field), "missing; give the object a name in quotes or letters")
        elif len(value) > _MAX_NAME or not _DNS_NAME.match(value):
            remedy = "use lower-case letters, digits and -, for example breast-cancer"
            yield fault(("metadata", field), f"{value!r} is no Kubernetes name; {remedy}")
    yield from _text_map_faults(metadata, fault)


def _text_map_faults(metadata: dict[str, Any], fault: FaultAt) -> Iterator[Fault]:
    for field in ("labels", "annotations"):
        texts = metadata.get(field) or {}
        if not isinstance(texts, dict):
            yield fault(("metadata", field), "must map names to texts")
            continue
        for name, value in texts.items():
            if not isinstance(value, str):
                yield fault(("metadata", field, name), f"must be text; write {str(value)!r} quoted")


def _duplicates(manifests: list[Manifest]) -> Iterator[Fault]:
    first: dict[tuple[str, Key], Manifest] = {}
    for manifest in manifests:
        identity = (manifest.api_version.partition("/")[0], manifest.key)
        earlier = first.setdefault(identity, manifest)
        if earlier is not manifest:
            line = earlier.document.position(()).line
            yield manifest.fault(
                ("metadata", "name"),
                f"{manifest.key} stands twice, first in {earlier.file}:{line}; remove one",
            )
