"""What happens on the way between the queue and the reconcilers: it is counted, and told apart."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from kubernetes.aio.client import ApiClient

from modelyard.adapters.cluster import KubernetesCluster
from modelyard.adapters.shared_reads import SharedReads
from modelyard.api.resources import OURS, Key, Resource
from modelyard.plane.leadership import Leadership
from modelyard.plane.logs import correlate
from modelyard.plane.metrics import Metrics
from modelyard.plane.operator import Operator
from modelyard.ports.cluster import Manifest
from modelyard.reconcile.context import Ports
from modelyard.reconcile.reconciler import reconcile

LOGGER = logging.getLogger("modelyard.reconcile")


class OperatorCluster(KubernetesCluster):
    """The cluster as the reconcilers use it: what they find and write is told to the operator."""

    def __init__(
        self, client: ApiClient, leadership: Leadership, operator: Operator, metrics: Metrics
    ) -> None:
        super().__init__(client, may_write=leadership.leads)
        self._operator = operator
        self._metrics = metrics

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """Return an object; one of ours that is gone is forgotten."""
        found = await super().get(resource, namespace, name)
        if found is None and resource.kind in OURS:
            self._operator.forget(Key(resource.kind, namespace, name))
        return found

    async def apply_status(self, resource: Resource, manifest: Manifest) -> None:
        """Replace the status of an object; the event of that wakes nobody."""
        metadata = manifest["metadata"]
        key = Key(resource.kind, metadata["namespace"], metadata["name"])
        self._operator.will_write(key, manifest["status"])
        await super().apply_status(resource, manifest)
        self._metrics.status_written(resource.kind)


class Reconciling:
    """Reconciles one key after the other."""

    def __init__(
        self, ports: Ports, shared: SharedReads, operator: Operator, metrics: Metrics
    ) -> None:
        self._ports = ports
        self._shared = shared
        self._operator = operator
        self._metrics = metrics

    async def __call__(self, key: Key, woken: float) -> float | None:
        """Reconcile an object that was woken; return in how many seconds it wants to be again."""
        correlate(key, self._operator.revision(key))
        start = time.monotonic()
        result = "error"
        try:
            delay = await reconcile(key, replace(self._ports, shared=self._shared.since(woken)))
            result = "success"
        finally:
            took = time.monotonic() - start
            self._metrics.reconciled(key.kind, took, result=result)
        LOGGER.debug("done in %.3f s", took)
        return delay
