"""What stands in a record beside the result: which code ran where, with which libraries."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from modelyard import api
from modelyard.api.records import Provenance

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that numeric libraries take their number of threads from."""


def provenance(
    started_at: datetime, source_revision: str, libraries: Iterable[str] = ()
) -> Provenance:
    """Return what stands in a record but not in the identity of its run.

    Args:
        started_at: When the run began.
        source_revision: Commit of the spec.
        libraries: Distributions whose versions are worth knowing, where installed.
    """
    return Provenance(
        code_version=_version("modelyard-runtimes"),
        code_digest=_code_digest(),
        source_revision=source_revision,
        started_at=started_at.isoformat(timespec="seconds"),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu_seconds=round(_cpu_seconds(), 3),
        environment={name: _version(name) for name in sorted(libraries) if _version(name)},
        platform=_platform(),
        threads={name: os.environ[name] for name in THREADS if name in os.environ},
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _code_digest() -> str:
    """Return a digest of the source files that may shape a result: the runtimes and the api."""
    whole = hashlib.sha256()
    for root in (Path(__file__).parent, Path(api.__path__[0])):
        for file in sorted(root.rglob("*.py")):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            whole.update(f"{file.relative_to(root).as_posix()}\0{content}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _platform() -> dict[str, str]:
    """Return what bytes may depend on beside libraries: kernels are chosen by the processor."""
    vectors = np.show_config(mode="dicts")["SIMD Extensions"]
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
        "libc": " ".join(platform.libc_ver()),
        "architecture": platform.machine(),
        "instructions": " ".join([*vectors["baseline"], *vectors["found"]]),
    }


def _cpu_seconds() -> float:
    """Return CPU seconds, user and system, of this process and of its children that ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
