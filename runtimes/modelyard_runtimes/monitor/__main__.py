"""One look of a Monitor: `python -m modelyard_runtimes.monitor`, MonitorConfig in MODELYARD_CONFIG.

Writes latest.json, and exits 0; or failure.json, and exits 1.
"""

from __future__ import annotations

import sys

from modelyard.api.artifacts import monitor_key
from modelyard.api.runs import MonitorConfig

from modelyard_runtimes.entry import failure_of, log_json_lines, read_config, tell
from modelyard_runtimes.monitor.look import look
from modelyard_runtimes.store import StoreError, open_store


def main() -> None:
    """Look once and exit."""
    log_json_lines()
    config = read_config(MonitorConfig)
    try:
        store = open_store(config.store)
    except StoreError as error:
        sys.exit(f"store: {error}")
    try:
        look(config, store)
    except Exception as error:  # every end of a look is told
        folder = monitor_key(config.namespace, config.name)
        sys.exit(tell(failure_of(error), store, folder))


if __name__ == "__main__":
    main()
