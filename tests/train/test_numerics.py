"""Numeric libraries are told to sum in one order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from modelyard_runtimes.train.numerics import fix_numerics, fixed_numerics, numerics

THREADS = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}
KERNELS = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param("flags\t\t: fpu sse2 avx avx2 fma\n", THREADS | KERNELS, id="AVX2"),
        pytest.param("flags\t\t: fpu sse2 avx\n", THREADS, id="older than AVX2"),
        pytest.param("Features\t: fp asimd\n", THREADS, id="Arm"),
        pytest.param(None, THREADS, id="no /proc"),
    ],
)
def test_kernels_are_fixed_where_the_processor_has_them(
    told: str | None, expected: set[str], tmp_path: Path
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if told is not None:
        cpuinfo.write_text(f"processor\t: 0\n{told}")
    assert set(numerics(cpuinfo)) == expected


def test_what_was_set_before_is_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with fixed_numerics():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_kernels_that_somebody_chose_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREADS | KERNELS:
        monkeypatch.setenv(name, "Nehalem")
    fix_numerics()
    assert {name: os.environ[name] for name in numerics()} == numerics()
    assert "Nehalem" not in [os.environ.get(name) for name in KERNELS]


@pytest.mark.skipif(not numerics().keys() >= KERNELS, reason="this processor has no AVX2")
def test_openblas_does_as_it_is_told() -> None:
    program = """
from modelyard_runtimes.train.numerics import fix_numerics
fix_numerics()
import json, numpy, scipy.linalg, threadpoolctl
print(json.dumps([[one["architecture"], one["num_threads"]]
    for one in threadpoolctl.threadpool_info() if one["internal_api"] == "openblas"]))
"""
    told = {**os.environ, "OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=told
    )
    assert json.loads(done.stdout) == [["Haswell", 1]] * 2
