"""What a runtime is started with: one JSON document in the environment variable MODELYARD_CONFIG.

Each runtime is `python -m modelyard_runtimes.<dataset|train|serve|monitor|batch>`. Exit status 0
means a record was written (or found); 1 a failure.json was; 75 that the store took neither;
anything else that the process was killed. The serve runtime exits with 65 when its smoke test
failed.
Credentials reach it as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (artifact store),
SOURCE_AWS_ACCESS_KEY_ID and SOURCE_AWS_SECRET_ACCESS_KEY (source), OUTPUT_AWS_ACCESS_KEY_ID and
OUTPUT_AWS_SECRET_ACCESS_KEY (output of a batch), MODELYARD_PRIVACY_KEY; all of them from Secrets.
"""

from __future__ import annotations

from pydantic import Field

from modelyard.api.dataset import DatasetSpec, PrivacyAction
from modelyard.api.deployment import Batch, SmokeTest
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.meta import Digest, Model
from modelyard.api.monitor import MonitorSpec

CONFIG_VARIABLE = "MODELYARD_CONFIG"
PRIVACY_KEY_VARIABLE = "MODELYARD_PRIVACY_KEY"
UNTOLD_STATUS = 75
"""Exit status of a run that could leave neither record nor failure in the artifact store: the
`EX_TEMPFAIL` of sysexits.h."""
SMOKE_TEST_STATUS = 65
"""Exit status of a model server that fails its smoke test: the `EX_DATAERR` of sysexits.h."""
SMOKE_TEST_FAILED = "the smoke test failed: "
"""What the last line of such a server's output begins with."""

MODEL_VERSION_HEADER = "x-modelyard-model-version"
MODEL_DIGEST_HEADER = "x-modelyard-model-digest"
SERVER_REVISION_HEADER = "x-modelyard-server-revision"
"""Headers of every answer of a model server: who answered."""


class StoreConfig(Model):
    """How to reach a store."""

    uri: str = Field(description="file:///directory or s3://bucket/prefix.")
    endpoint: str | None = Field(default=None, description="URL of the S3 endpoint.")
    region: str | None = Field(default=None, description="Region of the store.")


class DatasetConfig(Model):
    """Configuration of the dataset runtime."""

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


class Measured(Model):
    """What a machine decided in a run that is replayed: reused, for it would not come again."""

    failed: dict[int, str] = Field(
        default={}, description="Why a trial failed by its machine, by number of the trial."
    )
    started: int | None = Field(
        default=None, ge=0, description="Trials that budget.wallClock let start; all when unset."
    )


class TrainConfig(Model):
    """Configuration of the train runtime."""

    namespace: str
    name: str
    identity: str
    spec: ExperimentSpec
    parallelism: int = Field(
        ge=1, description="Part of the identity: trial n sees the results up to n - parallelism."
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


class ServeConfig(Model):
    """Configuration of the serve runtime."""

    name: str = Field(description="Model name in the KServe protocols: the Deployment's name.")
    namespace: str
    model_uri: str = Field(description="URI of the model artifact's folder.")
    model_digest: Digest
    model_version: str
    payload_uri: str | None = Field(
        default=None, description="Folder of the payload log; none when unset."
    )
    sample_percent: int = Field(default=100, ge=0, le=100)
    workers: int = Field(default=1, ge=1)
    max_in_flight: int = Field(
        default=128,
        ge=1,
        description="Predictions that each worker has in flight; more get 429 with Retry-After.",
    )
    smoke_test: SmokeTest | None = Field(
        default=None, description="What the model must answer before the server is ready."
    )
    revision: str = Field(
        default="", description="Names this configuration; every answer of the server says it."
    )
    store: StoreConfig
    source_revision: str = ""


class ServedModel(Model):
    """What a model server says of itself in the headers of its answers."""

    model_version: str
    model_digest: Digest
    revision: str


class BatchConfig(Model):
    """Configuration of the batch runtime."""

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
