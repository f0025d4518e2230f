"""Counts that are promised of the monitor: `make soak` runs and prints them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest
from modelyard.api.monitor import Drift, DriftMetric, Threshold
from modelyard_runtimes.monitor.comparison import compare

pytestmark = pytest.mark.soak

MEBIBYTE = 1 << 20
EVENTS = 1_000_000
FEATURES = 100
NUMERIC = 80
LOOKS = 7 * 24 * 4
"""Looks of a week, one every 15 minutes, none of which sees a row of another."""

METRICS = get_args(DriftMetric)

LOOK = """
import resource, sys
from modelyard.api.runs import MonitorConfig
from modelyard_runtimes.monitor.look import look
from modelyard_runtimes.store import open_store

config = MonitorConfig.model_validate_json(sys.stdin.read())
look(config, open_store(config.store))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.parametrize("max_rows", [1000, EVENTS])
def test_a_look_at_a_million_events_stays_below_300_mib(watch: Any, max_rows: int) -> None:
    random = np.random.default_rng(1)
    names = [f"x{n}" for n in range(10)]
    watched = watch(
        dict.fromkeys(names, "Numeric"),
        {name: random.normal(size=50_000) for name in names},
        {"drift": {"window": {"maxRows": max_rows}, "metrics": list(METRICS)}},
    )
    for _ in range(100):
        values = random.normal(size=(EVENTS // 100, 10)).round(4).tolist()
        watched.log([dict(zip(names, row, strict=True)) for row in values])

    finished = subprocess.run(
        [sys.executable, "-c", LOOK],
        input=watched.config.model_dump_json(by_alias=True),
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )

    record = watched.record()
    resident = int(finished.stdout.splitlines()[-1]) / MEBIBYTE
    told = f"peak of a look at {max_rows} of {EVENTS} events: {resident:.0f} MiB"
    print(told)
    assert (record.rows, record.enough, record.detected) == (max_rows, True, False)
    assert resident < 300, told


@pytest.mark.parametrize(
    "drift",
    [
        Drift(),
        Drift(threshold=Threshold(ks=0, chi_squared=0)),
        Drift(threshold=Threshold(ks=0, chi_squared=0), correction="BenjaminiHochberg"),
    ],
    ids=["as shipped", "Holm alone", "Benjamini-Hochberg alone"],
)
def test_a_week_without_drift_alarms_in_at_most_one_look_in_a_hundred(drift: Drift) -> None:
    random = np.random.default_rng(2)
    names = [f"x{n}" for n in range(FEATURES)]
    types = {name: "Numeric" if n < NUMERIC else "Categorical" for n, name in enumerate(names)}

    def rows(count: int) -> dict[str, Any]:
        return {
            name: random.normal(size=count)
            if kind == "Numeric"
            else random.choice(["a", "b", "c"], count, p=[0.6, 0.3, 0.1])
            for name, kind in types.items()
        }

    alarms = 0
    for _ in range(LOOKS):
        found = compare(types, rows(2000), rows(1000), drift)
        alarms += any(finding.drifted for finding in found.values())

    told = f"{alarms} of {LOOKS} looks at {FEATURES} features alarmed without drift"
    print(told)
    assert alarms <= 0.01 * LOOKS, told
