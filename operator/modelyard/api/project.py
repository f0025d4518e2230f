"""Project: who owns a namespace, in which environment, with which store and connections."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.meta import Model, Name, NameReference, Rule, Status, Text, named_list


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


class Quota(Model):
    """What the Project's runs may use at once."""

    parallel_trials: int = Field(
        default=2, ge=1, le=1000, description="Most trials that run at once in one search."
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
    quota: Quota = Field(default=Quota(), description="Limits on what runs at once.")


class ProjectStatus(Status):
    """Observed state of a Project."""

    artifact_store_uri: str | None = Field(
        default=None, max_length=1024, description="Root of the artifact store in use."
    )
