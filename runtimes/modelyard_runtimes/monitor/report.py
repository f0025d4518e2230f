"""Renders Evidently's data drift report of the window against the training snapshot."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from modelyard.api.artifacts import MODEL_FILE
from modelyard.api.monitor import DriftMetric
from modelyard.api.records import REPORT_MEDIA_TYPE, SNAPSHOT_FILE
from modelyard.api.runs import MonitorConfig

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model.format import ModelDocument
from modelyard_runtimes.monitor.comparison import NUMERIC, Values
from modelyard_runtimes.monitor.features import choose, reference_columns, window_columns
from modelyard_runtimes.store import Store

REPORT_FILE = "evidently.html"


def put_report(config: MonitorConfig, store: Store, rows: Sequence[Mapping[str, Any]]) -> str:
    """Store Evidently's report as an artifact and return the URI of its HTML file.

    Args:
        config: Model and snapshot that the rows are compared with.
        store: Where the report goes.
        rows: Values by feature of each logged row.

    Raises:
        RunFailure: Evidently is not installed, or there are no rows.
    """
    if find_spec("evidently") is None:
        raise RunFailure(
            "BackendMissing",
            "spec.report.token asks for an Evidently report and Evidently is not installed; "
            "install modelyard-runtimes[evidently]",
        )
    if not rows:
        raise RunFailure(
            "NoData",
            "spec.report.token asks for an Evidently report and no request of this model was "
            "logged yet; send requests",
            retryable=True,
        )
    model = ModelDocument.model_validate_json(
        store.open_artifact(config.model_uri, config.model_digest).read(MODEL_FILE)
    )
    types, _ = choose(model, get_args(DriftMetric))
    snapshot = store.open_artifact(config.snapshot_uri, config.snapshot_digest).path(SNAPSHOT_FILE)
    max_rows = config.spec.drift.reference.max_rows
    html = render(types, window_columns(rows, types), reference_columns(snapshot, types, max_rows))
    return f"{store.put_artifact(REPORT_MEDIA_TYPE, {REPORT_FILE: html}).uri}/{REPORT_FILE}"


def render(
    types: Mapping[str, str], window: Mapping[str, Values], reference: Mapping[str, Values]
) -> bytes:
    """Return Evidently's data drift report as HTML.

    Args:
        types: Numeric, Ordinal, Categorical or Boolean, by feature.
        window: Values of the logged requests by feature.
        reference: Values of the training snapshot by feature.
    """
    # Loading Evidently takes many seconds.
    import pandas as pd  # noqa: PLC0415
    from evidently import (  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: PLC0415
        DataDefinition,
        Dataset,
        Report,
    )
    from evidently.presets import (  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: PLC0415
        DataDriftPreset,
    )

    numeric = [name for name, kind in types.items() if kind == NUMERIC]
    definition = DataDefinition(
        numerical_columns=numeric,
        categorical_columns=[name for name in types if name not in numeric],
    )

    def data_set(columns: Mapping[str, Values]) -> Any:
        frame = pd.DataFrame(dict(columns))
        frame[numeric] = frame[numeric].astype("float64")
        return Dataset.from_pandas(frame, data_definition=definition)

    snapshot = Report([DataDriftPreset()]).run(data_set(window), data_set(reference))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / REPORT_FILE
        snapshot.save_html(str(path))
        return path.read_bytes()
