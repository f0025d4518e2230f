"""The operator's metrics, named by Prometheus conventions, with labels whose values are few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from modelyard.api.resources import OURS
from modelyard.build.common import CODE_VERSION

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
READY = ("True", "False", "Unknown")

Readiness = Mapping[tuple[str, str], int]


class Metrics:
    """Counts what the operator does; what stands at the moment is asked when it is scraped."""

    def __init__(
        self,
        queue_depth: Callable[[], int],
        readiness: Callable[[], Readiness],
        leads: Callable[[], bool],
    ) -> None:
        """Prepare.

        Args:
            queue_depth: Returns the number of objects that wait to be reconciled.
            readiness: Returns the number of objects by kind and what Ready says.
            leads: Returns whether this process leads.
        """
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._readiness = readiness
        self._reconciles = Counter(
            "modelyard_reconciles", "Reconciles that ended, by kind and result.",
            ["kind", "result"], registry=registry,
        )  # fmt: skip
        self._durations = Histogram(
            "modelyard_reconcile_duration_seconds", "How long reconciles took, by kind.",
            ["kind"], buckets=BUCKETS, registry=registry,
        )  # fmt: skip
        self._status_writes = Counter(
            "modelyard_status_writes", "Statuses that were written, by kind.",
            ["kind"], registry=registry,
        )  # fmt: skip
        for kind in OURS:  # so that rates are known from the first scrape on
            self._status_writes.labels(kind)
            self._durations.labels(kind)
            for result in ("success", "error"):
                self._reconciles.labels(kind, result)
        depth = Gauge(
            "modelyard_queue_depth", "Objects waiting to be reconciled.", registry=registry
        )
        depth.set_function(queue_depth)
        leader = Gauge("modelyard_leader", "Whether this process leads.", registry=registry)
        leader.set_function(leads)
        build = Gauge(
            "modelyard_build_info", "The version, as a label.", ["version"], registry=registry
        )
        build.labels(CODE_VERSION).set(1)
        registry.register(self)

    def reconciled(self, kind: str, seconds: float, *, result: str) -> None:
        """Count a reconcile that ended: with `success` or with `error`."""
        self._reconciles.labels(kind, result).inc()
        self._durations.labels(kind).observe(seconds)

    def status_written(self, kind: str) -> None:
        """Count a status that was written."""
        self._status_writes.labels(kind).inc()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that are counted when they are asked for."""
        objects = GaugeMetricFamily(
            "modelyard_objects", "Objects by kind and by what their condition Ready says.",
            labels=["kind", "ready"],
        )  # fmt: skip
        counts = self._readiness()
        for kind in OURS:
            for ready in READY:
                objects.add_metric([kind, ready], counts.get((kind, ready), 0))
        yield objects

    def text(self) -> bytes:
        """Return all metrics in the text format."""
        return generate_latest(self._registry)
