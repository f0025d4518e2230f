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


class Families:
    """The metrics of one process, in which each model has series of its own.

    With several worker processes their sum is shown.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "modelyard_requests",
            "Requests answered.",
            ["model", "protocol", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "modelyard_request_duration_seconds",
            "Time from a request's headers to its answer.",
            ["model", "protocol"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.rows = Counter(
            "modelyard_predictions", "Rows predicted.", ["model"], registry=registry
        )
        self.payloads = Counter(
            "modelyard_payload_rows",
            "Rows of the payload log by what became of them.",
            ["model", "outcome"],
            registry=registry,
        )
        self.model_failures = Counter(
            "modelyard_model_failures",
            "Requests that the model failed, by an error that is ours or by no finite number.",
            ["model"],
            registry=registry,
        )
        self.breaker_openings = Counter(
            "modelyard_breaker_openings",
            "Times that the breaker opened.",
            ["model"],
            registry=registry,
        )
        self.fallback_answers = Counter(
            "modelyard_fallback_answers",
            "Requests that the fallback answered.",
            ["model", "reason"],
            registry=registry,
        )
        self.batch_rows = Histogram(
            "modelyard_batch_rows",
            "Rows that were predicted together.",
            ["model"],
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self.info = Gauge(
            "modelyard_model_info",
            "The model that serves; always 1.",
            ["model", "version", "digest"],
            registry=registry,
            multiprocess_mode="max",
        )

    def to_text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        if COUNTS_FOLDER_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)


class LoadMetrics:
    """What a server of many models says of their coming and going."""

    def __init__(self, families: Families) -> None:
        registry = families.registry
        self.loaded = Gauge("modelyard_models_loaded", "Models in memory.", registry=registry)
        self.memory = Gauge(
            "modelyard_models_memory_bytes", "What these take by measure.", registry=registry
        )
        loads = Counter(
            "modelyard_model_loads",
            "Times that a model was loaded, by how that ended.",
            ["result"],
            registry=registry,
        )
        self.successes, self.errors = loads.labels("success"), loads.labels("error")
        self.evictions = Counter(
            "modelyard_model_evictions",
            "Times that a model left since others needed its memory.",
            registry=registry,
        )


class Answered:
    """Counts the answers of one model, or of the server itself where the name is empty."""

    def __init__(self, model: str, families: Families) -> None:
        self._families = families
        self._model = model
        self._by_answer: dict[tuple[str, int], Counter] = {}
        self._by_protocol: dict[str, Histogram] = {}

    def answered(self, protocol: str, status: int, seconds: float) -> None:
        """Count an answered request.

        Args:
            protocol: v1, v2, inference, grpc, batch, explain, or other for what asks for no
                prediction.
            status: HTTP status of the answer.
            seconds: Time it took.
        """
        counter = self._by_answer.get((protocol, status))
        if counter is None:
            # A thread may come here meanwhile, so who finds the one finds the other.
            self._by_protocol[protocol] = self._families.seconds.labels(self._model, protocol)
            counter = self._families.requests.labels(self._model, protocol, str(status))
            self._by_answer[protocol, status] = counter
        counter.inc()
        self._by_protocol[protocol].observe(seconds)

    def to_text(self) -> bytes:
        """Return all metrics of the process in the text format of Prometheus."""
        return self._families.to_text()


class Metrics(Answered):
    """Counters of one model."""

    def __init__(
        self, model: str, version: str, digest: str, families: Families | None = None
    ) -> None:
        """Create the series.

        Args:
            model: Name of the served model, the label `model` of every metric.
            version: ModelVersion that serves.
            digest: Digest of the model.
            families: The metrics of the process; the model is alone where they are left out.
        """
        families = families or Families()
        super().__init__(model, families)
        self._rows = families.rows.labels(model)
        self.payload_rows_written = families.payloads.labels(model, "written")
        self.payload_rows_dropped = families.payloads.labels(model, "dropped")
        self.payload_rows_failed = families.payloads.labels(model, "failed")
        self.model_failures = families.model_failures.labels(model)
        self.breaker_openings = families.breaker_openings.labels(model)
        for reason in get_args(FallbackReason):  # so that the first answer is an increase
            families.fallback_answers.labels(model, reason)
        self.batch_rows = families.batch_rows.labels(model)
        self._labels = (model, version, digest)
        self._serves = False

    def serves(self) -> None:
        """Say that this version serves."""
        self._families.info.labels(*self._labels).set(1)
        self._serves = True

    def retire(self) -> None:
        """Say no more that this version serves; what was counted of the model stays."""
        if self._serves:
            self._families.info.remove(*self._labels)
        self._serves = False

    def predicted(self, rows: int) -> None:
        """Count predicted rows."""
        self._rows.inc(rows)

    def fallback_answers(self, reason: FallbackReason) -> Counter:
        """Return the counter of what the fallback answered for a reason."""
        return self._families.fallback_answers.labels(self._model, reason)
