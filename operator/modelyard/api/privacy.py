"""What becomes of personal data in snapshots, reports and logged requests."""

from __future__ import annotations

from typing import Literal

PrivacyAction = Literal["Allow", "Mask", "Hash", "Drop"]
