"""`python -m modelyard_runtimes.train`: the train runtime."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from modelyard_runtimes.train.numerics import fix_numerics


def _stop(number: int, frame: FrameType | None) -> None:
    """End promptly; the trial log holds all that ended, and the next start goes on from there."""
    del frame
    sys.exit(128 + number)


def main() -> None:
    """Run the search that MODELYARD_CONFIG describes."""
    # Numeric libraries read these when they are loaded.
    fix_numerics()
    from modelyard.api.runs import TrainConfig  # noqa: PLC0415

    from modelyard_runtimes.entry import run  # noqa: PLC0415
    from modelyard_runtimes.train.executor import start_forkserver  # noqa: PLC0415
    from modelyard_runtimes.train.run import in_ray_cluster, train  # noqa: PLC0415

    signal.signal(signal.SIGTERM, _stop)
    if not in_ray_cluster():
        start_forkserver()
    run(TrainConfig, train)


if __name__ == "__main__":
    main()
