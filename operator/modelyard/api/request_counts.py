"""Requests per second: who counts them, and under which names."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

REQUESTS_METRIC = "modelyard_requests_total"
"""Counter of a model server: requests answered, by protocol and status."""
NOT_A_PREDICTION = "other"
"""Protocol of requests for no prediction: readiness, metadata, metrics, what is unknown."""
COUNTS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder where processes add up their metrics: each tells all."""
OF_THE_DEPLOYMENT = frozenset({"namespace", "service"})
OF_ITS_GATEWAY = frozenset({"hostname", "route"})


@dataclass(frozen=True)
class RequestCounts:
    """Where an autoscaler reads how many requests come; nowhere where nothing is set.

    Attributes:
        prometheus_url: The Prometheus that an autoscaler asks.
        idle_query: PromQL of the requests per second that come for a Deployment, whether or not
            it has a replica; $namespace, $service, $hostname and $route stand for its own.
    """

    prometheus_url: str = ""
    idle_query: str = ""

    @property
    def at_the_gateway(self) -> bool:
        """Return whether requests without a replica are counted by a Gateway alone."""
        return bool(OF_ITS_GATEWAY & set(Template(self.idle_query).get_identifiers()))


NOT_COUNTED = RequestCounts()


def idle_query(text: str) -> str:
    """Return a query whose placeholders are all known.

    Raises:
        ValueError: one is not; the message says which there are.
    """
    template = Template(text)
    known = OF_THE_DEPLOYMENT | OF_ITS_GATEWAY
    unknown = sorted(set(template.get_identifiers()) - known)
    if unknown or not template.is_valid():
        names = ", ".join(f"${name}" for name in sorted(known))
        found = f"${unknown[0]}" if unknown else "a $ that begins no name"
        raise ValueError(f"{found} stands for nothing; use {names}, and $$ for a $ itself")
    return text
