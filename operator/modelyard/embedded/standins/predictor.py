"""What an InferenceService asks for, and which of its model servers have to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from modelyard.api.quantity import amount
from modelyard.embedded.client import Object
from modelyard.embedded.standins.attempts import Attempt
from modelyard.embedded.standins.autoscaler import Scaling
from modelyard.embedded.standins.containers import CONTAINER_SHAPE, module_command
from modelyard.embedded.standins.requests import METRICS_URL
from modelyard.embedded.standins.shapes import ANY, Shape, require, require_supported
from modelyard.embedded.standins.volumes import (
    CONFIG_VOLUMES_SHAPE,
    ConfigVolume,
    config_volumes,
)

PREDICTOR_PATH = "spec.predictor.containers[0]"
INFERENCE_SERVICE_SHAPE: Shape = {
    "predictor": {
        "containers": [
            {**CONTAINER_SHAPE, "ports": ANY, "readinessProbe": ANY, "startupProbe": ANY}
        ],
        "minReplicas": ANY,
        "maxReplicas": ANY,
        "scaleMetric": ANY,
        "scaleTarget": ANY,
        "autoScaling": {
            "metrics": [
                {
                    "type": ANY,
                    "external": {
                        "metric": {"backend": ANY, "serverAddress": ANY, "query": ANY},
                        "target": {"type": ANY, "value": ANY},
                    },
                }
            ]
        },
        "serviceAccountName": ANY,
        "securityContext": ANY,
        "nodeSelector": ANY,
        "tolerations": ANY,
        "affinity": ANY,
        "volumes": CONFIG_VOLUMES_SHAPE,
        "terminationGracePeriodSeconds": ANY,
    }
}
"""Probes mean nothing here: a server reports its readiness itself, see processes.Launch."""

STABLE_SECONDS = 10.0
"""How long a server must have run for its end not to count as one more crash in a row."""
MOST_BACKOFF_SECONDS = 30.0


@dataclass(frozen=True)
class Revision:
    """One version of the predictor.

    Attributes:
        digest: Digest of its container, and of which ConfigMaps it mounts; not of what they hold.
        container: The container, with references to secrets, not their values.
        command: Program and arguments.
        grace: Seconds that a server has to answer what it was asked before it is killed.
        number: Counts the changes of the predictor from 1; 0 while that is not known.
        replicas: How many servers run; each is one process.
        scaling: By what their number varies; None where it is fixed.
        counted: Whether its servers add up how many requests they answer.
        volumes: The ConfigMaps that it mounts.
    """

    digest: str
    container: Object
    command: tuple[str, ...]
    grace: float = 30.0
    number: int = 0
    replicas: int = 1
    scaling: Scaling | None = None
    counted: bool = False
    volumes: tuple[ConfigVolume, ...] = ()


def parse_inference_service(spec: Object, python: str, allowed_modules: Sequence[str]) -> Revision:
    """Return the revision that an InferenceService's spec asks for.

    Raises:
        Unsupported: it asks for what the embedded plane does not do.
    """
    require_supported(spec, INFERENCE_SERVICE_SHAPE, "spec")
    predictor = spec.get("predictor") or {}
    fewest = predictor.get("minReplicas", 1)
    may_rest = fewest == 0 and "autoScaling" in predictor
    remedy = "use 1 or more, or autoScaling that follows requests"
    require(fewest >= 1 or may_rest, "spec.predictor.minReplicas", remedy)
    containers = predictor.get("containers") or []
    require(len(containers) == 1, "spec.predictor.containers", "use exactly one container")
    grace = predictor.get("terminationGracePeriodSeconds", 30)
    volumes = config_volumes(predictor.get("volumes") or [], containers[0], PREDICTOR_PATH)
    revision = revision_of(containers[0], python, allowed_modules, grace, volumes)
    scaling = _scaling(predictor, containers[0])
    if scaling is not None and scaling.measure == "requests":
        # Servers that count alone are others: their counts cannot be added up.
        revision = replace(revision, digest=f"{revision.digest}-counted", counted=True)
    return replace(revision, replicas=fewest, scaling=scaling)


def _scaling(predictor: Object, container: Object) -> Scaling | None:
    """Return by what the number of servers varies.

    Raises:
        Unsupported: by another metric than CPU or requests, or as a share of nothing.
    """
    fewest = predictor.get("minReplicas", 1)
    most = predictor.get("maxReplicas") or fewest
    if most <= fewest:
        return None
    if "autoScaling" in predictor:
        return Scaling(fewest, most, _requests_target(predictor), "requests")
    require(predictor.get("scaleMetric") == "cpu", "spec.predictor.scaleMetric", "use cpu")
    percent = predictor.get("scaleTarget") or 0
    require(percent >= 1, "spec.predictor.scaleTarget", "use 1 or more")
    requested = ((container.get("resources") or {}).get("requests") or {}).get("cpu")
    path = f"{PREDICTOR_PATH}.resources.requests.cpu"
    require(requested is not None, path, "use the amount that scaleTarget is a share of")
    return Scaling(fewest, most, float(amount(str(requested))) * percent / 100)


def _requests_target(predictor: Object) -> float:
    """Return how many requests a second each server should answer.

    Raises:
        Unsupported: something else is to be followed.
    """
    path = "spec.predictor.autoScaling.metrics"
    metrics = predictor["autoScaling"].get("metrics") or []
    require(len(metrics) == 1, path, "use exactly one metric")
    external = metrics[0].get("external") or {}
    metric, target = external.get("metric") or {}, external.get("target") or {}
    require(metrics[0].get("type") == "External", f"{path}[0].type", "use External")
    address = f"{path}[0].external.metric.serverAddress"
    require(metric.get("serverAddress") == METRICS_URL, address, f"use {METRICS_URL}")
    wanted = amount(str(target.get("value") or 0))
    require(wanted > 0, f"{path}[0].external.target.value", "use more than 0")
    return float(wanted)


def revision_of(
    container: Object,
    python: str,
    allowed_modules: Sequence[str],
    grace: float = 30.0,
    volumes: tuple[ConfigVolume, ...] = (),
) -> Revision:
    """Return the revision of a container.

    Raises:
        Unsupported: the container runs another command than an allowed module.
    """
    words = [*container.get("command", []), *container.get("args", [])]
    command = module_command(python, words, allowed_modules, f"{PREDICTOR_PATH}.command")
    text = json.dumps(container, sort_keys=True)
    for volume in volumes:
        text += f" {volume.name}={volume.config_map}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Revision(digest, container, command, grace, volumes=volumes)


@dataclass(frozen=True)
class Plan:
    """Which servers run, which are due and which have to go.

    Attributes:
        serving: The ready servers of the revision asked for.
        previous: The ready server of an earlier revision that serves until then.
        start: Digests of revisions that need a server, and when it may start (epoch seconds).
        stop: Servers that have to go.
        starting: Whether a server is to be asked again soon whether it is ready.
        failure: The last server of the revision asked for, when it keeps that from being served.
    """

    serving: list[Attempt] = field(default_factory=list)
    previous: Attempt | None = None
    start: dict[str, float] = field(default_factory=dict)
    stop: list[Attempt] = field(default_factory=list)
    starting: bool = False
    failure: Attempt | None = None


def plan(digest: str, replicas: int, attempts: Sequence[Attempt]) -> Plan:
    """Return what to do for a revision to be served, given the servers so far.

    The revision that was ready last serves on, and is started again if it must, until a server of
    the revision asked for is ready; then further ones start, one after the other. Where none is
    wanted, all have to go.
    """
    active = [attempt for attempt in attempts if attempt.running and not attempt.stop_reason]
    if replicas == 0:
        return Plan(stop=active)
    wanted_servers = [a for a in active if digest_of(a) == digest]
    serving = [a for a in wanted_servers if a.ready]
    if serving:
        stay = sorted(wanted_servers, key=lambda attempt: not attempt.ready)[:replicas]
        return Plan(
            serving=[a for a in serving if a in stay],
            start={digest: _due(digest, attempts)} if len(stay) < replicas else {},
            stop=[a for a in active if a not in stay],
            starting=any(not attempt.ready for attempt in stay),
        )
    last_ready = last_ready_of(attempts)
    wanted = [digest]
    if last_ready is not None and digest_of(last_ready) != digest:
        wanted.append(digest_of(last_ready))
    kept = {key: _last([a for a in active if digest_of(a) == key]) for key in wanted}
    return Plan(
        previous=_last([a for a in kept.values() if a is not None and a.ready]),
        start={key: _due(key, attempts) for key, attempt in kept.items() if attempt is None},
        stop=[a for a in active if not any(a is other for other in kept.values())],
        starting=any(not attempt.ready for attempt in active),
        failure=next(iter(_failures(digest, attempts)), None),
    )


def last_ready_of(attempts: Sequence[Attempt]) -> Attempt | None:
    """Return the server that became ready last, running or over."""
    return _last([attempt for attempt in attempts if attempt.ready])


def digest_of(attempt: Attempt) -> str:
    """Return the digest of the revision that a server runs."""
    return str(attempt.labels["digest"])


def _last(attempts: Sequence[Attempt]) -> Attempt | None:
    return attempts[-1] if attempts else None


def _failures(digest: str, attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the crashes in a row that a revision's servers ended with, latest first.

    The first one of a server that had been ready does not count: it is started again at once.
    """
    crashes: list[Attempt] = []
    for attempt in reversed([a for a in attempts if digest_of(a) == digest and not a.running]):
        if attempt.stop_reason or _was_stable(attempt):
            break
        crashes.append(attempt)
    return crashes[:-1] if crashes and crashes[-1].ready else crashes


def _was_stable(attempt: Attempt) -> bool:
    lasted = (attempt.finished_at or attempt.started_at) - attempt.started_at
    return attempt.ready and lasted >= STABLE_SECONDS


def _due(digest: str, attempts: Sequence[Attempt]) -> float:
    """Return when a server may start: at once, or after repeated crashes ever later."""
    failures = _failures(digest, attempts)
    if not failures or failures[0].finished_at is None:
        return 0.0
    return failures[0].finished_at + min(MOST_BACKOFF_SECONDS, 2.0 ** (len(failures) - 1))
