"""A model, its training snapshot and a payload folder, in a real store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from modelyard.api.artifacts import LATEST, MODEL_FILE, MODEL_MEDIA_TYPE, monitor_key
from modelyard.api.identity import canonical_json
from modelyard.api.monitor import MonitorSpec
from modelyard.api.records import DATASET_MEDIA_TYPE, SNAPSHOT_FILE, MonitorRecord
from modelyard.api.runs import MonitorConfig
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.model.format import (
    CategoricalEncoding,
    EncoderDocument,
    FeatureSchema,
    MemberDocument,
    ModelDocument,
    NumericEncoding,
)
from modelyard_runtimes.monitor.look import look
from modelyard_runtimes.payloads import chunk_name
from modelyard_runtimes.store import Store, open_store

START = datetime(2026, 1, 1, tzinfo=UTC)


def model_document(types: Mapping[str, Any], **changes: Any) -> ModelDocument:
    fields: dict[str, Any] = {
        "task": "Regression",
        "target": "y",
        "features": [
            FeatureSchema(name=name, type=kind, required=False) for name, kind in types.items()
        ],
        "encoders": [
            EncoderDocument(
                numeric=NumericEncoding(fill=[], mean=[], scale=[]),
                categorical=CategoricalEncoding(style="Ordinal", levels=[]),
            )
        ],
        "members": [
            MemberDocument(
                type="Linear", learner="linear", trial=0, weight=1, encoder=0, file="0.npy"
            )
        ],
        **changes,
    }
    return ModelDocument(**fields)


@dataclass
class Watched:
    """A deployment with logged requests, and the monitor that watches it."""

    store: Store
    config: MonitorConfig
    clock: datetime = START
    logged: int = 0
    digests: list[str] = field(default_factory=list)

    def log(
        self, rows: Sequence[Mapping[str, Any]], model_digest: str = "", tail: str = ""
    ) -> None:
        """Log rows, ten a request, as one chunk a minute after the last one."""
        self.clock += timedelta(minutes=1)
        lines = []
        for start in range(0, len(rows), 10):
            self.logged += 1
            time = self.clock + timedelta(milliseconds=start)
            record = {
                "id": str(self.logged),
                "time": time.isoformat(timespec="microseconds"),
                "modelVersion": "v",
                "modelDigest": model_digest or self.config.model_digest,
                "instances": list(rows[start : start + 10]),
                "predictions": [0.0] * len(rows[start : start + 10]),
            }
            lines.append(json.dumps(record) + "\n")
        key = self.config.payload_uri.removeprefix(f"{self.store.uri}/")
        name = chunk_name(self.clock, "1-ab")
        self.store.write_record(f"{key}/{name}", ("".join(lines) + tail).encode())

    def look(self, **changes: Any) -> MonitorRecord:
        look(self.config.model_copy(update=changes), self.store)
        return self.record()

    def record(self) -> MonitorRecord:
        key = monitor_key(self.config.namespace, self.config.name)
        return MonitorRecord.model_validate_json(self.store.read_bytes(f"{key}/{LATEST}"))


Watch = Callable[..., Watched]


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """Packs a model and a snapshot and returns what watches them."""

    def make(
        types: Mapping[str, str],
        reference: Mapping[str, Any],
        spec: Mapping[str, Any] | None = None,
        **model: Any,
    ) -> Watched:
        store = open_store(StoreConfig(uri=f"file://{tmp_path}/store"))
        packed = store.put_artifact(
            MODEL_MEDIA_TYPE,
            {MODEL_FILE: canonical_json(model_document(types, **model).to_json())},
        )
        file = tmp_path / SNAPSHOT_FILE
        pq.write_table(pa.table(dict(reference)), file)
        snapshot = store.put_artifact(DATASET_MEDIA_TYPE, {SNAPSHOT_FILE: file})
        config = MonitorConfig(
            namespace="default",
            name="watch",
            deployment="churn",
            spec=MonitorSpec.model_validate({"deploymentRef": {"name": "churn"}, **(spec or {})}),
            model_uri=packed.uri,
            model_digest=packed.digest,
            snapshot_uri=snapshot.uri,
            snapshot_digest=snapshot.digest,
            payload_uri=f"{store.uri}/payloads/default/churn",
            store=StoreConfig(uri=store.uri),
        )
        return Watched(store, config)

    return make
