"""Project: who owns a namespace, in which environment, with which store and connections."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.compute import Quantity
from modelyard.api.meta import (
    NAME_PATTERN,
    Model,
    Name,
    NameReference,
    Rule,
    Status,
    Text,
    named_list,
    refers_to,
)

Role = Literal["Admin", "Editor", "Viewer", "Approver"]
Labels = dict[
    Annotated[str, Field(max_length=317)],
    Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")],
]


class Connection(Model):
    """A named connection to an object store, its credentials by reference."""

    name: Name = Field(description="Name that a source or the artifact store refers to.")
    type: Literal["S3"] = Field(description="Kind of system. S3 covers every S3-compatible store.")
    endpoint: str | None = Field(
        default=None,
        max_length=512,
        pattern=r"^https?://",
        description="URL of the S3 endpoint; the provider's default when unset.",
    )
    region: str | None = Field(
        default=None, max_length=63, description="Region of the store, for example eu-central-1."
    )
    secret_ref: NameReference | None = Field(
        default=None,
        description="Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        json_schema_extra=refers_to("Secret"),
    )


class ArtifactStore(Model):
    """Where snapshots, models, reports and payload logs are kept, by content digest."""

    cel_rules = (
        Rule(
            "!self.uri.startsWith('s3://') || has(self.connectionRef)",
            "an s3:// store needs spec.artifactStore.connectionRef; name an entry of "
            "spec.connections",
            ".connectionRef",
        ),
    )
    uri: str = Field(
        max_length=1024,
        pattern=r"^(file:///|s3://).+",
        description="Root of the store, file:///directory or s3://bucket/prefix.",
    )
    connection_ref: NameReference | None = Field(
        default=None, description="Entry of spec.connections that opens an s3:// store."
    )


class Member(Model):
    """Who may do what in the Project's namespace."""

    cel_rules = (
        Rule(
            "!(self.name in ['system:anonymous', 'system:unauthenticated', "
            "'system:authenticated', 'system:serviceaccounts'])",
            "this name stands for everybody, other Projects' members too; name a group of your own",
            ".name",
        ),
        Rule(
            f"self.kind != 'ServiceAccount' || self.name.matches('{NAME_PATTERN}')",
            "a ServiceAccount is named without its namespace; one of another namespace is the User "
            "system:serviceaccount:<namespace>:<name>",
            ".name",
        ),
    )
    kind: Literal["User", "Group", "ServiceAccount"] = Field(
        description="Whether name is a user, a group, or a ServiceAccount of this namespace."
    )
    name: str = Field(
        min_length=1,
        max_length=253,
        description="Name as the API server's authentication gives it, for example an e-mail "
        "address.",
    )
    role: Role = Field(
        description="Admin changes everything of the Project, Editor what is built in it, Approver "
        "approves ModelVersions, Viewer reads. A member may stand here once for each role."
    )


QUEUE_PREFIX = "modelyard-"


class Quota(Model):
    """What the Project's runs may use at once. A cluster enforces it, one machine does not."""

    parallel_trials: int = Field(
        default=2, ge=1, le=1000, description="Most trials that run at once in one search."
    )
    cpu: Quantity | None = Field(
        default=None,
        description='Most processors that all pods may request, for example 32 or "500m"; '
        "unlimited when unset.",
    )
    memory: Quantity | None = Field(
        default=None,
        description='Most memory that all pods may request, for example "64Gi"; unlimited when '
        "unset.",
    )
    gpu: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="Most GPUs (nvidia.com/gpu) that all pods may request; unlimited when unset.",
    )
    pods: int | None = Field(
        default=None, ge=1, le=100_000, description="Most pods at once; unlimited when unset."
    )
    cluster_queue: str | None = Field(
        default=None,
        min_length=1,
        max_length=63 - len(QUEUE_PREFIX),
        pattern=NAME_PATTERN,
        description="Kueue's ClusterQueue in which snapshots and searches wait until there is room "
        "for them; they start at once when unset.",
    )

    @property
    def local_queue(self) -> str | None:
        """Name of the LocalQueue by which the namespace draws from the ClusterQueue.

        One for each: Kueue lets none be put behind another ClusterQueue.
        """
        return None if self.cluster_queue is None else f"{QUEUE_PREFIX}{self.cluster_queue}"


class NetworkPolicy(Model):
    """Who may talk to the Project's pods, and to whom they may. A cluster enforces it."""

    cel_rules = (
        Rule(
            "self.mode != 'None' || size(self.allowFrom) == 0",
            "with mode None everybody may call the predictors; remove allowFrom or set mode "
            "Isolated",
            ".allowFrom",
        ),
    )
    mode: Literal["Isolated", "None"] = Field(
        default="Isolated",
        description="Isolated: pods are reached from their own namespace and from namespaces "
        "labelled modelyard.dev/platform=true, and reach these, DNS, the API server and the "
        "Project's stores. None: no NetworkPolicy is made.",
    )
    allow_from: list[Name] = Field(
        default=[],
        max_length=50,
        description="Namespaces whose pods may call the predictors, for example those of "
        "applications.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class Toleration(Model):
    """A taint of nodes that pods may run in spite of, as in Kubernetes."""

    cel_rules = (
        Rule(
            "self.operator == 'Equal' || !has(self.value)",
            "Exists compares no value; remove it",
            ".value",
        ),
    )
    key: str = Field(min_length=1, max_length=317, description="Key of the taint.")
    operator: Literal["Equal", "Exists"] = Field(
        default="Equal", description="Whether the taint must have the value, or just the key."
    )
    value: str | None = Field(default=None, max_length=63, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint that is tolerated; every one when unset."
    )


class SpotNodes(Model):
    """Nodes that cost less and may be taken away at any time."""

    node_labels: Labels = Field(
        min_length=1, max_length=10, description="Labels that all of these nodes have."
    )
    tolerations: list[Toleration] = Field(
        default=[], max_length=20, description="Taints of these nodes that runs tolerate."
    )


class Scheduling(Model):
    """On which nodes runs and predictors go. A cluster heeds it; one machine has one node."""

    node_selector: Labels = Field(
        default={}, max_length=20, description="Labels that a node must have."
    )
    tolerations: list[Toleration] = Field(
        default=[], max_length=20, description="Taints of nodes that pods tolerate."
    )
    spot: SpotNodes | None = Field(
        default=None,
        description="Spot nodes: kept clear of, but for Experiments whose execution.spot is "
        "Prefer.",
    )


class MLflow(Model):
    """An MLflow tracking server; what it asks for is given by reference."""

    uri: str = Field(
        max_length=1024,
        pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$",
        description="URL of the tracking server as the operator reaches it, without credentials, "
        "for example https://mlflow.example.org.",
    )
    secret_ref: NameReference | None = Field(
        default=None,
        description="Secret with the key MLFLOW_TRACKING_TOKEN, or with "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; no credentials are sent when "
        "unset.",
        json_schema_extra=refers_to("Secret"),
    )


class Tracking(Model):
    """Where finished runs are told of, besides the run records in the artifact store."""

    mlflow: MLflow = Field(description="MLflow tracking server that gets every finished run.")


class SharedServing(Model):
    """The server that all Deployments with placement.server Shared have together."""

    cel_rules = (
        Rule(
            "quantity(string(self.memory)).compareTo(quantity('1Mi')) >= 0",
            "no model fits into less than 1Mi; give the models more memory",
            ".memory",
        ),
    )
    memory: Quantity = Field(
        default="2Gi",
        description="Memory that the models in it take together; those that were not used for "
        "longest leave when it is full, and are loaded again by the next request. Its pod "
        "requests this and 256Mi, and gets 1Gi more. A change starts the server anew.",
    )


class ProjectSpec(Model):
    """Desired state of a Project; there is one Project in a namespace."""

    cel_rules = (
        Rule(
            "!has(self.artifactStore) || !has(self.artifactStore.connectionRef) || "
            "self.connections.exists(c, c.name == self.artifactStore.connectionRef.name)",
            "artifactStore.connectionRef names no entry of spec.connections; add it there",
            ".artifactStore.connectionRef",
        ),
    )
    description: Text = Field(default="", description="What the project is for, in a sentence.")
    environment: Literal["development", "staging", "production"] = Field(
        default="development",
        description="Production refuses Deployments of the form {experiment} and needs a "
        "deploy Policy.",
    )
    owners: list[Text] = Field(
        default=[],
        max_length=50,
        description="Who answers for the project, as e-mail addresses or team names.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    artifact_store: ArtifactStore | None = Field(
        default=None,
        description="Where artifacts are kept; the operator's default store when unset.",
    )
    connections: list[Connection] = Field(
        default=[],
        max_length=50,
        description="Named connections to outside systems.",
        json_schema_extra=named_list(),
    )
    tracking: Tracking | None = Field(
        default=None,
        description="Where finished searches are tracked too; nowhere when unset. It decides "
        "nothing: a run is over when its record is in the artifact store.",
    )
    members: list[Member] = Field(
        default=[],
        max_length=200,
        description="Who may do what in this namespace, as RoleBindings.",
        json_schema_extra=named_list("kind", "name", "role"),
    )
    quota: Quota = Field(default=Quota(), description="Limits on what runs at once.")
    scheduling: Scheduling = Field(
        default=Scheduling(), description="On which nodes the Project's runs and predictors go."
    )
    network_policy: NetworkPolicy = Field(
        default=NetworkPolicy(), description="Who may talk to the pods, and to whom they may."
    )
    shared_serving: SharedServing = Field(
        default=SharedServing(),
        description="The server of the Deployments whose placement.server is Shared.",
    )


class ProjectStatus(Status):
    """Observed state of a Project."""

    artifact_store_uri: str | None = Field(
        default=None, max_length=1024, description="Root of the artifact store in use."
    )
