"""Who answered instead of the model that serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

FallbackReason: TypeAlias = Literal["ModelFailed", "BreakerOpen"]


@dataclass(frozen=True, slots=True)
class Substitute:
    """A version that answered instead of the one that serves, and why."""

    version: str
    digest: str
    reason: FallbackReason

    def to_json(self) -> dict[str, str]:
        """Return what a line of the payload log says of it."""
        return {"modelVersion": self.version, "modelDigest": self.digest}
