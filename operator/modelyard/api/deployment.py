"""Deployment: which model serves, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.meta import Digest, Model, Name, Rule, Status, Verdict
from modelyard.api.modelversion import Stage


class ModelChoice(Model):
    """Which model serves: {experiment}, {experiment, stage} or {modelVersion}."""

    cel_rules = (
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
    )
    stage: Stage | None = Field(
        default=None, description="Serves the version of the experiment that git put at this stage."
    )
    model_version: Name | None = Field(
        default=None, description="Serves exactly this ModelVersion."
    )


class PayloadLogging(Model):
    """What of the requests is kept for Monitors; privacy actions of the Dataset always apply."""

    sample_percent: int = Field(
        default=100, ge=0, le=100, description="Share of requests that are logged, in percent."
    )


class DeploymentSpec(Model):
    """Desired state of a Deployment."""

    model: ModelChoice = Field(description="Which model serves.")
    mode: Literal["Online"] = Field(
        default="Online",
        description="Online answers requests over REST (KServe protocols V1 and V2).",
    )
    workers: int = Field(default=1, ge=1, le=32, description="Server processes in each replica.")
    payload_logging: PayloadLogging = Field(
        default=PayloadLogging(), description="What of the requests is kept."
    )
    suspend: bool = Field(
        default=False, description="Whether nothing changes: what serves goes on serving."
    )


class DeploymentStatus(Status):
    """Observed state of a Deployment."""

    url: str | None = Field(default=None, max_length=1024, description="Where the model answers.")
    model_version: str | None = Field(
        default=None, max_length=253, description="ModelVersion that serves all requests."
    )
    model_digest: Digest | None = Field(
        default=None, description="Digest of the model that serves."
    )
    payload_uri: str | None = Field(
        default=None, max_length=1024, description="Where logged payloads lie."
    )
    verdicts: list[Verdict] = Field(
        default=[], max_length=20, description="What the Policies at the deploy gate said."
    )
