"""`python -m modelyard.plane`: the operator."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from pathlib import Path

from modelyard.plane.asynchronous_kubernetes import client, config  # isort: skip - before kopf

import kopf

from modelyard.adapters.artifacts import OpenedStores
from modelyard.adapters.clock import SystemClock
from modelyard.adapters.cluster import KubernetesCluster
from modelyard.adapters.prober import HttpProber
from modelyard.adapters.webhook import WebhookNotifier
from modelyard.api.resources import Key
from modelyard.api.runtime import StoreConfig
from modelyard.plane.engine import policy_engine
from modelyard.plane.operator import Operator
from modelyard.plane.queue import WorkQueue
from modelyard.reconcile.context import Ports
from modelyard.reconcile.reconciler import reconcile
from modelyard.tls import shrink_read_buffers

LOGGER = logging.getLogger("modelyard")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m modelyard.plane", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="kubeconfig; in a cluster it is not needed")
    parser.add_argument(
        "--artifact-store",
        required=True,
        help="store of Projects that declare none, file:/// or s3://",
    )
    parser.add_argument("--opa-url", help="OPA's REST API; policies run in process when unset")
    parser.add_argument("--opa-token-file", type=Path, help="file with the bearer token for OPA")
    parser.add_argument("--namespace", action="append", help="watched namespaces; all when unset")
    parser.add_argument("--log-level", default="INFO", help="log level")
    return parser.parse_args(arguments)


async def run(options: argparse.Namespace) -> None:
    """Run the operator until it is told to stop."""
    await _load_config(options.kubeconfig)
    token = options.opa_token_file.read_text().strip() if options.opa_token_file else None
    engine = policy_engine(options.opa_url, token)
    async with client.ApiClient() as api_client:
        ports = Ports(
            cluster=KubernetesCluster(api_client),
            stores=OpenedStores(StoreConfig(uri=options.artifact_store)),
            engine=engine,
            clock=SystemClock(),
            notifier=WebhookNotifier(),
            prober=HttpProber(),
        )

        async def work(key: Key) -> float | None:
            return await reconcile(key, ports)

        queue = WorkQueue(work)
        operator = Operator(queue)
        try:
            # Should the queue ever fail, the group ends kopf too: better restarted than deaf.
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(queue.run()), group.create_task(operator.resync())]
                await kopf.operator(
                    registry=operator.registry(),
                    standalone=True,
                    clusterwide=not options.namespace,
                    namespaces=options.namespace or [],
                )
                for task in background:
                    task.cancel()
        finally:
            await engine.aclose()


async def _load_config(kubeconfig: Path | None) -> None:
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
        return
    if kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(kubeconfig)
    path = str(kubeconfig) if kubeconfig else None
    await config.load_kube_config(config_file=path)  # type: ignore[no-untyped-call]


def main() -> None:
    """Run the operator from the command line."""
    options = parse()
    logging.basicConfig(
        level=options.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    shrink_read_buffers()
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
