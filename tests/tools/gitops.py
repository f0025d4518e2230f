"""Prints the path of the sync engine of tests/tools/gitops, built once with Go.

Exits 1, saying why, where it is not built and cannot be. `--built` never builds.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from go_binary import built, go, path_of

SOURCES = Path(__file__).with_name("gitops")


def main() -> None:
    name = f"gitops-{fingerprint()}"
    if "--built" in sys.argv and not path_of(name).exists():
        sys.exit(f"{path_of(name)} is not built; `python {Path(__file__).name}` builds it")
    print(built(name, build))


def fingerprint() -> str:
    """Return a short digest of the sources: another program is another binary."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.glob("*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def build(folder: Path) -> Path:
    """Build it: about five CPU minutes with Go's cache cold."""
    output = folder / "gitops"
    go("build", "-trimpath", "-ldflags", "-s -w", "-o", str(output), ".", cwd=SOURCES)
    return output


if __name__ == "__main__":
    main()
