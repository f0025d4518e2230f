"""KS and PSI of 30 features, 100,000 rows against 100,000: ours against Evidently's report."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

ROWS, FEATURES = 100_000, 30
BINS, SMOOTHING = 10, 0.5


def samples() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return reference and window; a third of the features is shifted a little."""
    import numpy as np

    random = np.random.default_rng(7)
    names = [f"x{position}" for position in range(FEATURES)]
    reference = {name: random.normal(size=ROWS) for name in names}
    shifts = {name: 0.01 * (position % 3) for position, name in enumerate(names)}
    window = {name: random.normal(shift, 1, ROWS) for name, shift in shifts.items()}
    return reference, window


def modelyard() -> dict[str, Any]:
    """Compare as a look of a Monitor does."""
    from modelyard.api.monitor import Drift
    from modelyard_runtimes.monitor.comparison import compare

    reference, window = samples()
    drift = Drift(metrics=["KS", "PSI"])
    types = dict.fromkeys(reference, "Numeric")
    numbers, found = timed(lambda: compare(types, reference, window, drift))
    return {
        **numbers,
        "p": {name: finding.p_value for name, finding in found.items()},
        "psi": {name: finding.statistics["PSI"] for name, finding in found.items()},
    }


def evidently() -> dict[str, Any]:
    """Make Evidently's report of both statistics; PSI again by its definition in plain NumPy."""
    import warnings

    import numpy as np
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    warnings.simplefilter("ignore")
    reference, window = samples()
    definition = DataDefinition(numerical_columns=list(reference))
    before, now = (
        Dataset.from_pandas(pd.DataFrame(columns), data_definition=definition)
        for columns in (reference, window)
    )
    methods = ("ks", "psi")
    metrics = [ValueDrift(column=name, method=method) for method in methods for name in reference]
    numbers, report = timed(lambda: Report(metrics).run(now, before))
    values = [float(metric["value"]) for metric in report.dict()["metrics"]]

    def psi(name: str) -> float:
        edges = np.quantile(reference[name], np.linspace(0, 1, BINS + 1)[1:-1])
        counts = [
            np.append(np.bincount(np.searchsorted(edges, data, side="right")), 0) + SMOOTHING
            for data in (reference[name], window[name])
        ]
        q, p = (count / count.sum() for count in counts)
        return float(np.sum((p - q) * np.log(p / q)))

    return {
        **numbers,
        "p": dict(zip(reference, values[:FEATURES], strict=True)),
        "psi": {name: psi(name) for name in reference},
    }


def timed(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Return seconds of the wall and of the processors, and the result."""
    start, cpu = time.perf_counter(), time.process_time()
    found = work()
    return {
        "seconds": time.perf_counter() - start,
        "cpuSeconds": time.process_time() - cpu,
    }, found


def equal(ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Check that both say the same."""
    theirs = peers["evidently"]
    furthest = {
        what: max(abs(ours[what][name] - theirs[what][name]) for name in ours[what])
        for what in ("p", "psi")
    }
    assert max(furthest.values()) <= 1e-9, furthest
    return (
        f"p-values of KS equal Evidently's to {furthest['p']:.0e}; PSI equals plain NumPy over the "
        f"same bins to {furthest['psi']:.0e}."
    )


def main(side: str) -> None:
    """Do the work of a side once."""
    print(json.dumps({"modelyard": modelyard, "evidently": evidently}[side]()))


if __name__ == "__main__":
    main(sys.argv[1])
else:
    from frame import Goal, Row

    ROW = Row(
        title="Drift of 100,000 rows",
        work="KS and PSI of 30 numeric features, a window of 100,000 rows against a reference of "
        "100,000. Data are in memory and libraries are loaded before the clock starts. Evidently "
        "computes its PSI over equal widths, ours is over the reference's quantiles.",
        peers={"evidently": ["evidently==0.7.23", "pandas<3"]},
        goals=[Goal("evidently", 15)],
        check=equal,
        figures={"seconds": "seconds", "cpuSeconds": "CPU seconds"},
    )
