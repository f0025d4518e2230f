"""The seven kinds in one table: names, models and printer columns."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.api.dataset import DatasetSpec, DatasetStatus
from modelyard.api.deployment import DeploymentSpec, DeploymentStatus
from modelyard.api.experiment import ExperimentSpec, ExperimentStatus
from modelyard.api.meta import Model, Status
from modelyard.api.modelversion import ModelVersionSpec, ModelVersionStatus
from modelyard.api.monitor import MonitorSpec, MonitorStatus
from modelyard.api.policy import PolicySpec, PolicyStatus
from modelyard.api.project import ProjectSpec, ProjectStatus


@dataclass(frozen=True)
class PrinterColumn:
    """A column of `kubectl get`; priority 1 shows only with `-o wide`."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True)
class Kind:
    """One kind: its names, the models of spec and status, and what `kubectl get` shows."""

    kind: str
    plural: str
    short_name: str
    description: str
    spec: type[Model]
    status: type[Status]
    columns: tuple[PrinterColumn, ...] = ()
    spec_required: bool = True
    scalable: bool = False
    """Whether `kubectl scale` works on it: spec.replicas and status.replicas."""


def _condition(field: str) -> str:
    return f'.status.conditions[?(@.type=="Ready")].{field}'


READY = PrinterColumn("Ready", _condition("status"))
REASON = PrinterColumn("Reason", _condition("reason"))
AGE = PrinterColumn("Age", ".metadata.creationTimestamp", "date")
MESSAGE = PrinterColumn("Message", _condition("message"), priority=1)
REVISION = PrinterColumn("Revision", ".status.sourceRevision", priority=1)

PROJECT = Kind(
    "Project",
    "projects",
    "mproj",
    "A Project: who owns a namespace, in which environment, with which artifact store.",
    ProjectSpec,
    ProjectStatus,
    (PrinterColumn("Environment", ".spec.environment"),),
)
DATASET = Kind(
    "Dataset",
    "datasets",
    "mds",
    "A Dataset: a source turned into one immutable, validated, fingerprinted snapshot.",
    DatasetSpec,
    DatasetStatus,
    (
        PrinterColumn("Rows", ".status.snapshot.rows", "integer"),
        PrinterColumn("Quarantined", ".status.quarantine.rows", "integer"),
        PrinterColumn("Fingerprint", ".status.fingerprint", priority=1),
    ),
)
EXPERIMENT = Kind(
    "Experiment",
    "experiments",
    "mexp",
    "An Experiment: a search over models for one task, ending in one ModelVersion.",
    ExperimentSpec,
    ExperimentStatus,
    (
        PrinterColumn("Done", ".status.progress.done", "integer"),
        PrinterColumn("Metric", ".status.metric", priority=1),
        PrinterColumn("Holdout", ".status.bestMetric"),
        PrinterColumn("Best", ".status.bestModelVersion"),
    ),
)
MODEL_VERSION = Kind(
    "ModelVersion",
    "modelversions",
    "mmv",
    "A ModelVersion: one immutable model with its evidence; git sets its stage.",
    ModelVersionSpec,
    ModelVersionStatus,
    (
        PrinterColumn("Stage", ".status.stage"),
        PrinterColumn("Experiment", ".status.lineage.experiment"),
        PrinterColumn("Digest", ".status.artifact.digest", priority=1),
    ),
    spec_required=False,
)
DEPLOYMENT = Kind(
    "Deployment",
    "deployments",
    "mdep",
    "A Deployment: which model serves, and how.",
    DeploymentSpec,
    DeploymentStatus,
    (
        PrinterColumn("Model", ".status.modelVersion"),
        PrinterColumn("Scored", ".status.batch.rowsWritten", "integer", priority=1),
        PrinterColumn("Canary", ".status.canary.modelVersion", priority=1),
        PrinterColumn("Replicas", ".status.replicas", "integer", priority=1),
        PrinterColumn("URL", ".status.url", priority=1),
    ),
    scalable=True,
)
MONITOR = Kind(
    "Monitor",
    "monitors",
    "mmon",
    "A Monitor: what is watched on a Deployment, and who is told.",
    MonitorSpec,
    MonitorStatus,
    (
        PrinterColumn("Deployment", ".spec.deploymentRef.name"),
        PrinterColumn("Drift", '.status.conditions[?(@.type=="DriftDetected")].status'),
    ),
)
POLICY = Kind(
    "Policy",
    "policies",
    "mpol",
    "A Policy: what must hold at a gate, as rules or as Rego.",
    PolicySpec,
    PolicyStatus,
    (
        PrinterColumn("Gates", ".spec.gates"),
        PrinterColumn("Enforcement", ".spec.enforcement"),
    ),
)

KINDS: tuple[Kind, ...] = (
    PROJECT,
    DATASET,
    EXPERIMENT,
    MODEL_VERSION,
    DEPLOYMENT,
    MONITOR,
    POLICY,
)
BY_NAME: dict[str, Kind] = {kind.kind: kind for kind in KINDS}
