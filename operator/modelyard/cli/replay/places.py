"""Where the runs of a project are recorded, where they are replayed, and the keys to both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.api.dataset import DatasetSpec
from modelyard.api.project import ProjectSpec
from modelyard.api.resources import Key
from modelyard.api.runtime import PRIVACY_KEY_VARIABLE, StoreConfig
from modelyard.build.common import AWS_KEYS
from modelyard.cli.client import Client
from modelyard.cli.layout import Layout
from modelyard.cli.replay.commit import CommittedProject
from modelyard.cli.replay.recorded import RunReader
from modelyard.cli.stores import StoreReader, connection_of

PASSED = (*AWS_KEYS, *(f"SOURCE_{key}" for key in AWS_KEYS), PRIVACY_KEY_VARIABLE)
"""Variables with credentials that a runtime is given as they are, where no Secret tells them."""


@dataclass(frozen=True)
class Places:
    """The places of one replay.

    Attributes:
        project: The project at the commit.
        layout: Its directory as it is now.
        client: The API server with the Secrets; None where none runs.
        folder: The fresh folder.
    """

    project: CommittedProject
    layout: Layout
    client: Client | None
    folder: Path

    @property
    def fresh_store(self) -> StoreConfig:
        """The store that replays write into."""
        return StoreConfig(uri=(self.folder / "store").as_uri())

    def store(self, namespace: str) -> StoreConfig:
        """Return how to reach the store of what is recorded."""
        config, _ = self._reader().reach(namespace, self._project(namespace))
        return config

    def recorded(self, namespace: str) -> RunReader:
        """Return a reader of recorded runs."""
        return RunReader(self._reader(), namespace, self._project(namespace))

    def fresh(self, namespace: str) -> RunReader:
        """Return a reader of replayed runs."""
        return RunReader(StoreReader(self.fresh_store, None), namespace, None)

    def log(self, key: Key) -> Path:
        """Return where the output of a replay goes."""
        return self.folder / "logs" / f"{key.kind.lower()}-{key.namespace}-{key.name}.log"

    def why_ended(self, key: Key, identity: str, status: int) -> str:
        """Return why a replay left no record."""
        failure = self.fresh(key.namespace).failure(key, identity)
        if failure is not None:
            return f"the replay failed: {failure.reason}: {failure.message}"
        tail = self.log(key).read_text(errors="replace").splitlines()[-1:]
        return f"the replay ended with status {status} and no result: {''.join(tail)}"

    def keys(self, key: Key, spec: DatasetSpec | None = None) -> dict[str, str]:
        """Return the variables with credentials that a runtime needs.

        Args:
            key: The object whose run is replayed.
            spec: The spec of a Dataset, whose source has keys of its own.

        Raises:
            StoreUnavailable: nobody tells them.
        """
        found = {name: os.environ[name] for name in PASSED if name in os.environ}
        project, reader = self._project(key.namespace), self._reader()
        _, store_keys = reader.reach(key.namespace, project)
        found |= _only_aws(store_keys)
        if spec is None or self.client is None:
            return found
        if spec.source.connection_ref is not None and project is not None:
            connection = connection_of(project, spec.source.connection_ref.name)
            found |= _only_aws(reader.keys(key.namespace, connection), "SOURCE_")
        if spec.privacy.key_ref is not None:
            reference = spec.privacy.key_ref
            secret = reader.secret(key.namespace, reference.name)
            found[PRIVACY_KEY_VARIABLE] = secret.get(reference.key, "")
        return found

    def _project(self, namespace: str) -> ProjectSpec | None:
        return self.project.project(namespace)

    def _reader(self) -> StoreReader:
        return StoreReader(StoreConfig(uri=self.layout.store.resolve().as_uri()), self.client)


def _only_aws(keys: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    return {prefix + name: keys[name] for name in AWS_KEYS if name in keys}
