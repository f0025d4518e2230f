"""What a window of logged rows says about drift."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelyard.api.monitor import Drift, FeatureDrift

from modelyard_runtimes.model.format import ModelDocument
from modelyard_runtimes.monitor.comparison import (
    Finding,
    add,
    compare_windows,
    reference_of,
    window_of,
)
from modelyard_runtimes.monitor.features import choose, reference_columns, window_columns

MAX_WORST = 10


@dataclass(frozen=True)
class Look:
    """The findings of one look.

    Attributes:
        findings: What was found, by compared feature.
        not_compared: Why a feature is not compared, by feature.
        min_features: Features that must drift before drift is said to be found.
    """

    findings: Mapping[str, Finding]
    not_compared: dict[str, str]
    min_features: int

    @property
    def drifted(self) -> list[str]:
        """Names of the features that drifted, the one that drifted most first."""
        names = [name for name, finding in self.findings.items() if finding.drifted]
        return sorted(names, key=lambda name: (-self.findings[name].effect, name))

    @property
    def drifts(self) -> bool:
        """Whether enough features drifted."""
        return len(self.drifted) >= self.min_features

    def worst(self) -> list[FeatureDrift]:
        """Return the ten features that drifted most."""
        return [
            FeatureDrift(
                feature=name,
                test=self.findings[name].test,
                statistic=_text(self.findings[name].statistic),
                p_value=_text(self.findings[name].corrected),
            )
            for name in self.drifted[:MAX_WORST]
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers of all compared features; null for an effect that has no bound."""
        numbers = {name: asdict(finding) for name, finding in self.findings.items()}
        for finding in numbers.values():
            finding["effect"] = finding["effect"] if math.isfinite(finding["effect"]) else None
        return numbers


def look_at(
    model: bytes, snapshot: Path, batches: Iterable[Sequence[Mapping[str, Any]]], drift: Drift
) -> Look:
    """Return what logged rows say about drift.

    Args:
        model: Bytes of the model's model.json.
        snapshot: Local path of the training snapshot.
        batches: Values by feature of each logged row, of one batch after the other.
        drift: Metrics, levels and thresholds.
    """
    types, not_compared = choose(ModelDocument.model_validate_json(model), drift.metrics)
    columns = reference_columns(snapshot, types, drift.reference.max_rows)
    references = {name: reference_of(kind, columns.pop(name)) for name, kind in types.items()}
    windows = {name: window_of(reference) for name, reference in references.items()}
    for rows in batches:
        for name, values in window_columns(rows, types).items():
            add(windows[name], values)
    return Look(compare_windows(references, windows, drift), not_compared, drift.min_features)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
