"""Access reviews: whoever holds the token may do everything."""

from modelyard.embedded.apiserver.errors import Object
from modelyard.embedded.apiserver.meta_schema import anything, rooted, struct
from modelyard.embedded.apiserver.resources import Resource

STORAGE = ""
"""Reviews are answered, never stored."""
USER = "admin"


def _review(group: str, plural: str, kind: str) -> Resource:
    schema = struct({"spec": anything("The question."), "status": anything("The answer.")}, kind)
    return Resource(
        group=group,
        version="v1",
        plural=plural,
        singular=kind.lower(),
        kind=kind,
        namespaced=False,
        schema=rooted(schema),
        storage=STORAGE,
        verbs=("create",),
    )


RESOURCES = (
    _review("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    _review("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    _review("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
)
_ANSWERS: dict[str, Object] = {
    "SelfSubjectAccessReview": {"allowed": True, "reason": "the token allows everything"},
    "SelfSubjectRulesReview": {
        "incomplete": False,
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    },
    "SelfSubjectReview": {"userInfo": {"username": USER, "groups": ["system:masters"]}},
}


def answer(resource: Resource, body: Object) -> Object:
    """The review with its answer in the status."""
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {"creationTimestamp": None},
        "spec": body.get("spec") or {},
        "status": _ANSWERS[resource.kind],
    }
