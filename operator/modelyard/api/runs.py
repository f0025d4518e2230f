"""What the runs of the data plane are started with, as JSON in MODELYARD_CONFIG."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from modelyard.api.dataset import DatasetSpec
from modelyard.api.deployment import Batch
from modelyard.api.experiment import ExperimentSpec, ReusedTrial
from modelyard.api.meta import Digest, Model
from modelyard.api.monitor import MonitorSpec
from modelyard.api.privacy import PrivacyAction
from modelyard.api.runtime import StoreConfig


class DatasetConfig(Model):
    """Configuration of the dataset runtime."""

    kind: ClassVar[str] = "Dataset"
    """Kind of the object whose run this is."""

    namespace: str
    name: str
    identity: str
    spec: DatasetSpec = Field(description="The spec; a source.path in it is absolute.")
    store: StoreConfig
    source_store: StoreConfig | None = Field(default=None, description="How to reach source.uri.")
    source_revision: str = ""
    source_digest: str = Field(
        default="", description="Digest of the files behind source.path as they were applied."
    )


class WarmTrial(ReusedTrial):
    """A trial of an earlier run with its configuration."""

    parameters: dict[str, float | int | str] = Field(
        description="Hyperparameters by name, the learner among them."
    )
    tried: bool = Field(
        default=True,
        description="Whether the search begins with it; else it proposes what is like it.",
    )


class Measured(Model):
    """What a machine decided in a run that is replayed: reused, for it would not come again."""

    failed: dict[int, str] = Field(
        default={}, description="Why a trial failed by its machine, by number of the trial."
    )
    started: int | None = Field(
        default=None, ge=0, description="Trials that budget.wallClock let start; all when unset."
    )
    iterations: dict[int, int] = Field(
        default={},
        description="Iterations after which the time for a fit was over, by number of the trial.",
    )
    latencies: dict[str, float] = Field(
        default={},
        description="Milliseconds of a single row by candidate, as the leaderboard names it.",
    )
    warm_start: list[WarmTrial] = Field(
        default=[], description="What the search knew at first by spec.search.warmStart."
    )


class TrainConfig(Model):
    """Configuration of the train runtime."""

    kind: ClassVar[str] = "Experiment"
    """Kind of the object whose run this is."""

    namespace: str
    name: str
    identity: str
    spec: ExperimentSpec
    parallelism: int = Field(
        ge=1, description="Part of the identity: it decides which results a trial sees."
    )
    workers: int = Field(
        ge=1,
        description="Trials that run at once: no more than parallelism, nor than the Project's "
        "quota grants. It shapes nothing.",
    )
    snapshot_uri: str
    snapshot_digest: Digest
    fingerprint: Digest
    privacy: dict[str, PrivacyAction] = Field(
        default={}, description="Privacy action by column; packed with the model for payload logs."
    )
    pii: list[str] = Field(
        default=[], description="Columns with personal data and no declared action; never logged."
    )
    store: StoreConfig
    snapshot_store: StoreConfig | None = Field(
        default=None, description="Where the snapshot lies, and is only read; `store` when unset."
    )
    measured: Measured | None = Field(
        default=None, description="Of the run that is replayed; measured anew when unset."
    )
    source_revision: str = ""


class BatchConfig(Model):
    """Configuration of the batch runtime."""

    kind: ClassVar[str] = "Deployment"
    """Kind of the object whose run this is."""

    namespace: str
    name: str
    identity: str
    batch: Batch = Field(description="What is scored; a source.path in it is absolute.")
    model_uri: str = Field(description="URI of the model artifact's folder.")
    model_digest: Digest
    model_version: str
    snapshot_uri: str | None = Field(
        default=None, description="Snapshot of the Dataset that is scored; the source when unset."
    )
    snapshot_digest: Digest | None = None
    output_uri: str = Field(description="Folder of this run's files.")
    store: StoreConfig
    source_store: StoreConfig | None = Field(default=None, description="How to reach source.uri.")
    output_store: StoreConfig | None = Field(
        default=None, description="How to reach output_uri; `store` when unset."
    )
    source_revision: str = ""


class MonitorConfig(Model):
    """Configuration of the monitor runtime."""

    namespace: str
    name: str
    deployment: str
    spec: MonitorSpec
    model_uri: str
    model_digest: Digest
    snapshot_uri: str
    snapshot_digest: Digest
    payload_uri: str
    store: StoreConfig
    report_token: str = Field(default="", description="Makes an Evidently report under this token.")
