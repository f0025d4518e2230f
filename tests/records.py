"""What runs leave in the artifact store, in the real models' forms."""

from __future__ import annotations

from typing import Any

from modelyard.api.artifacts import Artifact, FileEntry
from modelyard.api.artifacts import Manifest as ArtifactManifest
from modelyard.api.dataset import Quality, Quarantine, Snapshot
from modelyard.api.deployment import BatchResult
from modelyard.api.experiment import LeaderboardEntry, Progress
from modelyard.api.identity import digest
from modelyard.api.modelversion import Lineage
from modelyard.api.records import BatchRecord, DatasetRecord, Provenance, TrainRecord
from modelyard.api.runs import BatchConfig
from modelyard.build.common import CODE_VERSION

FINGERPRINT = "sha256:" + "f" * 64
PROVENANCE = Provenance(code_version=CODE_VERSION, started_at="t0", finished_at="t1")


def dataset_record(namespace: str, name: str, identity: str, **changes: Any) -> DatasetRecord:
    """Return the record of a snapshot of 100 rows."""
    base: dict[str, Any] = {
        "namespace": namespace,
        "name": name,
        "identity": identity,
        "fingerprint": FINGERPRINT,
        "snapshot": Snapshot(uri="file:///s", digest=FINGERPRINT, rows=100, columns=5),
        "rows_read": 100,
        "schema_": [],
        "preview": [],
        "quarantine": Quarantine(rows=0),
        "quality": Quality(score=1.0),
        "expectations": [],
        "blocked": False,
        "pii": [],
        "provenance": PROVENANCE,
    }
    return DatasetRecord.model_validate(base | changes)


def train_record(
    namespace: str, name: str, identity: str, artifact: Artifact, **changes: Any
) -> TrainRecord:
    """Return the record of a search over the Dataset `cells` that an artifact won."""
    metrics: dict[str, float] = changes.get("metrics", {"roc_auc": 0.95, "log_loss": 0.2})
    base: dict[str, Any] = {
        "namespace": namespace,
        "name": name,
        "identity": identity,
        "task_type": "Classification",
        "metric": "roc_auc",
        "metrics": metrics,
        "leaderboard": [
            LeaderboardEntry(rank=1, trial="3", learner="LightGBM", metric=metrics["roc_auc"])
        ],
        "progress": Progress(done=8, total=8, best_metric=metrics["roc_auc"]),
        "artifact": artifact,
        "evidence": artifact,
        "card_uri": f"{artifact.uri}/card.md",
        "fairness": [],
        "lineage": Lineage(
            experiment=name,
            run_identity=identity,
            dataset="cells",
            data_fingerprint=FINGERPRINT,
            source_revision="abc",
        ),
        "snapshot_uri": "file:///s",
        "snapshot_digest": FINGERPRINT,
        "replayable": True,
        "provenance": PROVENANCE,
    }
    return TrainRecord.model_validate(base | changes)


def artifact_manifest(content: bytes) -> ArtifactManifest:
    """Return the manifest of an artifact of one file, `model.json`."""
    files = [FileEntry(path="model.json", size=len(content), digest=digest(content))]
    return ArtifactManifest(media_type="modelyard/model.v1", files=files)


def batch_record(config: BatchConfig, **result: Any) -> BatchRecord:
    """Return the record of a batch of 100 rows, two of them rejected."""
    made: dict[str, Any] = {"rows_read": 100, "rows_written": 98, "rows_rejected": 2, "shards": 1}
    return BatchRecord(
        namespace=config.namespace,
        name=config.name,
        identity=config.identity,
        model_version=config.model_version,
        model_digest=config.model_digest,
        result=BatchResult.model_validate({"output_uri": config.output_uri} | made | result),
        shards=[],
        manifest_digest=FINGERPRINT,
        provenance=PROVENANCE,
    )
