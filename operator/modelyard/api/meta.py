"""What all kinds share: names of the group, base models, references, conditions, CEL rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

GROUP = "modelyard.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/finalizer"
FIELD_MANAGER = "modelyard-operator"

SOURCE_REVISION = f"{GROUP}/source-revision"
"""Annotation: the commit (`<sha>` or `<sha>-dirty`) an object was applied from."""
SOURCE_DIRECTORY = f"{GROUP}/source-directory"
"""Annotation: the directory that a relative `spec.source.path` of a Dataset is resolved against."""
SOURCE_PATH = f"{GROUP}/source-path"
"""Annotation: the manifest's path within its repository."""
SOURCE_DIGEST = f"{GROUP}/source-digest"
"""Annotation: digest of the files behind `spec.source.path` as they were applied."""
MODEL_VERSION = f"{GROUP}/model-version"
"""Annotation of an InferenceService: the ModelVersion that it is to serve."""
SERVER_REVISION = f"{GROUP}/server-revision"
"""Annotation of an InferenceService: what the servers of its present spec say of themselves."""
RECONCILE_AT = f"{GROUP}/reconcile-at"
"""Annotation: any new value wakes the operator for this object."""

UNJUDGED = -1
"""observedGeneration of an object that the operator has not seen yet. Without it kstatus would take
an object without conditions for a finished one."""

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DURATION_PATTERN = r"^[1-9][0-9]*(s|m|h|d)$"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Name = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=63)]
Digest = Annotated[str, Field(pattern=DIGEST_PATTERN)]
Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=8)]
Text = Annotated[str, Field(max_length=1024)]
Column = Annotated[str, Field(min_length=1, max_length=256)]


def seconds(duration: str) -> int:
    """Return the number of seconds in a duration such as `30s`, `5m`, `2h` or `1d`."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


class Rule(NamedTuple):
    """A CEL rule of a model: what must hold, what to say when it does not, and at which field."""

    rule: str
    message: str
    field_path: str | None = None


class Model(BaseModel):
    """Base of every model: camelCase in YAML and JSON, snake_case in Python, nothing unknown."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )
    cel_rules: ClassVar[tuple[Rule, ...]] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: camelCase, without fields that are unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


REFERS_TO = "x-modelyard-refers-to"
"""Schema extension: the kind whose objects a field names. It stays out of the CRDs."""


def refers_to(kind: str) -> dict[str, Any]:
    """Return the schema extension of a field that names an object of a kind."""
    return {REFERS_TO: kind}


class NameReference(Model):
    """The name of another object in the same namespace."""

    name: Name = Field(description="Name of the object, in the same namespace.")


class SecretKeyReference(Model):
    """One key of a Secret in the same namespace. Secrets are only ever given by reference."""

    name: Name = Field(
        description="Name of the Secret, in the same namespace.",
        json_schema_extra=refers_to("Secret"),
    )
    key: str = Field(description="Key within the Secret's data.", min_length=1, max_length=253)


class Run(Model):
    """Asks for a run by identity: what has run once under a token never runs again by itself."""

    token: str = Field(
        default="",
        max_length=63,
        description="Any text. A new token starts exactly one new run, for example a date; "
        "an unchanged one never repeats a finished run.",
    )


class Condition(Model):
    """A standard Kubernetes condition (KEP-1623) with its own observedGeneration."""

    type: str = Field(description="Name of the condition in CamelCase.", max_length=316)
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the condition holds.")
    reason: str = Field(
        description="Why, as one CamelCase word; documented in the reference.",
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
    )
    message: str = Field(description="Why, for a person, with the next step.", max_length=32768)
    last_transition_time: str = Field(
        description="When the status last changed, RFC 3339.",
        json_schema_extra={"format": "date-time"},
    )
    observed_generation: int = Field(
        description="The metadata.generation this condition was computed for.", ge=0
    )


class Verdict(Model):
    """What one Policy said at one gate about this object."""

    gate: Literal["dataset", "train", "promote", "deploy"] = Field(
        description="The gate at which the Policy was asked."
    )
    policy: str = Field(description="Name of the Policy.", max_length=253)
    subject: str = Field(
        default="",
        max_length=253,
        description="Name of the object that was judged, when not this one.",
    )
    allowed: bool = Field(description="Whether the Policy let the object through.")
    enforcement: Literal["Deny", "Warn"] = Field(
        description="Deny closes the gate when not allowed; Warn only reports it."
    )
    reasons: list[Text] = Field(
        default=[],
        max_length=10,
        description="Why not, at most ten reasons with value and threshold.",
    )
    policy_digest: Digest = Field(description="Digest of the Policy's rules that were evaluated.")


class RunStatus(Model):
    """Where the run that belongs to the present spec stands."""

    identity: str = Field(
        description="Run identity: hash of the shaping spec fields, data fingerprint, seed, "
        "parallelism and token.",
        max_length=64,
    )
    state: Literal["Waiting", "Running", "Succeeded", "Failed"] = Field(
        description="Waiting, Running, Succeeded or Failed; a finished run never starts again."
    )
    child: str = Field(
        default="", max_length=253, description="Name of the child object that runs it."
    )
    code_version: str = Field(
        default="", max_length=63, description="Version of Modelyard that made the run."
    )


class RememberedRun(Model):
    """Base of what a status remembers of a run besides its result."""

    identity: str = Field(description="Identity of the run.", max_length=64)
    slot: str | None = Field(
        default=None, max_length=20, description="Slot of the schedule that started it, in UTC."
    )
    source_revision: str | None = Field(
        default=None, max_length=128, description="The commit that it was first asked for from."
    )
    state: Literal["Waiting", "Running", "Succeeded", "Failed", "Superseded"] = Field(
        description="Where the run stands, or how it ended; Superseded by one that began before "
        "its end."
    )


class Status(Model):
    """Base of every status: bounded, and written only when a verdict changes."""

    observed_generation: int | None = Field(
        default=None,
        ge=UNJUDGED,
        description="The metadata.generation that was last reconciled; -1 before the first time.",
    )
    last_handled_reconcile_at: str | None = Field(
        default=None,
        max_length=128,
        description="The value of the annotation modelyard.dev/reconcile-at that was last "
        "followed, its first 128 characters.",
    )
    conditions: list[Condition] = Field(
        default=[],
        max_length=16,
        description="Ready, Reconciling, Stalled (kstatus) and those of the kind.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    source_revision: str | None = Field(
        default=None, max_length=128, description="The commit the reconciled object came from."
    )

    @classmethod
    def of(cls, manifest: Mapping[str, Any] | None) -> Self:
        """Return the status of an object, as far as it can be read.

        Another version of Modelyard may have written it. What this one does not know, or knows in
        another shape, is left out: it is found anew.
        """
        status: dict[str, Any] = dict((manifest or {}).get("status") or {})
        try:
            return cls.model_validate(status, extra="ignore")
        except ValidationError as error:
            unreadable = {fault["loc"][0] for fault in error.errors() if fault["loc"]}
        kept = {name: value for name, value in status.items() if name not in unreadable}
        return cls.model_validate(kept, extra="ignore")


def named_list(*keys: str) -> dict[str, Any]:
    """Return the schema extension of a list that server-side apply merges by keys, or by name."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys or ("name",))}
