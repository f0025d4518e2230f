"""Deployment: which model serves, and how."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from modelyard.api.compute import Resources
from modelyard.api.meta import Digest, Model, Name, Rule, Status, Verdict, named_list, refers_to
from modelyard.api.modelversion import Stage


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


class Expectation(Model):
    """What a model must answer to one instance."""

    cel_rules = (
        Rule(
            "!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
            "minimum must not exceed maximum; swap them",
            ".minimum",
        ),
        Rule(
            "self.status == 200 || (!has(self.label) && !has(self.minimum) && !has(self.maximum))",
            "a refused instance gets no prediction; remove label, minimum and maximum, or status",
            ".status",
        ),
    )
    status: Literal[200, 400] = Field(
        default=200,
        description="HTTP status of the answer: 200 with a prediction, 400 where the instance "
        "must be refused.",
    )
    label: str | None = Field(
        default=None,
        max_length=256,
        description="Classification: the predicted class, as a text, for example '1'.",
    )
    minimum: float | None = Field(
        default=None,
        description="Smallest predicted value; of a classification, smallest probability of the "
        "predicted class.",
    )
    maximum: float | None = Field(
        default=None, description="Largest predicted value or probability, as with minimum."
    )


class SmokeCheck(Model):
    """One instance that a model server must answer before it gets requests."""

    name: Name = Field(description="Name of the check, given when it fails.")
    instance: dict[str, Any] = Field(
        description="Value by feature, as in a request. It stands in git: write no personal data.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True, "maxProperties": 1000},
    )
    expect: Expectation = Field(
        default=Expectation(), description="What it must answer; any prediction when unset."
    )


class SmokeTest(Model):
    """What every model server answers, inside the server and unlogged, before it gets requests."""

    checks: list[SmokeCheck] = Field(
        min_length=1,
        max_length=20,
        description="Instances with what is expected of them; all must hold.",
        json_schema_extra=named_list(),
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


class DeploymentSpec(Model):
    """Desired state of a Deployment."""

    cel_rules = (
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
    mode: Literal["Online"] = Field(
        default="Online",
        description="Online answers requests over REST (KServe protocols V1 and V2).",
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
    smoke_test: SmokeTest | None = Field(
        default=None,
        description="What a new version must answer before it gets requests; until it does, the "
        "earlier version goes on serving. Without it no instance is made up, and none is sent.",
    )
    payload_logging: PayloadLogging = Field(
        default=PayloadLogging(), description="What of the requests is kept."
    )
    suspend: bool = Field(
        default=False, description="Whether nothing changes: what serves goes on serving."
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
