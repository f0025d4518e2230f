"""The resources Modelyard reads and writes, ours and other people's: group, version, plural."""

from __future__ import annotations

from typing import NamedTuple

from modelyard.api.kinds import KINDS
from modelyard.api.meta import API_VERSION


class Resource(NamedTuple):
    """A namespaced resource of the Kubernetes API."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None = None, name: str = "") -> str:
        """Return the URL path of the collection or, with a name, of one object."""
        root = "/api" if "/" not in self.api_version else "/apis"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}/{self.api_version}{scope}/{self.plural}" + (f"/{name}" if name else "")


class Key(NamedTuple):
    """The one key type: which object of which kind."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.namespace}/{self.name}"


WORKFLOW = Resource("argoproj.io/v1alpha1", "Workflow", "workflows")
CRON_WORKFLOW = Resource("argoproj.io/v1alpha1", "CronWorkflow", "cronworkflows")
RAY_JOB = Resource("ray.io/v1", "RayJob", "rayjobs")
INFERENCE_SERVICE = Resource("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")
HTTP_ROUTE = Resource("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
HORIZONTAL_POD_AUTOSCALER = Resource(
    "autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"
)
SCALED_OBJECT = Resource("keda.sh/v1alpha1", "ScaledObject", "scaledobjects")
POD = Resource("v1", "Pod", "pods")
SECRET = Resource("v1", "Secret", "secrets")
CONFIG_MAP = Resource("v1", "ConfigMap", "configmaps")
EVENT = Resource("v1", "Event", "events")
SERVICE_ACCOUNT = Resource("v1", "ServiceAccount", "serviceaccounts")
RESOURCE_QUOTA = Resource("v1", "ResourceQuota", "resourcequotas")
LIMIT_RANGE = Resource("v1", "LimitRange", "limitranges")
ROLE = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDING = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
NETWORK_POLICY = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
ENDPOINT_SLICE = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
LEASE = Resource("coordination.k8s.io/v1", "Lease", "leases")
LOCAL_QUEUE = Resource("kueue.x-k8s.io/v1beta2", "LocalQueue", "localqueues")
WORKLOAD = Resource("kueue.x-k8s.io/v1beta2", "Workload", "workloads")
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Label that puts a RayJob or a pod into a LocalQueue of its namespace."""

OURS: dict[str, Resource] = {
    kind.kind: Resource(API_VERSION, kind.kind, kind.plural) for kind in KINDS
}
CHILDREN: tuple[Resource, ...] = (WORKFLOW, CRON_WORKFLOW, RAY_JOB, INFERENCE_SERVICE, HTTP_ROUTE)
TENANCY: tuple[Resource, ...] = (
    SERVICE_ACCOUNT, ROLE, ROLE_BINDING, RESOURCE_QUOTA, LIMIT_RANGE, NETWORK_POLICY, LOCAL_QUEUE,
)  # fmt: skip
"""What a Project makes of its namespace; checked with the Project, not watched."""
