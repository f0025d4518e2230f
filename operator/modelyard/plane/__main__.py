"""`python -m modelyard.plane`: the operator."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from modelyard.plane.asynchronous_kubernetes import client, config  # isort: skip - before kopf

from modelyard.adapters.artifacts import OpenedStores
from modelyard.adapters.clock import SystemClock
from modelyard.adapters.cluster import KubernetesCluster
from modelyard.adapters.mlflow import MLflowTracker
from modelyard.adapters.prober import HttpProber
from modelyard.adapters.shared_reads import SharedReads
from modelyard.adapters.webhook import WebhookNotifier
from modelyard.api.request_counts import RequestCounts, idle_query
from modelyard.api.runtime import StoreConfig
from modelyard.build.common import DEFAULT_IMAGES, Images
from modelyard.build.lease import Candidate
from modelyard.plane.engine import policy_engine
from modelyard.plane.leadership import Leadership, LeadershipLost, LeaseLeadership, Unopposed
from modelyard.plane.logs import FORMATS, LEVELS, configure_logs, following_level
from modelyard.plane.metrics import Metrics
from modelyard.plane.operator import Operator
from modelyard.plane.probes import Checks, address, serving
from modelyard.plane.process import Process, stop_at_signals
from modelyard.plane.queue import WorkQueue
from modelyard.plane.watch import Watch
from modelyard.plane.work import OperatorCluster, Reconciling
from modelyard.reconcile.context import Ports
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
    parser.add_argument(
        "--namespace", action="append", default=[], help="watched namespaces; all when unset"
    )
    parser.add_argument(
        "--runtime-image", default=DEFAULT_IMAGES.runtime, help="image that runs and serves"
    )
    parser.add_argument("--ray-image", default=DEFAULT_IMAGES.ray, help="image that runs on Ray")
    parser.add_argument(
        "--image-pull-policy",
        default=DEFAULT_IMAGES.pull_policy,
        choices=("Always", "IfNotPresent", "Never"),
        help="when nodes pull these images",
    )
    parser.add_argument(
        "--prometheus-url",
        type=_web_address,
        metavar="URL",
        help="Prometheus that KEDA asks how many requests model servers answer",
    )
    parser.add_argument(
        "--idle-requests-query",
        type=_query,
        metavar="PROMQL",
        help="requests per second that come for a Deployment, counted where no server has to run; "
        "$namespace, $service, $hostname and $route stand for the Deployment's",
    )
    parser.add_argument(
        "--listen", type=address, metavar="HOST:PORT", help="serve /livez, /readyz and /metrics"
    )
    parser.add_argument(
        "--lease-namespace", help="namespace of the Lease by which one of several operators leads"
    )
    parser.add_argument("--lease-name", default="modelyard-operator", help="name of that Lease")
    parser.add_argument("--log-format", choices=FORMATS, default="text", help="format of the log")
    parser.add_argument(
        "--log-level", choices=LEVELS, type=str.upper, default="INFO", help="log level"
    )
    parser.add_argument(
        "--log-level-file", type=Path, help="file whose text is the log level, whenever it changes"
    )
    return parser.parse_args(arguments)


def _web_address(text: str) -> str:
    """Return a URL of the web.

    Raises:
        ArgumentTypeError: it is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no URL; use http://HOST:PORT or https://HOST"
        )
    return text


def _query(text: str) -> str:
    """Return a query whose placeholders are known.

    Raises:
        ArgumentTypeError: one is not.
    """
    try:
        return idle_query(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


async def run(options: argparse.Namespace) -> None:
    """Run the operator until it is told to stop."""
    stop = asyncio.Event()
    stop_at_signals(stop)
    await _load_config(options.kubeconfig)
    token = options.opa_token_file.read_text().strip() if options.opa_token_file else None
    engine = policy_engine(options.opa_url, token)
    try:
        async with client.ApiClient(_configuration()) as api_client:
            api = KubernetesCluster(api_client)
            leadership = _leadership(options, api)
            queue = WorkQueue()
            operator = Operator(queue)
            metrics = Metrics(queue.depth, operator.readiness, leadership.leads)
            ports = Ports(
                cluster=OperatorCluster(api_client, leadership, operator, metrics),
                shared=api,
                stores=OpenedStores(StoreConfig(uri=options.artifact_store)),
                engine=engine,
                clock=SystemClock(),
                notifier=WebhookNotifier(),
                prober=HttpProber(),
                tracker=MLflowTracker(),
                images=Images(options.runtime_image, options.ray_image, options.image_pull_policy),
                request_counts=RequestCounts(
                    options.prometheus_url or "", options.idle_requests_query or ""
                ),
            )
            watch = Watch(api, operator.registry, options.namespace, partial(stop_at_signals, stop))
            process = Process(leadership, queue, operator, watch, api)
            checks = Checks(process.check_alive, process.check_ready, metrics.text)
            async with following_level(options.log_level_file), serving(options.listen, checks):
                work = Reconciling(ports, SharedReads(api), operator, metrics)
                await process.run(work, stop)
    finally:
        await engine.aclose()


def _leadership(options: argparse.Namespace, api: KubernetesCluster) -> Leadership:
    if options.lease_namespace is None:
        return Unopposed()
    identity = f"{socket.gethostname()}_{uuid4().hex[:8]}"
    candidate = Candidate(options.lease_namespace, options.lease_name, identity)
    return LeaseLeadership(api, candidate, SystemClock())


async def _load_config(kubeconfig: Path | None) -> None:
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
        return
    if kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(kubeconfig)
    path = str(kubeconfig) if kubeconfig else None
    await config.load_kube_config(config_file=path)  # type: ignore[no-untyped-call]


def _configuration() -> client.Configuration:
    """Return the loaded configuration. The environment's proxies are not used: nor does kopf.

    With them, a `.netrc` would be read, in another thread, before each request.
    """
    loaded = client.Configuration.get_default_copy()
    loaded.client_session_kwargs = {"trust_env": False}
    return loaded


def main() -> None:
    """Run the operator from the command line."""
    options = parse()
    configure_logs(options.log_format, options.log_level)
    shrink_read_buffers()
    try:
        asyncio.run(run(options))
    except* LeadershipLost as lost:
        LOGGER.error("%s; ending, to stand by afresh", lost.exceptions[0])  # noqa: TRY400
        sys.exit(1)


if __name__ == "__main__":
    main()
