"""What a runtime is started with: one JSON document in the environment variable MODELYARD_CONFIG.

Each runtime is `python -m modelyard_runtimes.<dataset|train|serve|monitor|batch>`. Exit status 0
means a record was written (or found); 1 a failure.json was; 75 that the store took neither;
anything else that the process was killed. The serve runtime exits with 65 when its smoke test
failed.
Credentials reach it as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (artifact store),
SOURCE_AWS_ACCESS_KEY_ID and SOURCE_AWS_SECRET_ACCESS_KEY (source), OUTPUT_AWS_ACCESS_KEY_ID and
OUTPUT_AWS_SECRET_ACCESS_KEY (output of a batch), MODELYARD_PRIVACY_KEY; all of them from Secrets.

A model server starts by reading this, so only what it needs is here; `runs` has the rest.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.explainer import Explainer
from modelyard.api.meta import Digest, Model
from modelyard.api.smoke_test import SmokeTest
from modelyard.api.traffic import MOST_IN_FLIGHT, Batching, Breaker, RateLimit

CONFIG_VARIABLE = "MODELYARD_CONFIG"
PRIVACY_KEY_VARIABLE = "MODELYARD_PRIVACY_KEY"
UNTOLD_STATUS = 75
"""Exit status of a run that could leave neither record nor failure in the artifact store: the
`EX_TEMPFAIL` of sysexits.h."""
SMOKE_TEST_STATUS = 65
"""Exit status of a model server that fails its smoke test: the `EX_DATAERR` of sysexits.h."""
SMOKE_TEST_FAILED = "the smoke test failed: "
"""What the last line of such a server's output begins with."""

MODEL_VERSION_HEADER = "x-modelyard-model-version"
MODEL_DIGEST_HEADER = "x-modelyard-model-digest"
SERVER_REVISION_HEADER = "x-modelyard-server-revision"
"""Headers of every answer of a model server: who answered."""
FALLBACK_HEADER = "x-modelyard-fallback"
"""Header of an answer that another model gave than the one asked for: why."""


class StoreConfig(Model):
    """How to reach a store."""

    uri: str = Field(description="file:///directory or s3://bucket/prefix.")
    endpoint: str | None = Field(default=None, description="URL of the S3 endpoint.")
    region: str | None = Field(default=None, description="Region of the store.")


class FallbackModel(Model):
    """The model that answers where the served one cannot."""

    model_uri: str = Field(description="URI of the model artifact's folder, in the same store.")
    model_digest: Digest
    model_version: str


class ServeConfig(Model):
    """Configuration of the serve runtime."""

    name: str = Field(description="Model name in the KServe protocols: the Deployment's name.")
    namespace: str
    model_uri: str = Field(description="URI of the model artifact's folder.")
    model_digest: Digest
    model_version: str
    payload_uri: str | None = Field(
        default=None, description="Folder of the payload log; none when unset."
    )
    sample_percent: int = Field(default=100, ge=0, le=100)
    workers: int = Field(default=1, ge=1)
    max_in_flight: int = Field(
        default=MOST_IN_FLIGHT,
        ge=1,
        description="Predictions that each worker has in flight; more get 429 with Retry-After.",
    )
    rate_limit: RateLimit | None = Field(
        default=None, description="Predictions a second of each worker; the same for more."
    )
    breaker: Breaker | None = Field(
        default=None, description="When a model that fails is left alone; never when unset."
    )
    fallback: FallbackModel | None = Field(
        default=None, description="What answers where the model fails; an error when unset."
    )
    batching: Batching | None = Field(
        default=None, description="What is predicted together; every request alone when unset."
    )
    explainer: Explainer | None = Field(
        default=None, description="How `:explain` answers; its defaults when unset."
    )
    smoke_test: SmokeTest | None = Field(
        default=None, description="What the model must answer before the server is ready."
    )
    revision: str = Field(
        default="", description="Names this configuration; every answer of the server says it."
    )
    store: StoreConfig
    source_revision: str = ""


class SharedServeConfig(Model):
    """Configuration of the serve runtime where it serves a folder of models."""

    namespace: str
    memory: int = Field(ge=1, description="Bytes that the models in memory may take together.")
    revision: str = Field(
        default="", description="Names this configuration; no part of it is a model's."
    )
    store: StoreConfig


MODEL_CONFIG_SUFFIX = ".json"
"""How the file of a model in such a folder ends: `<name>.json`, its ServeConfig."""


class LoadFailure(Model):
    """Why a shared server does not serve what it was told to; part of its answer to readiness."""

    revision: str = Field(description="Revision of the ServeConfig that it is about.")
    reason: Literal["ModelLoadFailed", "SmokeTestFailed", "ModelTooLarge"]
    message: str


class ServedModel(Model):
    """What a model server says of itself in the headers of its answers."""

    model_version: str
    model_digest: Digest
    revision: str
    failure: LoadFailure | None = Field(
        default=None, description="What keeps another version from serving instead."
    )
