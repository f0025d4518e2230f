"""What the runtime of a run is given: the spec, the data, and where the artifacts belong."""

from __future__ import annotations

from modelyard.api.artifacts import Artifact
from modelyard.api.dataset import DatasetSpec
from modelyard.api.deployment import Batch
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.meta import SOURCE_DIGEST, SOURCE_REVISION
from modelyard.api.records import DatasetRecord
from modelyard.api.runs import BatchConfig, DatasetConfig, TrainConfig
from modelyard.api.runtime import StoreConfig
from modelyard.build.common import Manifest


def dataset_config(
    manifest: Manifest,
    spec: DatasetSpec,
    identity: str,
    store: StoreConfig,
    source_store: StoreConfig | None,
) -> DatasetConfig:
    """Return the configuration of a snapshot.

    Args:
        manifest: The Dataset.
        spec: Its spec, a `source.path` in it absolute.
        identity: Identity of the run.
        store: The artifact store.
        source_store: How to reach `source.uri`, where that is set.
    """
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    return DatasetConfig(
        namespace=metadata["namespace"],
        name=metadata["name"],
        identity=identity,
        spec=spec,
        store=store,
        source_store=source_store,
        source_revision=annotations.get(SOURCE_REVISION, ""),
        source_digest=annotations.get(SOURCE_DIGEST, ""),
    )


def train_config(  # noqa: PLR0913 - one argument for each part of the configuration
    manifest: Manifest,
    spec: ExperimentSpec,
    identity: str,
    data: DatasetRecord,
    store: StoreConfig,
    *,
    workers: int,
) -> TrainConfig:
    """Return the configuration of a search.

    Args:
        manifest: The Experiment.
        spec: Its spec.
        identity: Identity of the run.
        data: Record of the snapshot that is learned from.
        store: The artifact store.
        workers: Trials that run at once.
    """
    metadata = manifest["metadata"]
    return TrainConfig(
        namespace=metadata["namespace"],
        name=metadata["name"],
        identity=identity,
        spec=spec,
        parallelism=spec.execution.shaping_parallelism,
        workers=workers,
        snapshot_uri=data.snapshot.uri,
        snapshot_digest=data.snapshot.digest,
        fingerprint=data.fingerprint,
        privacy=data.privacy,
        pii=[found.column for found in data.pii if found.action is None],
        store=store,
        source_revision=(metadata.get("annotations") or {}).get(SOURCE_REVISION, ""),
    )


def batch_config(  # noqa: PLR0913 - one argument for each part of the configuration
    manifest: Manifest,
    batch: Batch,
    identity: str,
    *,
    model: Artifact,
    data: DatasetRecord | None,
    store: StoreConfig,
    model_version: str,
    output_uri: str,
    source_store: StoreConfig | None,
    output_store: StoreConfig | None,
) -> BatchConfig:
    """Return the configuration of a batch.

    Args:
        manifest: The Deployment.
        batch: Its `spec.batch`, a path of a source in it absolute.
        identity: Identity of the run.
        model: The packed model that scores.
        data: Record of the snapshot that is scored; None where a source is.
        store: The artifact store.
        model_version: Name of the model's ModelVersion.
        output_uri: Folder of this run's files.
        source_store: How to reach the source's `uri`, where that is set.
        output_store: How to reach the output, where it is not in the artifact store.
    """
    metadata = manifest["metadata"]
    return BatchConfig(
        namespace=metadata["namespace"],
        name=metadata["name"],
        identity=identity,
        batch=batch,
        model_uri=model.uri,
        model_digest=model.digest,
        model_version=model_version,
        snapshot_uri=data.snapshot.uri if data else None,
        snapshot_digest=data.snapshot.digest if data else None,
        output_uri=output_uri,
        store=store,
        source_store=source_store,
        output_store=output_store,
        source_revision=(metadata.get("annotations") or {}).get(SOURCE_REVISION, ""),
    )
