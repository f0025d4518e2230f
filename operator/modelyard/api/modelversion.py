"""ModelVersion: one immutable model with its evidence; git sets its stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.artifacts import Artifact
from modelyard.api.experiment import Interval
from modelyard.api.meta import Digest, Model, Name, Rule, Status, Text, Verdict

Stage = Literal["None", "Staging", "Production", "Archived"]


class Documentation(Model):
    """What only a person knows about the model; shown in the model card."""

    intended_use: Text = Field(default="", description="What the model is meant for.")
    limitations: Text = Field(default="", description="Where the model must not be used.")
    owner: Text = Field(default="", description="Who answers for the model.")


class Import(Model):
    """A model that was made elsewhere, taken over by its bytes."""

    uri: str = Field(
        max_length=1024,
        pattern=r"^(file:///|s3://).+",
        description="Where the artifact lies: a directory with a manifest.json.",
    )
    digest: Digest = Field(description="Digest that the artifact must have.")


class ModelVersionSpec(Model):
    """Desired state of a ModelVersion. The operator creates a missing one with an empty spec."""

    cel_rules = (
        Rule(
            "has(self.import) == has(oldSelf.import) && (!has(self.import) || self.import == "
            "oldSelf.import)",
            "import is immutable; create a new ModelVersion for other bytes",
            ".import",
        ),
    )
    stage: Stage = Field(default="None", description="Stage that git assigns to this version.")
    documentation: Documentation = Field(
        default=Documentation(), description="What only a person knows about the model."
    )
    import_: Import | None = Field(
        default=None, alias="import", description="Takes over a model made elsewhere."
    )


class Lineage(Model):
    """Where the model comes from."""

    experiment: Name | None = Field(default=None, description="Experiment that found the model.")
    run_identity: str = Field(default="", max_length=64, description="Identity of the run.")
    dataset: Name | None = Field(default=None, description="Dataset that was learned from.")
    data_fingerprint: Digest | None = Field(default=None, description="Fingerprint of the rows.")
    source_revision: str = Field(
        default="", max_length=128, description="Commit of the spec that first started the run."
    )


class GroupDifference(Model):
    """Differences between the groups of one sensitive column on the holdout."""

    column: str = Field(description="The sensitive column.", max_length=256)
    demographic_parity_difference: float | None = Field(
        default=None, description="Largest difference of the rate of positive predictions."
    )
    equalized_odds_difference: float | None = Field(
        default=None, description="Largest difference of true or false positive rates."
    )
    metric_difference: float | None = Field(
        default=None,
        description="Largest difference of the task's metric (regression: of the mean error).",
    )
    exceeded: list[str] = Field(
        default=[],
        max_length=3,
        description="Limits that are exceeded: demographicParity, equalizedOdds, metric.",
    )


class Defect(Model):
    """Something that is amiss with the model, with the number that shows it."""

    name: str = Field(max_length=63, description="What it is, in one CamelCase word.")
    message: Text = Field(description="What was measured, and what to do.")


class ModelVersionStatus(Status):
    """Observed state of a ModelVersion."""

    stage: Stage | None = Field(
        default=None, description="Stage in force: the declared one once its gate is open."
    )
    artifact: Artifact | None = Field(default=None, description="The bytes of the model.")
    task_type: str | None = Field(
        default=None, max_length=32, description="Classification or Regression."
    )
    metrics: dict[str, float] = Field(
        default={},
        description="Holdout metrics by name; equal to a recomputation from the artifacts.",
        json_schema_extra={"maxProperties": 50},
    )
    metric_interval: Interval | None = Field(
        default=None,
        description="Where the optimised metric lies with a confidence of 95 %, by the holdout.",
    )
    fairness: list[GroupDifference] = Field(
        default=[], max_length=20, description="Differences between groups on the holdout."
    )
    defects: list[Defect] = Field(
        default=[], max_length=20, description="What the evidence found amiss."
    )
    lineage: Lineage | None = Field(default=None, description="Where the model comes from.")
    card_uri: str | None = Field(
        default=None, max_length=1024, description="Where the model card lies."
    )
    card_digest: Digest | None = Field(
        default=None,
        description="Digest of the model card as the run wrote it; another card is refused.",
    )
    evidence_uri: str | None = Field(
        default=None,
        max_length=1024,
        description="Where the evidence lies: importance, SHAP, calibration.",
    )
    verdicts: list[Verdict] = Field(
        default=[], max_length=20, description="What the Policies at the promote gate said."
    )
