"""Deployment: which model serves, and how."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from modelyard.api.compute import Resources
from modelyard.api.dataset import Source
from modelyard.api.experiment import ExperimentRun
from modelyard.api.explainer import Explainer
from modelyard.api.meta import (
    Column,
    Digest,
    Model,
    Name,
    NameReference,
    RememberedRun,
    Rule,
    RunStatus,
    Status,
    Verdict,
    refers_to,
)
from modelyard.api.modelversion import Stage
from modelyard.api.schedule import Schedule, ScheduleStatus
from modelyard.api.smoke_test import SmokeTest
from modelyard.api.traffic import MOST_IN_FLIGHT, Batching, Breaker, RateLimit


class ModelChoice(Model):
    """Which model serves: {experiment}, {experiment, stage} or {modelVersion}."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.experiment) != has(self.modelVersion)",
            "set either experiment or modelVersion",
        ),
        Rule(
            "!has(self.stage) || has(self.experiment)",
            "stage goes with experiment; remove one of stage and modelVersion",
            ".stage",
        ),
    )
    experiment: Name | None = Field(
        default=None,
        description="Experiment whose version serves: its best one that passes the deploy gate, "
        "or the one at the stage.",
        json_schema_extra=refers_to("Experiment"),
    )
    stage: Stage | None = Field(
        default=None, description="Serves the version of the experiment that git put at this stage."
    )
    model_version: Name | None = Field(
        default=None,
        description="Serves exactly this ModelVersion.",
        json_schema_extra=refers_to("ModelVersion"),
    )


class Canary(ModelChoice):
    """A second version beside the one that serves."""

    cel_rules = (
        *ModelChoice.cel_rules,
        Rule(
            "!has(self.experiment) || has(self.stage)",
            "git chooses a canary; add stage, or name a modelVersion",
            ".experiment",
        ),
    )
    percent: int = Field(
        ge=0,
        le=100,
        description="Share of the requests at spec.gateway that the canary answers, in percent, "
        "once it answers at all.",
    )


class Fallback(ModelChoice):
    """A version that answers where the one that serves cannot."""

    cel_rules = (
        *ModelChoice.cel_rules,
        Rule(
            "!has(self.experiment) || has(self.stage)",
            "git chooses a fallback; add stage, or name a modelVersion",
            ".experiment",
        ),
    )


class Traffic(Model):
    """What each server process of a Deployment does with the requests that come."""

    max_in_flight: int = Field(
        default=MOST_IN_FLIGHT,
        ge=1,
        le=10_000,
        description="Requests that each server process has in flight, those that wait for others "
        "among them; over gRPC as many again.",
    )
    rate_limit: RateLimit | None = Field(
        default=None, description="Bounds requests a second, over REST and gRPC together."
    )
    breaker: Breaker | None = Field(
        default=None,
        description="Leaves a model alone that fails again and again. Meanwhile the fallback "
        "answers; without one it is 503 with Retry-After (gRPC: UNAVAILABLE).",
    )
    fallback: Fallback | None = Field(
        default=None,
        description="Answers each request that the model fails, and says so in its headers. It "
        "passes the deploy gate like the model, takes the same inputs or some of them, and "
        "answers in the same form.",
    )


class Gateway(Model):
    """A Gateway of the Gateway API, by which requests are split."""

    name: Name = Field(description="Name of the Gateway.")
    namespace: Name | None = Field(
        default=None, description="Namespace of the Gateway; the Deployment's when unset."
    )
    hostname: str = Field(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        max_length=253,
        description="Host by which clients reach this Deployment at the Gateway.",
    )


class PayloadLogging(Model):
    """What of the requests is kept for Monitors; privacy actions of the Dataset always apply."""

    sample_percent: int = Field(
        default=100, ge=0, le=100, description="Share of requests that are logged, in percent."
    )


class Autoscaling(Model):
    """How many replicas serve, by the CPU that they use or by the requests that come."""

    cel_rules = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not exceed maxReplicas; swap them",
            ".minReplicas",
        ),
        Rule(
            "!has(self.targetCPUPercent) || !has(self.targetRequestsPerSecond)",
            "replicas follow one measure; remove targetCPUPercent or targetRequestsPerSecond",
            ".targetCPUPercent",
        ),
        Rule(
            "self.minReplicas > 0 || has(self.targetRequestsPerSecond)",
            "no replica uses no CPU to follow; set targetRequestsPerSecond, or minReplicas to 1",
            ".minReplicas",
        ),
    )
    min_replicas: int = Field(
        default=1,
        ge=0,
        le=100,
        description="Fewest replicas, without any load; 0 lets a version rest that has served, "
        "until the next request, and goes with targetRequestsPerSecond.",
    )
    max_replicas: int = Field(ge=1, le=100, description="Most replicas, whatever the load.")
    target_cpu_percent: int | None = Field(
        default=None,
        alias="targetCPUPercent",
        ge=1,
        le=100,
        description="CPU that replicas should use on average, in percent of what they request; 70 "
        "where no measure is set.",
    )
    target_requests_per_second: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Requests for predictions that each replica should answer a second, instead; "
        "on a cluster KEDA follows what a Prometheus counts.",
    )


class BatchInput(Model):
    """Which rows are scored: those of a Dataset's snapshot, or of a source as they are."""

    cel_rules = (
        Rule(
            "has(self.datasetRef) != has(self.source)",
            "set either datasetRef or source",
        ),
    )
    dataset_ref: NameReference | None = Field(
        default=None,
        description="Dataset whose snapshot is scored, after its privacy actions.",
        json_schema_extra=refers_to("Dataset"),
    )
    source: Source | None = Field(
        default=None,
        description="Files that are scored as they are read, without a snapshot; Parquet and "
        "delimited text may be of any size.",
    )


class BatchOutput(Model):
    """Where the scored rows are written, and what of them."""

    cel_rules = (
        Rule(
            "!has(self.uri) || !self.uri.startsWith('s3://') || has(self.connectionRef)",
            "an s3:// uri needs connectionRef; name an entry of the Project's spec.connections",
            ".connectionRef",
        ),
        Rule(
            "!has(self.connectionRef) || (has(self.uri) && self.uri.startsWith('s3://'))",
            "connectionRef opens an s3:// uri; set uri, or remove it",
            ".connectionRef",
        ),
    )
    uri: str | None = Field(
        default=None,
        max_length=1024,
        pattern=r"^(file:///|s3://).+",
        description="Folder in which every run makes one of its own, file:///directory or "
        "s3://bucket/prefix; the Project's artifact store when unset.",
    )
    connection_ref: NameReference | None = Field(
        default=None, description="Entry of the Project's spec.connections that opens the uri."
    )
    format: Literal["Parquet", "JSONL", "CSV"] = Field(
        default="Parquet", description="Format of the files."
    )
    include: list[Column] = Field(
        default=[],
        max_length=200,
        description="Columns of the input that stand beside each prediction, such as a key.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class Batch(Model):
    """What is scored in batch."""

    input: BatchInput = Field(description="Which rows are scored.")
    output: BatchOutput = Field(
        default=BatchOutput(), description="Where the scored rows are written."
    )
    rows_per_shard: int = Field(
        default=500_000,
        ge=1,
        le=10_000_000,
        description="Rows of the input behind each output file. A run that was killed goes on "
        "after the last whole one.",
    )


class Placement(Model):
    """Where a model is served."""

    server: Literal["Dedicated", "Shared"] = Field(
        default="Dedicated",
        description="Dedicated: servers of its own. Shared: one server process for all such "
        "models of the namespace, which are loaded when they are asked for; what was not used for "
        "longest leaves when the Project's spec.sharedServing.memory is full.",
    )


_ONLINE_ONLY = {
    "has(self.canary)": "canary",
    "has(self.gateway)": "gateway",
    "has(self.autoscaling)": "autoscaling",
    "self.replicas != 1": "replicas",
    "self.workers != 1": "workers",
    "has(self.smokeTest)": "smokeTest",
    "has(self.traffic)": "traffic",
    "has(self.batching)": "batching",
    "has(self.explainer)": "explainer",
    "self.payloadLogging.samplePercent != 100": "payloadLogging",
}
_BATCH_ONLY = {
    "has(self.batch)": "batch",
    "has(self.schedule)": "schedule",
    "self.run.token != '' || self.run.cancel": "run",
}


_GIVEN_RESOURCES = " || ".join(
    f"has(self.resources.{part}.{name})"
    for part in ("requests", "limits")
    for name in ("cpu", "memory", "gpu")
)
_DEDICATED_ONLY = {
    "self.mode == 'Batch'": ("mode", "no server is shared in mode Batch; set mode Online"),
    "has(self.canary)": ("canary", "a canary goes beside servers of its own; remove canary"),
    "has(self.gateway)": ("gateway", "a gateway splits requests to servers; remove gateway"),
    "has(self.autoscaling)": ("autoscaling", "the shared server is one; remove autoscaling"),
    "self.replicas != 1": ("replicas", "the shared server is one; remove replicas"),
    "self.workers != 1": ("workers", "the shared server is one process; remove workers"),
    _GIVEN_RESOURCES: (
        "resources",
        "the shared server has what the Project's spec.sharedServing says; remove resources",
    ),
}


class DeploymentSpec(Model):
    """Desired state of a Deployment."""

    cel_rules = (
        Rule(
            "self.mode == oldSelf.mode",
            "the mode of a Deployment cannot change; delete it, or add another Deployment",
            ".mode",
        ),
        Rule(
            "self.mode != 'Batch' || has(self.batch)",
            "mode Batch needs spec.batch; say which rows are scored",
            ".batch",
        ),
        *(
            Rule(
                f"self.mode != 'Batch' || !({given})",
                f"nothing answers requests in mode Batch; remove {field}, or set mode Online",
                f".{field}",
            )
            for given, field in _ONLINE_ONLY.items()
        ),
        *(
            Rule(
                f"self.mode == 'Batch' || !({given})",
                f"{field} belongs to mode Batch; set spec.mode to Batch, or remove it",
                f".{field}",
            )
            for given, field in _BATCH_ONLY.items()
        ),
        *(
            Rule(
                f"self.placement.server != 'Shared' || !({given})",
                f"{why}, or set placement.server to Dedicated",
                f".{field}",
            )
            for given, (field, why) in _DEDICATED_ONLY.items()
        ),
        Rule(
            "!has(self.autoscaling) || self.replicas == 1",
            "replicas is fixed and autoscaling varies it; remove one of them",
            ".replicas",
        ),
        Rule(
            "!has(self.autoscaling) || has(self.autoscaling.targetRequestsPerSecond) || "
            "has(self.resources.requests.cpu)",
            "autoscaling.targetCPUPercent is a share of what is requested; set "
            "spec.resources.requests.cpu",
            ".resources",
        ),
        Rule(
            "!has(self.canary) || !has(self.canary.modelVersion) || !has(self.model.modelVersion) "
            "|| self.canary.modelVersion != self.model.modelVersion",
            "spec.model serves this version already; name another, or remove canary",
            ".canary.modelVersion",
        ),
        Rule(
            "!has(self.canary) || !has(self.canary.stage) || !has(self.model.stage) || "
            "self.canary.stage != self.model.stage || "
            "self.canary.experiment != self.model.experiment",
            "spec.model serves this stage already; name another, or remove canary",
            ".canary.stage",
        ),
    )
    model: ModelChoice = Field(description="Which model serves.")
    canary: Canary | None = Field(
        default=None,
        description="A second version beside it; it comes and goes without a restart of the first.",
    )
    gateway: Gateway | None = Field(
        default=None,
        description="Where requests are split; without it a canary answers only at its own URL.",
    )
    mode: Literal["Online", "Batch"] = Field(
        default="Online",
        description="Online answers requests over REST (KServe protocols V1 and V2) and, at the "
        "same port, gRPC (V2); Batch scores whole tables.",
    )
    placement: Placement = Field(
        default=Placement(), description="Mode Online: where the model is served."
    )
    batch: Batch | None = Field(
        default=None, description="Mode Batch: which rows are scored, and where they go."
    )
    run: ExperimentRun = Field(
        default=ExperimentRun(),
        description="Mode Batch: asks for a new run by a new token, or cancels one.",
    )
    schedule: Schedule | None = Field(
        default=None,
        description="Mode Batch: when a new run starts by itself; nothing starts before its first "
        "slot. Another model, other rows or another spec start one between slots.",
    )
    replicas: int = Field(
        default=1,
        ge=1,
        le=100,
        description="How many replicas serve; `kubectl scale` sets it where git does not.",
    )
    autoscaling: Autoscaling | None = Field(
        default=None,
        description="Varies the number of replicas instead; on a cluster by a metrics server, or "
        "by KEDA.",
    )
    resources: Resources = Field(
        default=Resources(),
        description="What each replica asks for; KServe's default where unset.",
    )
    workers: int = Field(default=1, ge=1, le=32, description="Server processes in each replica.")
    traffic: Traffic | None = Field(
        default=None,
        description="What each server process takes, and what it does when its model fails. What "
        "comes beyond is answered 429 with Retry-After at once (gRPC: RESOURCE_EXHAUSTED). All "
        "together take `replicas` x `workers` times as much.",
    )
    batching: Batching | None = Field(
        default=None,
        description="Predicts what comes over REST at the same time together, in each server "
        "process; worth it where a row costs a model about as much as ten do.",
    )
    explainer: Explainer | None = Field(
        default=None,
        description="How `:explain` answers over REST: by SHAP, 100 rows a request, unless set.",
    )
    smoke_test: SmokeTest | None = Field(
        default=None,
        description="What a new version must answer before it gets requests; until it does, the "
        "earlier version goes on serving. Without it no instance is made up, and none is sent.",
    )
    payload_logging: PayloadLogging = Field(
        default=PayloadLogging(), description="What of the requests is kept."
    )
    suspend: bool = Field(
        default=False,
        description="Whether nothing changes: what serves goes on serving, a run of mode Batch is "
        "stopped and goes on after its last whole shard.",
    )


class CanaryStatus(Model):
    """What the canary serves."""

    model_version: str = Field(
        default="", max_length=253, description="ModelVersion that answers, by its own word."
    )
    model_digest: Digest | None = Field(
        default=None, description="Digest of the model that answers, by its own word."
    )
    url: str | None = Field(
        default=None, max_length=1024, description="Where the canary alone answers."
    )
    percent: int = Field(
        default=0, ge=0, le=100, description="Share of the requests that it gets now, in percent."
    )


class Served(Model):
    """A version and since when it served all requests."""

    model_version: str = Field(max_length=253, description="ModelVersion that served.")
    model_digest: Digest = Field(description="Digest of the model that served.")
    source_revision: str | None = Field(
        default=None, max_length=128, description="The commit of the Deployment at that time."
    )
    since: str = Field(description="When its servers were first heard, RFC 3339.", max_length=40)


class BatchProgress(Model):
    """How far a batch is."""

    done: int = Field(ge=0, description="Rows that were read, rejected ones among them.")
    total: int | None = Field(
        default=None, ge=0, description="Rows of the input, where it tells before it is read."
    )
    shards: int = Field(default=0, ge=0, description="Files that are whole.")


class BatchResult(Model):
    """What a run of mode Batch made; written plus rejected rows equal those read."""

    output_uri: str = Field(
        max_length=1024, description="Folder of the run: its files, and _manifest.json."
    )
    rows_read: int = Field(ge=0, description="Rows of the input.")
    rows_written: int = Field(ge=0, description="Rows with a prediction.")
    rows_rejected: int = Field(
        default=0, ge=0, description="Rows that do not fit the model's inputs, without one."
    )
    reasons: dict[str, int] = Field(
        default={},
        description="Number of rejected rows by reason.",
        json_schema_extra={"maxProperties": 50},
    )
    most_rejected_for: str = Field(
        default="",
        max_length=512,
        description="What most rows were rejected for, `column: reason`.",
    )
    shards: int = Field(ge=0, description="Number of files with predictions.")


class PastBatch(RememberedRun):
    """One run of mode Batch."""

    model_version: str | None = Field(
        default=None, max_length=253, description="ModelVersion that scored."
    )
    rows_written: int | None = Field(default=None, ge=0, description="Rows with a prediction.")
    output_uri: str | None = Field(
        default=None, max_length=1024, description="Folder of the run's files."
    )


class DeploymentStatus(Status):
    """Observed state of a Deployment."""

    url: str | None = Field(default=None, max_length=1024, description="Where the model answers.")
    model_version: str | None = Field(
        default=None,
        max_length=253,
        description="ModelVersion that serves all requests, by the model server's own answer.",
    )
    model_digest: Digest | None = Field(
        default=None, description="Digest of the model that serves, by the server's own answer."
    )
    canary: CanaryStatus | None = Field(default=None, description="What the canary serves.")
    replicas: int = Field(default=0, ge=0, description="How many replicas are ready.")
    payload_uri: str | None = Field(
        default=None, max_length=1024, description="Where logged payloads lie."
    )
    verdicts: list[Verdict] = Field(
        default=[], max_length=20, description="What the Policies at the deploy gate said."
    )
    history: list[Served] = Field(
        default=[],
        max_length=10,
        description="The last ten versions that served, by their servers' own answers, the latest "
        "first.",
    )
    run: RunStatus | None = Field(
        default=None, description="Mode Batch: the run of the present model, rows and spec."
    )
    schedule: ScheduleStatus | None = Field(
        default=None, description="Mode Batch: where the schedule stands."
    )
    progress: BatchProgress | None = Field(default=None, description="Mode Batch: how far it is.")
    batch: BatchResult | None = Field(
        default=None, description="Mode Batch: what the last finished run made."
    )
    runs: list[PastBatch] = Field(
        default=[], max_length=10, description="Mode Batch: the last ten runs, the latest first."
    )
