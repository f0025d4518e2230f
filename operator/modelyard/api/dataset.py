"""Dataset: a source turned into one immutable, validated, fingerprinted snapshot."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.compute import Resources
from modelyard.api.meta import (
    Column,
    Digest,
    Duration,
    Model,
    Name,
    NameReference,
    Rule,
    Run,
    RunStatus,
    SecretKeyReference,
    Status,
    Text,
    Verdict,
    named_list,
)
from modelyard.api.privacy import PrivacyAction

ColumnType = Literal[
    "Numeric", "Categorical", "Ordinal", "Boolean", "Datetime", "Text", "Image", "Identifier"
]
Format = Literal["Auto", "CSV", "TSV", "JSON", "JSONLines", "Parquet", "XLSX"]
Builtin = Literal["breast_cancer", "diabetes", "digits", "iris", "wine"]


NULL_VALUES = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]
"""Texts that mean a missing value where nothing else is declared."""
TRUE_TEXTS = ("true", "t", "yes", "y", "on", "1")
"""Texts that mean true in a Boolean column, in any case."""
FALSE_TEXTS = ("false", "f", "no", "n", "off", "0")
"""Texts that mean false there."""


class Source(Model):
    """Where the rows come from: exactly one of path, uri and builtin."""

    cel_rules = (
        Rule(
            "[has(self.path), has(self.uri), has(self.builtin)].filter(x, x).size() == 1",
            "set exactly one of path, uri and builtin",
        ),
        Rule(
            "!has(self.uri) || has(self.connectionRef)",
            "an s3:// uri needs connectionRef; name an entry of the Project's spec.connections",
            ".connectionRef",
        ),
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="A file, or a directory of mixed files, relative to the applied "
        "directory or absolute.",
    )
    uri: str | None = Field(
        default=None,
        max_length=1024,
        pattern=r"^s3://[^/]+(/.*)?$",
        description="An object or a prefix in an S3 bucket, s3://bucket/prefix.",
    )
    builtin: Builtin | None = Field(
        default=None, description="A data set that comes with scikit-learn."
    )
    connection_ref: NameReference | None = Field(
        default=None, description="Entry of the Project's spec.connections that opens the uri."
    )
    format: Format = Field(
        default="Auto", description="Format of the files; Auto looks at names and content."
    )
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="Field delimiter of CSV files; found when unset.",
    )
    encoding: str | None = Field(
        default=None,
        max_length=40,
        description="Text encoding, for example utf-8; found when unset.",
    )
    null_values: list[Text] = Field(
        default=NULL_VALUES,
        max_length=50,
        description="Texts that mean a missing value, after trimming white space.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class ColumnSchema(Model):
    """The declared type of a column, instead of the inferred one."""

    cel_rules = (
        Rule(
            "!has(self.order) || self.type == 'Ordinal'",
            "only a column of type Ordinal has an order; set type to Ordinal or remove order",
            ".order",
        ),
    )
    name: Column = Field(description="Name of the column.")
    type: ColumnType = Field(
        description="Type that the column is read as; what does not fit is quarantined."
    )
    required: bool = Field(
        default=True, description="Whether a snapshot without this column is refused."
    )
    order: list[Text] | None = Field(
        default=None,
        min_length=2,
        max_length=100,
        description="All values of an Ordinal column, the lowest first; known scales, such as "
        "low, medium, high, are recognised when unset.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class Schema(Model):
    """Types of columns: inferred, with declared ones on top."""

    columns: list[ColumnSchema] = Field(
        default=[],
        max_length=2000,
        description="Declared columns; all others are inferred.",
        json_schema_extra=named_list(),
    )


class Sample(Model):
    """Keeps a part of the rows, chosen by content so that file order does not matter."""

    cel_rules = (
        Rule(
            "self.method != 'Stratified' || has(self.by)",
            "a stratified sample needs by; name the column whose ratio is kept",
            ".by",
        ),
    )
    method: Literal["Random", "Stratified"] = Field(
        default="Random",
        description="Random, or Stratified to keep the ratio of a column's values.",
    )
    rows: int = Field(ge=1, le=1_000_000_000, description="How many rows to keep.")
    by: Column | None = Field(default=None, description="Column whose value ratio is kept.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of the choice.")


class Expectation(Model):
    """A rule that the data must satisfy, and what happens to rows that break it."""

    cel_rules = (
        Rule(
            "self.type in ['RowCount', 'ColumnsPresent', 'PrimaryKey', 'NoDuplicateRows', "
            "'Sql'] || "
            "has(self.column)",
            "this type of expectation needs column; name the column it looks at",
            ".column",
        ),
        Rule(
            "!(self.type in ['ColumnsPresent', 'PrimaryKey']) || (has(self.columns) && "
            "self.columns.size() > 0)",
            "ColumnsPresent and PrimaryKey need columns; list the column names",
            ".columns",
        ),
        Rule(
            "!(self.type in ['Range', 'Length', 'Mean', 'RowCount', 'UniqueCount']) || "
            "has(self.min) || has(self.max)",
            "set min, max or both",
        ),
        Rule(
            "!has(self.min) || !has(self.max) || self.min <= self.max",
            "min must not exceed max",
            ".min",
        ),
        Rule("self.type != 'Regex' || has(self.pattern)", "Regex needs pattern", ".pattern"),
        Rule(
            "self.type != 'OneOf' || (has(self.values) && self.values.size() > 0)",
            "OneOf needs values",
            ".values",
        ),
        Rule("self.type != 'Type' || has(self.columnType)", "Type needs columnType", ".columnType"),
        Rule("self.type != 'Freshness' || has(self.maxAge)", "Freshness needs maxAge", ".maxAge"),
        Rule("self.type != 'Sql' || has(self.expression)", "Sql needs expression", ".expression"),
        Rule(
            "self.type != 'MaxNullFraction' || has(self.max)",
            "MaxNullFraction needs max, a fraction between 0 and 1",
            ".max",
        ),
        Rule(
            "!(self.onFail == 'Quarantine' && self.type in "
            "['RowCount', 'ColumnsPresent', 'Mean', 'UniqueCount', 'MaxNullFraction', "
            "'Freshness', 'Monotonic'])",
            "this type looks at the whole column or table, no row can be quarantined; use "
            "Block or Warn",
            ".onFail",
        ),
    )
    name: Name = Field(description="Name of the expectation, shown in the report.")
    type: Literal[
        "NotNull",
        "Unique",
        "Range",
        "Regex",
        "OneOf",
        "Type",
        "Length",
        "RowCount",
        "ColumnsPresent",
        "PrimaryKey",
        "NoDuplicateRows",
        "Freshness",
        "Monotonic",
        "MaxNullFraction",
        "Mean",
        "UniqueCount",
        "Sql",
    ] = Field(description="What is checked.")
    column: Column | None = Field(default=None, description="Column that is checked.")
    columns: list[Column] = Field(
        default=[],
        max_length=200,
        description="Columns of ColumnsPresent and PrimaryKey.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    min: float | None = Field(
        default=None, description="Least value, length, mean or count, inclusive."
    )
    max: float | None = Field(
        default=None, description="Greatest value, length, mean, count or null fraction, inclusive."
    )
    pattern: Text | None = Field(
        default=None, description="Regular expression that whole values must match."
    )
    values: list[Text] = Field(
        default=[], max_length=1000, description="Allowed values of OneOf, as text."
    )
    column_type: ColumnType | None = Field(default=None, description="Type that Type asks for.")
    max_age: Duration | None = Field(
        default=None, description="Freshness: the newest timestamp may be at most this old."
    )
    expression: Text | None = Field(
        default=None,
        description="Sql: an expression over the columns that is true for every good row.",
    )
    on_fail: Literal["Block", "Warn", "Quarantine"] = Field(
        default="Block",
        description="Block holds everything downstream, Warn reports, Quarantine sets the "
        "bad rows apart.",
    )


class PrivacyColumn(Model):
    """What happens to the values of a column before anything downstream sees them."""

    name: Column = Field(description="Name of the column.")
    action: PrivacyAction = Field(
        description="Allow keeps values, Mask replaces them, Hash replaces them by a keyed "
        "hash, Drop removes the column."
    )


class Privacy(Model):
    """Personal data: whether it is looked for, and what is done about it."""

    cel_rules = (
        Rule(
            "!self.columns.exists(c, c.action == 'Hash') || has(self.keyRef)",
            "the action Hash needs privacy.keyRef; name a key of a Secret",
            ".keyRef",
        ),
    )
    detection: Literal["Enabled", "Disabled"] = Field(
        default="Enabled", description="Whether columns are searched for personal data."
    )
    columns: list[PrivacyColumn] = Field(
        default=[],
        max_length=500,
        description="Declared actions by column; they hold for snapshots, reports and logged "
        "payloads.",
        json_schema_extra=named_list(),
    )
    key_ref: SecretKeyReference | None = Field(
        default=None, description="Key of a Secret that the action Hash uses."
    )


class DatasetSpec(Model):
    """Desired state of a Dataset."""

    description: Text = Field(default="", description="What the rows are, in a sentence.")
    source: Source = Field(description="Where the rows come from.")
    schema_: Schema = Field(
        default=Schema(),
        alias="schema",
        description="Types of columns; inferred where not declared.",
    )
    sample: Sample | None = Field(
        default=None, description="Keeps a part of the rows; all when unset."
    )
    expectations: list[Expectation] = Field(
        default=[],
        max_length=200,
        description="Rules the data must satisfy.",
        json_schema_extra=named_list(),
    )
    privacy: Privacy = Field(
        default=Privacy(), description="Detection of personal data and actions."
    )
    resources: Resources = Field(
        default=Resources(),
        description="What the pod that takes the snapshot asks for; it does not change the rows.",
    )
    run: Run = Field(default=Run(), description="Asks for a new snapshot by a new token.")
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description="Whether the run records of this object stay in the store when it is deleted.",
    )
    suspend: bool = Field(
        default=False, description="Whether the run is stopped; it starts afresh when it goes on."
    )


class ColumnProfile(Model):
    """A column of the snapshot as inferred, in numbers."""

    name: Column = Field(description="Name of the column.")
    type: ColumnType = Field(description="Type, declared or inferred.")
    reason: Text = Field(default="", description="Why the type was inferred.")
    nulls: int = Field(default=0, ge=0, description="Number of missing values.")
    distinct: int = Field(default=0, ge=0, description="Number of distinct values.")
    order: list[Text] | None = Field(
        default=None, max_length=100, description="Values of an Ordinal column, the lowest first."
    )


class PersonalData(Model):
    """A column that seems to hold personal data."""

    column: Column = Field(description="Name of the column.")
    entity: str = Field(
        description="Kind of personal data, for example EMAIL_ADDRESS.", max_length=63
    )
    confidence: float = Field(
        ge=0, le=1, description="Share of looked-at values that match, 0 to 1."
    )
    action: PrivacyAction | None = Field(
        default=None, description="The declared action; none is declared when unset."
    )


class Snapshot(Model):
    """The immutable, canonical form of the rows."""

    uri: str = Field(description="Where the snapshot lies in the artifact store.", max_length=1024)
    digest: Digest = Field(description="Digest of the snapshot artifact.")
    rows: int = Field(ge=0, description="Number of rows kept.")
    columns: int = Field(ge=0, description="Number of columns.")


class Quarantine(Model):
    """Rows set apart, each with a reason; kept plus quarantined equals read."""

    rows: int = Field(ge=0, description="Number of rows set apart.")
    uri: str = Field(
        default="", max_length=1024, description="Where they lie, one JSON object a row."
    )
    reasons: dict[str, int] = Field(
        default={}, description="Number of rows by reason.", json_schema_extra={"maxProperties": 50}
    )


class ExpectationResult(Model):
    """What one expectation found."""

    name: Name = Field(description="Name of the expectation.")
    passed: bool = Field(description="Whether every row, or the table, satisfies it.")
    on_fail: Literal["Block", "Warn", "Quarantine"] = Field(description="The declared consequence.")
    failed_rows: int = Field(default=0, ge=0, description="Number of rows that break it.")
    message: Text = Field(default="", description="What was found, with value and limit.")


class Quality(Model):
    """One number for the state of the data."""

    score: float = Field(
        ge=0,
        le=1,
        description="1 minus the mean of null share, duplicate share and quarantined share.",
    )


class DatasetStatus(Status):
    """Observed state of a Dataset. Lists are cut at the stated lengths, not in the record."""

    run: RunStatus | None = Field(default=None, description="The run of the present spec.")
    fingerprint: Digest | None = Field(
        default=None, description="Digest of the rows, whatever the order of files and row groups."
    )
    snapshot: Snapshot | None = Field(default=None, description="The snapshot of the present spec.")
    schema_: list[ColumnProfile] = Field(
        default=[],
        alias="schema",
        max_length=100,
        description="The first hundred columns.",
    )
    preview: list[Text] = Field(
        default=[], max_length=5, description="The first rows as JSON texts, after privacy actions."
    )
    quarantine: Quarantine | None = Field(default=None, description="Rows set apart.")
    quality: Quality | None = Field(default=None, description="State of the data as a number.")
    expectations: list[ExpectationResult] = Field(
        default=[],
        max_length=50,
        description="Results, failures first.",
    )
    pii: list[PersonalData] = Field(
        default=[],
        max_length=50,
        description="Columns that seem to hold personal data.",
    )
    verdicts: list[Verdict] = Field(
        default=[], max_length=20, description="What the Policies at the dataset gate said."
    )
