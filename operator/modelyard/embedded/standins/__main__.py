"""`python -m modelyard.embedded.standins --kubeconfig PATH --state-dir DIR`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from modelyard.embedded.standins.containers import DEFAULT_MODULES
from modelyard.embedded.standins.run import run
from modelyard.tls import shrink_read_buffers


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stand-ins until SIGTERM or SIGINT, which also stop what they run."""
    parser = argparse.ArgumentParser(prog="python -m modelyard.embedded.standins")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument(
        "--allow-module",
        action="append",
        metavar="PATTERN",
        help="a module that containers may run, as a shell pattern; "
        f"may be repeated; {' '.join(DEFAULT_MODULES)} when not given",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    shrink_read_buffers()
    asyncio.run(_until_stopped(options))


async def _until_stopped(options: argparse.Namespace) -> None:
    task = asyncio.ensure_future(
        run(options.kubeconfig, options.state_dir, options.allow_module or DEFAULT_MODULES)
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    main()
