"""Prints the path of the `helm` binary, built once with Go; exits 1, saying why, where it cannot be."""

from __future__ import annotations

from pathlib import Path

from go_binary import built, go

VERSION = "v3.22.0"
KUBERNETES = "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36"
"""What `helm template` takes a cluster for; without it, one that is older than our chart allows."""


def build(folder: Path) -> Path:
    """Build it: about four CPU minutes with Go's cache cold."""
    flags = ("-trimpath", "-ldflags", f"-s -w {KUBERNETES}")
    go("install", *flags, f"helm.sh/helm/v3/cmd/helm@{VERSION}", cwd=folder, GOBIN=str(folder))
    return folder / "helm"


if __name__ == "__main__":
    print(built(f"helm-{VERSION}", build))
