"""How a model server says why it predicts what it predicts; shared by its configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.meta import Model


class Explainer(Model):
    """How questions for the reasons of a prediction are answered."""

    method: Literal["SHAP", "Disabled"] = Field(
        default="SHAP",
        description="SHAP: what each feature adds to the prediction. Disabled: `:explain` is "
        "answered 404, say since reasons are not for everybody who may predict.",
    )
    max_rows: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Rows that are explained in one request; a row takes hundreds of times as "
        "long as a prediction.",
    )
