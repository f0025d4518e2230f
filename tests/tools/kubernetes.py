"""Prints the paths of `etcd`, `kube-apiserver` and `kube-controller-manager`.

They are built once with Go into a cache outside of the checkout.

Exits 77, saying so, where they are not built and Go is not there to build them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from go_binary import path_of

KUBERNETES = "v1.36.3"
ETCD = "v3.6.8"
GO_FLAGS = "-trimpath -mod=mod -buildvcs=false"
NO_GO = 77
STAMP = "k8s.io/component-base/version"


class Binary(NamedTuple):
    """A command of a Go module, and what makes a go.mod that can build it."""

    name: str
    version: str
    module: str
    package: str
    link_flags: str
    replacements: Callable[[dict[str, str]], list[str]]


def main() -> None:
    for binary in BINARIES:
        path = path_of(f"{binary.name}-{binary.version}")
        if not path.exists():
            if shutil.which("go") is None:
                print(f"{path} is not built and Go is not installed to build it", file=sys.stderr)
                sys.exit(NO_GO)
            build(binary, path)
        print(path)


def build(binary: Binary, path: Path) -> None:
    """Build in a module of our own and move the result into place at once.

    kube-apiserver takes about six minutes on two idle cores, kube-controller-manager after it one
    more, and each of them seconds once Go's cache is warm.
    """
    print(f"building {binary.name} {binary.version}", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="building-") as folder:
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": GO_FLAGS}
        lines = ["module tools", "go 1.26.0", f"require {binary.module} {binary.version}"]
        lines += binary.replacements(environment)
        Path(folder, "go.mod").write_text("\n".join(lines))
        Path(folder, "tools.go").write_text(f'package tools\n\nimport _ "{binary.package}"\n')
        run(["go", "mod", "tidy"], environment, folder)
        command = ["nice", "-n", "10", "go", "build", "-ldflags", f"-s -w {binary.link_flags}"]
        run([*command, "-o", "built", binary.package], environment, folder)
        Path(folder, "built").replace(path)


def published_staging(environment: dict[str, str]) -> list[str]:
    """Return replacements of the modules that Kubernetes builds from its own tree.

    Its go.mod asks for v0.0.0 of each; they are published as v0.X.Y beside v1.X.Y.
    """
    module = f"k8s.io/kubernetes@{KUBERNETES}"
    found = json.loads(run(["go", "mod", "download", "-json", module], environment, "/"))
    staged = re.findall(r"^\s(k8s\.io/\S+) v0\.0\.0$", Path(found["GoMod"]).read_text(), re.M)
    return [f"replace {name} => {name} v0{KUBERNETES.removeprefix('v1')}" for name in staged]


def run(command: list[str], environment: dict[str, str], folder: str) -> str:
    """Return what a command prints; end the program with its complaint when it fails."""
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return done.stdout


def of_kubernetes(name: str) -> Binary:
    """Return a command of Kubernetes itself, which says which version it is."""
    minor = KUBERNETES.split(".")[1]
    stamps = {"gitVersion": KUBERNETES, "gitMajor": "1", "gitMinor": minor}
    flags = " ".join(f"-X {STAMP}.{key}={value}" for key, value in stamps.items())
    package = f"k8s.io/kubernetes/cmd/{name}"
    return Binary(name, KUBERNETES, "k8s.io/kubernetes", package, flags, published_staging)


BINARIES = (
    Binary(
        "etcd",
        ETCD,
        "go.etcd.io/etcd/server/v3",
        "go.etcd.io/etcd/server/v3",
        "",
        lambda environment: [],
    ),
    of_kubernetes("kube-apiserver"),
    of_kubernetes("kube-controller-manager"),
)

if __name__ == "__main__":
    main()
