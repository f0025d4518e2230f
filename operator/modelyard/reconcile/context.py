"""What every reconcile is given, returns, and may be halted by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from modelyard.api.kinds import BY_NAME
from modelyard.api.meta import API_VERSION, NameReference, Status
from modelyard.api.project import Connection, ProjectSpec
from modelyard.api.request_counts import NOT_COUNTED, RequestCounts
from modelyard.api.resources import OURS
from modelyard.api.runtime import StoreConfig
from modelyard.build.common import AWS_KEYS, DEFAULT_IMAGES, Images
from modelyard.judge.conditions import Fact, Readiness, progressing, stalled
from modelyard.judge.grants import Limited, refusals
from modelyard.ports.artifacts import ArtifactStore, ArtifactStores
from modelyard.ports.clock import Clock
from modelyard.ports.cluster import Cluster, Manifest, Reader
from modelyard.ports.notify import Notifier
from modelyard.ports.policy import PolicyEngine
from modelyard.ports.prober import Prober
from modelyard.ports.tracking import RunTracker
from modelyard.reconcile.pace import Pace


@dataclass(frozen=True)
class Ports:
    """The outside, and the images that run there.

    Attributes:
        cluster: The cluster as it is now: the reconciled object itself, and its children.
        shared: What many reconciles read: Projects, Policies, objects of ours that others refer to.
            It may give all of them one answer, asked for after each of them was woken.
        stores: Artifact stores.
        engine: Evaluates Policies.
        clock: Tells the time.
        notifier: Delivers alerts.
        prober: Asks model servers.
        tracker: Tells tracking servers of runs.
        images: What runs.
        request_counts: Where it is counted how many requests come.
        pace: Whose progress waits, since the status was written just now.
    """

    cluster: Cluster
    shared: Reader
    stores: ArtifactStores
    engine: PolicyEngine
    clock: Clock
    notifier: Notifier
    prober: Prober
    tracker: RunTracker
    images: Images = DEFAULT_IMAGES
    request_counts: RequestCounts = NOT_COUNTED
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True)
class Observation:
    """What a reconcile concluded: the new status, without its conditions, and why."""

    status: Status
    readiness: Readiness
    facts: Sequence[Fact] = ()
    requeue_after: float | None = None


class Halt(Exception):
    """Ends a reconcile early: the status stays as it is but for the conditions."""

    def __init__(self, readiness: Readiness, requeue_after: float | None = None) -> None:
        super().__init__(readiness.message)
        self.readiness = readiness
        self.requeue_after = requeue_after


@dataclass(frozen=True)
class ProjectContext:
    """The Project of a namespace and its artifact store."""

    manifest: Manifest
    spec: ProjectSpec
    store: ArtifactStore
    store_secret: str | None

    def connection(self, name: str, field: str) -> Connection:
        """Return a connection of the Project; `field` is the path that names it."""
        for connection in self.spec.connections:
            if connection.name == name:
                return connection
        raise Halt(
            stalled(
                "ConnectionMissing",
                f"{field}: the Project has no connection {name!r}; add it to spec.connections.",
            )
        )

    def reach(
        self, uri: str | None, reference: NameReference | None, field: str
    ) -> tuple[StoreConfig | None, str | None]:
        """Return how to reach a URI by a connection, and the Secret of that; None without one.

        Args:
            uri: The URI.
            reference: Names the connection.
            field: Path of the field that names it.
        """
        if uri is None or reference is None:
            return None, None
        found = self.connection(reference.name, field)
        secret = found.secret_ref.name if found.secret_ref else None
        return StoreConfig(uri=uri, endpoint=found.endpoint, region=found.region), secret


def check_grants(spec: Limited, project: ProjectContext) -> None:
    """Check that the Project lets an object run.

    Raises:
        Halt: it does not; the message names both fields.
    """
    for refusal in refusals(spec, project.spec):
        raise Halt(stalled(refusal.reason, refusal.message))


async def gather_project(namespace: str, ports: Ports) -> ProjectContext:
    """Return the Project of a namespace.

    Raises:
        Halt: there is none, or its artifact store's Secret is missing.
    """
    manifest = oldest(await ports.shared.list_objects(OURS["Project"], namespace))
    if manifest is None:
        message = f"There is no Project in namespace {namespace}; commit one."
        raise Halt(progressing("ProjectMissing", message))
    try:
        return await open_project(manifest, ports)
    except ValidationError as error:
        fault = f"Project {manifest['metadata']['name']}: {spec_fault('Project', error)}"
        raise Halt(progressing("ProjectNotReady", fault)) from error


async def open_project(manifest: Manifest, ports: Ports) -> ProjectContext:
    """Return a Project with its artifact store opened."""
    spec = ProjectSpec.model_validate(manifest["spec"])
    metadata = manifest["metadata"]
    if spec.artifact_store is None or spec.artifact_store.connection_ref is None:
        uri = spec.artifact_store.uri if spec.artifact_store else None
        config = StoreConfig(uri=uri) if uri else ports.stores.default()
        return ProjectContext(manifest, spec, ports.stores.open(config, {}), None)
    wanted = spec.artifact_store.connection_ref.name
    connection = next(entry for entry in spec.connections if entry.name == wanted)
    config = StoreConfig(
        uri=spec.artifact_store.uri, endpoint=connection.endpoint, region=connection.region
    )
    secret = connection.secret_ref.name if connection.secret_ref else None
    credentials = await read_keys(metadata["namespace"], connection, ports)
    return ProjectContext(manifest, spec, ports.stores.open(config, credentials), secret)


async def read_keys(namespace: str, connection: Connection, ports: Ports) -> dict[str, str]:
    """Return the keys in the Secret of a connection, none without one; halt when one is missing."""
    if connection.secret_ref is None:
        return {}
    name = connection.secret_ref.name
    field = f"spec.connections of the Project: {connection.name}: secretRef"
    data = await ports.cluster.secret(namespace, name)
    if data is None:
        message = f"{field}: Secret {name} is missing in namespace {namespace}; create it."
        raise Halt(progressing("SecretMissing", message), requeue_after=10)
    missing = [key for key in AWS_KEYS if not data.get(key)]
    if missing:
        message = f"{field}: Secret {name} has no key {' and no key '.join(missing)}; add it."
        raise Halt(progressing("SecretMissing", message), requeue_after=10)
    return dict(data)


def spec_fault(kind: str, error: ValidationError) -> str:
    """Return what of a stored spec this version of Modelyard cannot read, and the next step."""
    fault = error.errors()[0]
    wrong = "must be a mapping of fields" if fault["type"] == "model_type" else fault["msg"]
    fields = [str(part) for part in fault["loc"]]
    names = ".".join(["spec", *(part for part in fields if not part.isdigit())])
    explain = f"kubectl explain --api-version={API_VERSION} {BY_NAME[kind].plural}.{names}"
    return (
        f"{'.'.join(['spec', *fields])}: {wrong}; `{explain}` shows what it takes. Commit "
        "that; what server-side apply cannot change, `kubectl replace` can."
    )


def oldest(manifests: Sequence[Manifest]) -> Manifest | None:
    """Return the oldest object, by creation time and then name."""

    def age(manifest: Manifest) -> tuple[str, str]:
        metadata: dict[str, Any] = manifest["metadata"]
        return metadata["creationTimestamp"], metadata["name"]

    return min(manifests, key=age, default=None)
