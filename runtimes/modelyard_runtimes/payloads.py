"""The names of payload chunks: what the server writes and the monitor reads.

The payload folder of a Deployment holds chunks of JSON lines, `<start>-<writer>.jsonl`. The start
is UTC, so the newest chunk has the last name; the writer is unique to a process, so two processes
never share a chunk. A chunk takes lines for at most `OPEN_FOR` after its start and then never
changes. A line without its end is still being written, or its server was killed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

SUFFIX = ".jsonl"
OPEN_FOR = timedelta(seconds=60)

_START_FORMAT = "%Y%m%dT%H%M%S.%fZ"


def chunk_name(start: datetime, writer: str) -> str:
    """Return the name of a chunk.

    Args:
        start: When it was begun, in UTC.
        writer: Names the process, without a dash at its start.
    """
    return f"{start.strftime(_START_FORMAT)}-{writer}{SUFFIX}"


def chunk_writer(name: str) -> str:
    """Return the writer that the name of a chunk tells."""
    return name.removesuffix(SUFFIX).partition("-")[2]


def chunk_start(key: str) -> datetime | None:
    """Return when a chunk was begun; None when the key is not that of a chunk."""
    name = key.rsplit("/", 1)[-1]
    if not name.endswith(SUFFIX):
        return None
    try:
        return datetime.strptime(name.partition("-")[0], _START_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
