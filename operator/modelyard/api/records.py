"""What runtimes leave in the artifact store, and the operator reads: the run records.

A record is written once, last, atomically; a run without record.json and failure.json is not over.
Records of earlier versions are read as well: what they do not hold is empty.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.artifacts import Artifact
from modelyard.api.dataset import (
    ColumnProfile,
    ExpectationResult,
    PersonalData,
    Quality,
    Quarantine,
    Snapshot,
)
from modelyard.api.deployment import BatchResult
from modelyard.api.experiment import Interval, LeaderboardEntry, Progress
from modelyard.api.meta import Digest, Model
from modelyard.api.modelversion import Defect, GroupDifference, Lineage
from modelyard.api.monitor import FeatureDrift
from modelyard.api.privacy import PrivacyAction
from modelyard.api.runs import BatchConfig, DatasetConfig, TrainConfig, WarmTrial

DATASET_MEDIA_TYPE = "modelyard/dataset.v1"
EVIDENCE_MEDIA_TYPE = "modelyard/evidence.v1"
REPORT_MEDIA_TYPE = "modelyard/report.v1"

SNAPSHOT_FILE = "snapshot.parquet"
CLEAN_FILE = "clean.jsonl"
QUARANTINE_FILE = "quarantine.jsonl"
PROFILE_FILE = "profile.json"
CARD_FILE = "card.md"
REPORT_FILE = "report.html"
TRIALS_FILE = "trials.json"

PROCESS_ENDED = "its process ended: "
ACTOR_ENDED = "its actor ended: "
TOOK_LONGER = "it took longer than "
MEASURED_FAILURES = (PROCESS_ENDED, ACTOR_ENDED, TOOK_LONGER)
"""How the reason of a trial begins that failed by its machine, and may not fail on another."""


class Provenance(Model):
    """What stands in the record but not in the identity."""

    code_version: str = Field(description="Version of modelyard-runtimes.")
    code_digest: str = Field(default="", description="Digest of the source files that ran.")
    source_revision: str = Field(default="", description="Commit of the spec.")
    started_at: str = Field(description="RFC 3339.")
    finished_at: str = Field(description="RFC 3339.")
    cpu_seconds: float = Field(default=0, ge=0, description="CPU seconds of all processes.")
    environment: dict[str, str] = Field(default={}, description="Versions of the libraries in use.")
    platform: dict[str, str] = Field(
        default={},
        description="What else the bytes may depend on: Python, system, C library, architecture "
        "and vector instructions of the processor.",
    )
    threads: dict[str, str] = Field(
        default={}, description="Variables that limit the threads of numeric libraries, where set."
    )


class DatasetRecord(Model):
    """record.json of a Dataset run."""

    namespace: str
    name: str
    identity: str
    fingerprint: Digest = Field(description="Digest of the canonical rows.")
    snapshot: Snapshot
    rows_read: int = Field(
        ge=0, description="Rows read: snapshot rows before sampling + quarantined."
    )
    schema_: list[ColumnProfile] = Field(alias="schema")
    preview: list[str] = Field(
        description="At most five rows as JSON texts, after privacy actions."
    )
    quarantine: Quarantine
    quality: Quality
    expectations: list[ExpectationResult]
    blocked: bool = Field(description="Whether an expectation with onFail Block failed.")
    pii: list[PersonalData]
    privacy: dict[str, PrivacyAction] = Field(
        default={}, description="Action by column, of all columns of the source that have one."
    )
    files: list[str] = Field(
        default=[], description="Decision about each source file, in a sentence."
    )
    config: DatasetConfig | None = Field(default=None, description="What the run was given.")
    provenance: Provenance


class MetaFeatures(Model):
    """What data are like, as far as it tells which configurations may suit them."""

    rows: int = Field(ge=1, description="Rows of the search.")
    features: int = Field(ge=1, description="Input columns; a time has several.")
    numeric: float = Field(ge=0, le=1, description="Share of them that are numbers.")
    text: float = Field(ge=0, le=1, description="Share of them that are texts.")
    missing: float = Field(ge=0, le=1, description="Share of missing values among numbers.")
    classes: int = Field(ge=0, description="Classes of the target; 0 where it is a number.")
    majority: float = Field(
        ge=0, le=1, description="Share of the most frequent class; 0 where it is a number."
    )


class TrainRecord(Model):
    """record.json of an Experiment run."""

    namespace: str
    name: str
    identity: str
    task_type: Literal["Classification", "Regression"]
    metric: str
    metrics: dict[str, float] = Field(description="Holdout metrics of the winner by name.")
    metric_interval: Interval | None = Field(
        default=None, description="Where `metric` lies with a confidence of 95 %, by the holdout."
    )
    leaderboard: list[LeaderboardEntry] = Field(description="All candidates, the winner first.")
    progress: Progress
    artifact: Artifact
    evidence: Artifact = Field(
        description="Importance, SHAP, calibration, predictions of the holdout."
    )
    card_uri: str
    card_digest: Digest | None = Field(default=None, description="Digest of the card's bytes.")
    fairness: list[GroupDifference]
    defects: list[Defect] = Field(default=[], description="What the evidence found amiss.")
    lineage: Lineage
    snapshot_uri: str
    snapshot_digest: Digest
    meta_features: MetaFeatures | None = Field(
        default=None, description="What the data of the search were like."
    )
    warm_start: list[WarmTrial] = Field(
        default=[], description="Trials of earlier runs that the search knew at first."
    )
    replayable: bool = Field(description="False when a wall-clock budget cut the search.")
    config: TrainConfig | None = Field(default=None, description="What the run was given.")
    provenance: Provenance


class Shard(Model):
    """One output file of a batch; written once it is whole, and never again."""

    number: int = Field(ge=0)
    first_row: int = Field(ge=0, description="Number of its first row in the input, from 0.")
    rows_read: int = Field(ge=0, description="Rows of the input, rejected ones among them.")
    rows_written: int = Field(ge=0)
    next_row: int = Field(ge=0, description="Number of the row in the input after its last one.")
    file: str = Field(description="Path within the run's output.")
    digest: Digest
    size: int = Field(ge=0, description="Size in bytes.")
    rejected: str = Field(default="", description="Path of the rejected rows; empty without any.")
    reasons: dict[str, int] = Field(default={}, description="Number of rejected rows by reason.")
    rejected_for: dict[str, int] = Field(
        default={}, description="Number of rejected rows by `column: reason`."
    )
    last: bool = Field(description="Whether the input ends with it.")


class BatchRecord(Model):
    """record.json of a batch."""

    namespace: str
    name: str
    identity: str
    model_version: str
    model_digest: Digest
    result: BatchResult
    shards: list[Shard]
    manifest_digest: Digest = Field(description="Digest of the output's _manifest.json.")
    evaluation: dict[str, str] = Field(
        default={},
        description="How each member of the ensemble was evaluated, by its file: `compiled`, or "
        "by the library of its learner, and why.",
    )
    config: BatchConfig | None = Field(default=None, description="What the run was given.")
    provenance: Provenance


class MonitorRecord(Model):
    """latest.json of a Monitor: what its last look found."""

    model_digest: Digest
    rows: int = Field(ge=0, description="Rows in the window.")
    enough: bool = Field(description="Whether there were at least window.minRows rows.")
    detected: bool
    drifted_features: int = Field(ge=0)
    features: int = Field(ge=0)
    worst: list[FeatureDrift]
    report_uri: str = Field(default="", description="Where the numbers of all features lie.")
    not_compared: dict[str, str] = Field(
        default={}, description="Why a feature is not looked at, by feature."
    )
    evidently_token: str = Field(
        default="", description="Token of the Evidently report that was last asked for."
    )
    evidently_uri: str = Field(default="", description="Where that Evidently report lies.")
    evaluated_at: str = Field(description="RFC 3339.")
