"""`python -m modelyard.embedded.supervisor --state-dir DIR` runs what DIR/processes.json lists."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from modelyard.embedded.supervisor.loop import AnotherSupervisor, Supervisor
from modelyard.embedded.supervisor.process import Layout, Process

ANOTHER_SUPERVISOR = 3
"""Exit status when the state directory has a supervisor already."""


def main() -> int:
    """Run the supervisor; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m modelyard.embedded.supervisor")
    parser.add_argument("--state-dir", type=Path, required=True)
    state_dir = parser.parse_args().state_dir.resolve()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    layout = Layout(state_dir)
    layout.prepare()
    listed = json.loads(layout.processes.read_text())
    try:
        Supervisor(layout, [Process.from_json(one) for one in listed]).run()
    except AnotherSupervisor as error:
        print(error, file=sys.stderr)
        return ANOTHER_SUPERVISOR
    return 0


if __name__ == "__main__":
    sys.exit(main())
