"""Monitor: what is watched on a Deployment, and who is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.compute import Resources
from modelyard.api.meta import (
    Digest,
    Duration,
    Model,
    Name,
    NameReference,
    Rule,
    Status,
    Text,
    refers_to,
)

DriftMetric = Literal["KS", "ChiSquared", "PSI", "KL", "Wasserstein", "JensenShannon"]


class Window(Model):
    """Which logged requests are looked at: the newest ones."""

    cel_rules = (
        Rule(
            "self.minRows <= self.maxRows",
            "minRows must not exceed maxRows",
            ".minRows",
        ),
    )
    min_rows: int = Field(
        default=200, ge=20, le=1_000_000, description="With fewer rows there is no verdict."
    )
    max_rows: int = Field(
        default=1000, ge=20, le=1_000_000, description="The newest rows looked at."
    )


class Reference(Model):
    """What the requests are compared with: rows of the snapshot that the model was trained on."""

    max_rows: int = Field(
        default=50_000,
        ge=100,
        le=1_000_000,
        description="Rows of the training snapshot that are looked at, chosen at random.",
    )


class Threshold(Model):
    """From which effect a difference matters, by metric."""

    ks: float = Field(default=0.1, ge=0, le=1, description="Kolmogorov-Smirnov distance.")
    chi_squared: float = Field(
        default=0.1, ge=0, le=1, description="Cramer's V with both samples taken as equally large."
    )
    psi: float = Field(default=0.2, ge=0, le=100, description="Population stability, in nats.")
    kl: float = Field(
        default=0.1, ge=0, le=100, description="Divergence of requests from reference, in nats."
    )
    wasserstein: float = Field(
        default=0.25,
        ge=0,
        le=100,
        description="Wasserstein distance in standard deviations of the reference.",
    )
    jensen_shannon: float = Field(
        default=0.15, ge=0, le=1, description="Jensen-Shannon distance, the root in nats."
    )


class Drift(Model):
    """When a feature counts as drifted against the training snapshot: when one metric says so."""

    metrics: list[DriftMetric] = Field(
        default=["KS", "ChiSquared"],
        min_length=1,
        max_length=6,
        description="What is measured. KS and Wasserstein suit numbers, ChiSquared categories, the "
        "others both. A feature that none suits is named in the report as not compared.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    threshold: Threshold = Field(
        default=Threshold(), description="From which effect a difference matters, by metric."
    )
    significance: float = Field(
        default=0.001,
        gt=0,
        lt=0.5,
        description="Level of KS and ChiSquared over all features together.",
    )
    correction: Literal["Holm", "BenjaminiHochberg", "None"] = Field(
        default="Holm",
        description="Correction of the p-values for the number of features: of the family-wise "
        "error, of the false discovery rate, or none.",
    )
    window: Window = Field(default=Window(), description="Which logged requests are looked at.")
    reference: Reference = Field(
        default=Reference(), description="What the requests are compared with."
    )
    min_features: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Features that must drift before the condition is raised.",
    )


class AlertRoute(Model):
    """Where an alert goes."""

    type: Literal["Event", "Webhook"] = Field(
        description="Event posts a Kubernetes Event; Webhook posts JSON to a URL."
    )
    url: str | None = Field(
        default=None, max_length=1024, pattern=r"^https?://", description="URL of a Webhook."
    )
    cel_rules = (
        Rule("self.type != 'Webhook' || has(self.url)", "a Webhook needs url", ".url"),
        Rule("self.type != 'Event' || !has(self.url)", "an Event takes no url; remove it", ".url"),
    )


class Alert(Model):
    """Tells somebody when a condition becomes true, once until it is resolved."""

    name: Name = Field(description="Name of the alert.")
    when: Literal["DriftDetected", "NoData"] = Field(
        description="Condition of this Monitor that raises the alert."
    )
    severity: Literal["info", "warning", "critical"] = Field(
        default="warning", description="How urgent it is."
    )
    routes: list[AlertRoute] = Field(
        default=[AlertRoute(type="Event")],
        min_length=1,
        max_length=10,
        description="Where the alert goes.",
    )


class Report(Model):
    """An Evidently report, made when asked for."""

    token: str = Field(
        default="", max_length=63, description="Any text. A new token makes exactly one new report."
    )


class MonitorSpec(Model):
    """Desired state of a Monitor."""

    cel_rules = (
        Rule(
            "self.alerts.all(a, self.alerts.exists_one(b, b.name == a.name))",
            "two alerts have the same name; rename one",
            ".alerts",
        ),
    )
    deployment_ref: NameReference = Field(
        description="The Deployment that is watched.", json_schema_extra=refers_to("Deployment")
    )
    interval: Duration = Field(default="15s", description="Time between two looks.")
    drift: Drift = Field(default=Drift(), description="When a feature counts as drifted.")
    alerts: list[Alert] = Field(
        default=[Alert(name="drift", when="DriftDetected")],
        max_length=20,
        description="Who is told of what.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    report: Report = Field(
        default=Report(), description="An Evidently report, made when asked for."
    )
    resources: Resources = Field(
        default=Resources(), description="What the pod of each look asks for."
    )
    suspend: bool = Field(default=False, description="Whether nothing is looked at.")


class FeatureDrift(Model):
    """How far one feature drifted."""

    feature: str = Field(description="Name of the feature.", max_length=256)
    test: DriftMetric = Field(description="Metric that tells most.")
    statistic: Text = Field(description="Value of the statistic when the verdict changed, as text.")
    p_value: Text = Field(
        default="", description="Corrected p-value, where the test has one, as text."
    )


class DriftStatus(Model):
    """The last verdict on drift; it is written when the verdict changes, not at every look."""

    detected: bool = Field(description="Whether drift was found.")
    drifted_features: int = Field(ge=0, description="Number of drifted features.")
    features: int = Field(ge=0, description="Number of features looked at.")
    worst: list[FeatureDrift] = Field(
        default=[], max_length=10, description="The ten features that drifted most."
    )
    report_uri: str = Field(
        default="", max_length=1024, description="Where the numbers of all features lie."
    )
    model_digest: Digest | None = Field(
        default=None, description="The model whose requests were looked at."
    )


class AlertStatus(Model):
    """Whether an alert is raised."""

    name: Name = Field(description="Name of the alert.")
    state: Literal["Firing", "Resolved"] = Field(description="Firing or Resolved.")
    since: str = Field(description="When the state last changed, RFC 3339.", max_length=40)
    untold: list[str] | None = Field(
        default=None,
        max_length=10,
        description="Webhooks that could not be told of the state yet, by the first 12 hex digits "
        "of the SHA-256 of their URL; they are told again until they answer.",
    )


class MonitorStatus(Status):
    """Observed state of a Monitor."""

    drift: DriftStatus | None = Field(default=None, description="The last verdict on drift.")
    alerts: list[AlertStatus] = Field(
        default=[],
        max_length=20,
        description="State of the alerts.",
    )
    report_uri: str | None = Field(
        default=None, max_length=1024, description="Where the last Evidently report lies."
    )
