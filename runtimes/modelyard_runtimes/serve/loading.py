"""From the configuration of a model to what answers for it; nothing here knows of sockets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.api.runtime import PRIVACY_KEY_VARIABLE, ServeConfig, StoreConfig

from modelyard_runtimes.model import ModelDocument, ModelError, Packed, read
from modelyard_runtimes.serve.breaker import CircuitBreaker
from modelyard_runtimes.serve.chunks import ChunkWriter, open_folder
from modelyard_runtimes.serve.guard import Fallback, Guard, misfits
from modelyard_runtimes.serve.payload_log import (
    NoPayloadLog,
    PayloadLog,
    PrivacyView,
    SampledPayloadLog,
)
from modelyard_runtimes.serve.predictor import Predictor
from modelyard_runtimes.serve.smoke_test import smoke_test_failures
from modelyard_runtimes.store import ArtifactReader, StoreError, open_store

if TYPE_CHECKING:
    from modelyard_runtimes.serve.batcher import Batcher
    from modelyard_runtimes.serve.metrics import Metrics


class CannotServe(Exception):
    """A model that cannot be served; the message says why."""


class FailedSmokeTest(CannotServe):
    """A model that answers a check otherwise than expected; the message says how."""


@dataclass(frozen=True)
class Fetched:
    """The artifacts of a model and of its fallback, every file checked against its digest."""

    model: ArtifactReader
    fallback: ArtifactReader | None = None

    @property
    def size(self) -> int:
        """Bytes of their files."""
        artifacts = [self.model] if self.fallback is None else [self.model, self.fallback]
        return sum(file.size for artifact in artifacts for file in artifact.manifest.files)


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to predict, and what answers where it fails."""

    predictor: Predictor
    fallback: Fallback | None = None

    def predictors(self, version: str) -> list[tuple[Predictor, str]]:
        """Return all that predicts, each with its version; that of the model is given."""
        found = [(self.predictor, version)]
        if self.fallback is not None:
            found.append((self.fallback.predictor, self.fallback.version))
        return found


def fetch(config: ServeConfig, model_folder: Path | None = None) -> Fetched:
    """Return the artifacts that a configuration names, checked.

    Args:
        config: The configuration.
        model_folder: Folder of the model, instead of `model_uri`.

    Raises:
        CannotServe: one is missing, damaged, or another one.
    """
    model = _artifact(*_place(config, model_folder), config.model_digest)
    declared = config.fallback
    if declared is None:
        return Fetched(model)
    return Fetched(model, _artifact(declared.model_uri, config.store, declared.model_digest))


def _place(config: ServeConfig, model_folder: Path | None) -> tuple[str, StoreConfig]:
    if model_folder is None:
        return config.model_uri, config.store
    uri = model_folder.resolve().as_uri()
    return uri, config.store.model_copy(update={"uri": uri})


def _artifact(uri: str, store: StoreConfig, digest: str) -> ArtifactReader:
    try:
        artifact = open_store(store).open_artifact(uri, digest)
        artifact.folder()
    except (StoreError, OSError) as error:
        raise CannotServe(f"the model cannot be served: {error}") from error
    return artifact


def load(config: ServeConfig, fetched: Fetched) -> Loaded:
    """Return the model and its fallback, once the model has passed its smoke test.

    Raises:
        FailedSmokeTest: it has not.
        CannotServe: this version cannot read one of them, or the fallback answers other questions.
    """
    try:
        predictor = Predictor(_packed(fetched.model))
        fallback = _fallback(config, predictor.document, fetched.fallback)
    except ModelError as error:
        raise CannotServe(f"the model cannot be served: {error}") from error
    failures = smoke_test_failures(config.smoke_test, predictor)
    if failures:
        raise FailedSmokeTest("; ".join(failures))
    return Loaded(predictor, fallback)


def _packed(artifact: ArtifactReader) -> Packed:
    try:
        return read(artifact.folder())  # which is there for as long as the artifact is
    except (StoreError, OSError) as error:
        raise CannotServe(f"the model cannot be served: {error}") from error


def _fallback(
    config: ServeConfig, model: ModelDocument, artifact: ArtifactReader | None
) -> Fallback | None:
    declared = config.fallback
    if declared is None or artifact is None:
        return None
    predictor = Predictor(_packed(artifact))
    faults = "; ".join(misfits(model, predictor.document))
    if faults:
        raise CannotServe(
            f"spec.traffic.fallback: {declared.model_version} cannot answer for "
            f"{config.model_version}: {faults}; name another version"
        )
    return Fallback(predictor, declared.model_version, declared.model_digest)


def guard_of(config: ServeConfig, loaded: Loaded, metrics: Metrics) -> Guard | None:
    """Return what watches over the model, where a breaker or a fallback is declared."""
    if config.breaker is None and loaded.fallback is None:
        return None
    return Guard(loaded.predictor, loaded.fallback, CircuitBreaker(config.breaker), metrics)


def batcher_of(
    config: ServeConfig, predictor: Predictor, guard: Guard | None, metrics: Metrics
) -> Batcher | None:
    """Return what predicts requests together, where that is declared."""
    if config.batching is None:
        return None
    from modelyard_runtimes.serve.batcher import Batcher  # noqa: PLC0415

    together = guard.predict_together if guard else predictor.predict_rows
    return Batcher(config.batching, together, (guard or predictor).predict_rows, metrics)


def payload_log(config: ServeConfig, document: ModelDocument, metrics: Metrics) -> PayloadLog:
    """Return the payload log that the configuration asks for.

    Raises:
        CannotServe: its folder cannot be opened.
    """
    if config.payload_uri is None or config.sample_percent == 0:
        return NoPayloadLog()
    key = os.environ.get(PRIVACY_KEY_VARIABLE, "").encode()
    try:
        folder = open_folder(config.payload_uri, config.store)
    except StoreError as error:
        raise CannotServe(f"payloadUri: {error}") from error
    return SampledPayloadLog(
        ChunkWriter(folder),
        metrics,
        PrivacyView(document, key),
        config.sample_percent,
        {"modelVersion": config.model_version, "modelDigest": config.model_digest},
    )
