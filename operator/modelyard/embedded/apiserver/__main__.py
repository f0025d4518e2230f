"""`python -m modelyard.embedded.apiserver`: run the server until SIGTERM."""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from modelyard.embedded.apiserver.server import FolderInUseError, Settings, serve
from modelyard.tls import shrink_read_buffers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server.

    Once it listens it prints one line of JSON with its `url` and the path of its `kubeconfig`.

    Returns:
        The exit status: 0 after SIGTERM, 1 if it could not start.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s"
    )
    settings = Settings(
        data_dir=options.data_dir.absolute(),
        port=options.port,
        history_limit=options.history_limit,
        event_lifetime=options.event_ttl,
        bookmark_interval=options.bookmark_interval,
    )
    shrink_read_buffers()
    try:
        asyncio.run(serve(settings, _announce))
    except (FolderInUseError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _announce(url: str, kubeconfig: Path) -> None:
    print(json.dumps({"url": url, "kubeconfig": str(kubeconfig)}), flush=True)


def _parser() -> argparse.ArgumentParser:
    defaults = Settings(Path())
    parser = argparse.ArgumentParser(
        prog="python -m modelyard.embedded.apiserver",
        description="A Kubernetes API server for one machine and one user.",
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="where everything is kept")
    parser.add_argument(
        "--port",
        type=int,
        default=defaults.port,
        help="TCP port on 127.0.0.1; 0: as before, or any free one",
    )
    parser.add_argument(
        "--history-limit",
        type=int,
        default=defaults.history_limit,
        help="changes that watches can look back on",
    )
    parser.add_argument(
        "--event-ttl", type=float, default=defaults.event_lifetime, help="seconds to keep events"
    )
    parser.add_argument(
        "--bookmark-interval",
        type=float,
        default=defaults.bookmark_interval,
        help="seconds between the bookmarks of a watch",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
