"""Runs a command against a Kubernetes cluster with our images and a store of objects.

    python tests/tools/cluster.py COMMAND...

Where `$KUBECONFIG` names a cluster it is taken as it is, with the values for the chart in
`$MODELYARD_CLUSTER_VALUES` and the S3 endpoint in `$MODELYARD_CLUSTER_STORE`. Otherwise
`$MODELYARD_CLUSTER` (../shared/cluster) is a folder with the scripts of a one-node cluster: `up`,
`addons`, `image`, `down`. The one that runs is taken, else a new one is started and in the end
removed. It gets the images of this tree; `$MODELYARD_CLUSTER_BACKENDS` is the command that installs
the backends that it was built with. Without it, the command does not run, which is said and is no
failure.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from object_store import make_bucket, object_store

REPOSITORY = Path(__file__).resolve().parents[2]
BACKENDS = ("argo", "kserve", "kuberay")
BASE = "localhost/python:3.11"
SOURCES = {
    "operator": ("operator", "images", "pyproject.toml", "uv.lock"),
    "ray": ("operator/modelyard/api", "runtimes", "images", "pyproject.toml", "uv.lock"),
}
"""What each image is made of. The one with Ray runs all that the runtimes' image does."""
HOST = os.environ.get("CLUSTER_HOST_IP", "10.250.0.1")
"""This machine, as pods of the one-node cluster see it."""


def main() -> None:
    signal.signal(signal.SIGTERM, interrupt)
    with ExitStack() as stack:
        environment = {} if "KUBECONFIG" in os.environ else one_node(stack)
        if environment is None:
            print(f"skipped: {' '.join(sys.argv[1:])}", file=sys.stderr)
            return
        command = subprocess.run(sys.argv[1:], env={**os.environ, **environment}, check=False)
        sys.exit(command.returncode)


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Leave as Ctrl-C does, so that nothing keeps running."""
    raise KeyboardInterrupt


def one_node(stack: ExitStack) -> dict[str, str] | None:
    """Return where the one-node cluster, its values and its store are; None where it is not."""
    scripts = Path(os.environ.get("MODELYARD_CLUSTER") or REPOSITORY / "../shared/cluster")
    if not (scripts / "up").exists():
        print(f"no cluster: neither $KUBECONFIG nor {scripts}/up is there", file=sys.stderr)
        return None
    kubeconfig = stack.enter_context(running(scripts))
    tags = {name: provide(name, scripts, kubeconfig) for name in SOURCES}
    endpoint = stack.enter_context(object_store(HOST))
    make_bucket(endpoint, "models")  # for the pods
    values = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "values.yaml"
    values.write_text(yaml.safe_dump(chart_values(tags, endpoint)))
    return {
        "KUBECONFIG": kubeconfig,
        "MODELYARD_CLUSTER_BACKENDS": "; ".join(f"{scripts}/addons {name}" for name in BACKENDS),
        "MODELYARD_CLUSTER_VALUES": str(values),
        "MODELYARD_CLUSTER_STORE": endpoint,
    }


@contextmanager
def running(scripts: Path) -> Iterator[str]:
    """Yield the kubeconfig of the cluster that runs, else of a new one that is removed again."""
    home = os.environ.get("CLUSTER_HOME") or Path.home() / ".local/state/onenode"
    found = Path(home) / "run/pid/kube-apiserver"
    if found.exists() and Path("/proc", found.read_text().split()[0]).exists():
        yield started(scripts)
        return
    with tempfile.TemporaryDirectory(prefix="onenode-") as folder:
        os.environ["CLUSTER_HOME"] = folder  # for each of its scripts
        try:
            yield started(scripts)
        finally:
            subprocess.run([scripts / "down"], check=False)


def started(scripts: Path) -> str:
    """Start what does not run of the cluster; return its kubeconfig."""
    up = subprocess.run([scripts / "up"], stdout=subprocess.PIPE, text=True, check=False)
    if up.returncode:
        sys.exit(f"{scripts}/up failed; see what it says above")
    return up.stdout.split()[-1]


def provide(name: str, scripts: Path, kubeconfig: str) -> str:
    """Make an image of this tree where the cluster has none; return its tag."""
    tag = digest(*SOURCES[name])
    image = f"localhost/modelyard-{name}:{tag}"
    script = [str(scripts / "image")]
    if image in images_of_node(kubeconfig):
        return tag
    # Without a folder the cluster's script imports the image that it made before.
    if subprocess.run([*script, image], capture_output=True, check=False).returncode == 0:
        return tag
    assemble = [sys.executable, str(REPOSITORY / "images/assemble.py")]
    printed = subprocess.run([*assemble, name, "--settings"], capture_output=True, check=True)
    settings: dict[str, Any] = json.loads(printed.stdout)
    variables = [f"--env={key}={value}" for key, value in settings["environment"].items()]
    with tempfile.TemporaryDirectory() as layer:
        print(f"assembling {image}", file=sys.stderr)
        subprocess.run([*assemble, name, layer], check=True)
        Path(layer).chmod(0o755)
        options = ["--from", BASE, "--user", str(settings["user"]), *variables]
        subprocess.run([*script, *options, layer, image], check=True, stdout=sys.stderr)
    return tag


def images_of_node(kubeconfig: str) -> set[str]:
    """Return the names of the images that the node said it has."""
    command = [str(Path(sys.executable).with_name("kubectl")), "--kubeconfig", kubeconfig]
    command += ["get", "nodes", "-o", "jsonpath={.items[*].status.images[*].names[*]}"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return set(printed.split())


def digest(*sources: str) -> str:
    """Return a digest of the files below some paths of the repository."""
    found = hashlib.sha256()
    paths = [REPOSITORY / source for source in sources]
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    for file in sorted(files):
        if file.is_file() and file.suffix != ".pyc":
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            found.update(f"{file.relative_to(REPOSITORY)} {content}\n".encode())
    return found.hexdigest()[:12]


def chart_values(tags: dict[str, str], endpoint: str) -> dict[str, Any]:
    """Return values of the chart: the images as the cluster has them, the way to the store."""
    images = {
        name: {"registry": "localhost", "repository": f"modelyard-{name}", "tag": tag}
        for name, tag in tags.items()
    }
    port = int(endpoint.rpartition(":")[2])
    return {
        "image": images["operator"],
        "runtime": {"image": images["ray"], "rayImage": images["ray"]},
        # No Prometheus runs there: what KEDA would ask is looked at, and tests scale in its place.
        "autoscaling": {
            "prometheusUrl": "http://prometheus.invalid:9090",
            "idleRequestsQuery": 'sum(rate(seen{service="$service"}[1m]))',
        },
        "networkPolicy": {"extraEgress": [{"ports": [{"port": port, "protocol": "TCP"}]}]},
    }


if __name__ == "__main__":
    main()
