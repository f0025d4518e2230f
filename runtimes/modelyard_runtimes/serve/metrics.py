"""The server's Prometheus metrics."""

from __future__ import annotations

import os
from typing import get_args

from modelyard.api.request_counts import COUNTS_FOLDER_VARIABLE
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from modelyard_runtimes.serve.substitute import FallbackReason

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one server; with several worker processes their sum is shown."""

    def __init__(self, model: str, version: str, digest: str) -> None:
        """Create the metrics.

        Args:
            model: Name of the served model, the label `model` of every metric.
            version: ModelVersion that serves.
            digest: Digest of the model.
        """
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "modelyard_requests",
            "Requests answered.",
            ["model", "protocol", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "modelyard_request_duration_seconds",
            "Time from a request's headers to its answer.",
            ["model", "protocol"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._rows = Counter(
            "modelyard_predictions", "Rows predicted.", ["model"], registry=self._registry
        ).labels(model)
        payloads = Counter(
            "modelyard_payload_rows",
            "Rows of the payload log by what became of them.",
            ["model", "outcome"],
            registry=self._registry,
        )
        self.payload_rows_written = payloads.labels(model, "written")
        self.payload_rows_dropped = payloads.labels(model, "dropped")
        self.payload_rows_failed = payloads.labels(model, "failed")
        self.model_failures = Counter(
            "modelyard_model_failures",
            "Requests that the model failed, by an error that is ours or by no finite number.",
            ["model"],
            registry=self._registry,
        ).labels(model)
        self.breaker_openings = Counter(
            "modelyard_breaker_openings",
            "Times that the breaker opened.",
            ["model"],
            registry=self._registry,
        ).labels(model)
        self._fallback_answers = Counter(
            "modelyard_fallback_answers",
            "Requests that the fallback answered.",
            ["model", "reason"],
            registry=self._registry,
        )
        for reason in get_args(FallbackReason):  # so that the first answer is an increase
            self._fallback_answers.labels(model, reason)
        self.batch_rows = Histogram(
            "modelyard_batch_rows",
            "Rows that were predicted together.",
            ["model"],
            buckets=BATCH_BUCKETS,
            registry=self._registry,
        ).labels(model)
        Gauge(
            "modelyard_model_info",
            "The model that serves; always 1.",
            ["model", "version", "digest"],
            registry=self._registry,
            multiprocess_mode="max",
        ).labels(model, version, digest).set(1)
        self._model = model
        self._by_answer: dict[tuple[str, int], Counter] = {}
        self._by_protocol: dict[str, Histogram] = {}

    def answered(self, protocol: str, status: int, seconds: float) -> None:
        """Count an answered request.

        Args:
            protocol: v1, v2, inference, grpc, explain, or other for what asks for no prediction.
            status: HTTP status of the answer.
            seconds: Time it took.
        """
        counter = self._by_answer.get((protocol, status))
        if counter is None:
            counter = self._requests.labels(self._model, protocol, str(status))
            self._by_answer[protocol, status] = counter
            self._by_protocol[protocol] = self._seconds.labels(self._model, protocol)
        counter.inc()
        self._by_protocol[protocol].observe(seconds)

    def predicted(self, rows: int) -> None:
        """Count predicted rows."""
        self._rows.inc(rows)

    def fallback_answers(self, reason: FallbackReason) -> Counter:
        """Return the counter of what the fallback answered for a reason."""
        return self._fallback_answers.labels(self._model, reason)

    def to_text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        if COUNTS_FOLDER_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
