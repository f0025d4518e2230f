"""Many Experiments applied at once: the operator against a bare watch loop with the same writes."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

COUNT = 200
PEER = "bare loop"


def main(side: str) -> None:
    """Do the work of a side once, on an API server of its own."""
    from tests.plane.at_once import by_bare_loop, by_operator
    from tests.plane.running import open_site

    with tempfile.TemporaryDirectory() as folder, closing(open_site(Path(folder))) as site:
        if side == "modelyard":
            cost, _ = by_operator(site, COUNT)
        else:
            cost = by_bare_loop(site, COUNT)
    print(json.dumps(asdict(cost) | {"cpuSeconds": cost.worker}))


def equal(ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Check that both wrote the same."""
    theirs = peers[PEER]
    for what in ("children", "told", "events"):
        assert ours[what] == theirs[what] == COUNT, (ours, theirs)
    assert ours["shape"] == theirs["shape"], (ours, theirs)
    return (
        f"Both wrote {COUNT} children, statuses and Events, with the same fields. In the first run "
        f"the operator's API server took {ours['server']:.1f} CPU seconds, the other "
        f"{theirs['server']:.1f}."
    )


if __name__ == "__main__":
    main(sys.argv[1])
else:
    from frame import Goal, Row

    ROW = Row(
        title=f"{COUNT} Experiments at once",
        work=f"From `kubectl create` of {COUNT} Experiments until each has its child, its status "
        "and its Event, on an embedded API server. The bare loop watches Experiments and writes "
        "what the operator wrote for one of them, by the same client; it reads and decides "
        "nothing. CPU seconds are those of the operator and of the loop.",
        peers={PEER: []},
        goals=[Goal(PEER, 0.5)],
        check=equal,
        figures={"seconds": "seconds", "cpuSeconds": "CPU seconds"},
    )
