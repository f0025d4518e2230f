"""Logs: text for people, or one JSON object a line; what is logged while reconciling says for whom.

Only Modelyard's own loggers go below INFO: at DEBUG the Kubernetes client logs whole answers, and
with them the data of Secrets.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from modelyard.api.resources import Key

LOGGER = logging.getLogger("modelyard.logs")
TEXT = "%(asctime)s %(levelname)s %(name)s: %(about)s%(message)s"
FORMATS = ("text", "json")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOOK_SECONDS = 2.0
"""How often the file is read that names the level."""

_CORRELATION: ContextVar[dict[str, str]] = ContextVar("correlation", default={})  # noqa: B039


def correlate(key: Key, revision: str) -> None:
    """Let whatever this task logs from now on tell the object, this reconcile and the commit."""
    found = {"key": f"{key.kind}/{key.namespace}/{key.name}", "reconcile": uuid4().hex[:12]}
    _CORRELATION.set(found | ({"revision": revision} if revision else {}))


class TextFormatter(logging.Formatter):
    """One line for people, that names the object it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text."""
        key = _CORRELATION.get().get("key")
        record.about = f"{key}: " if key else ""
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as JSON."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_CORRELATION.get(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure_logs(log_format: str, level: str) -> None:
    """Write logs to the standard error stream from now on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter(TEXT))
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    set_level(level)


def set_level(level: str) -> None:
    """Log from a level on."""
    own = logging.getLevelNamesMapping()[level]
    logging.getLogger().setLevel(max(own, logging.INFO))
    logging.getLogger("modelyard").setLevel(own)


@asynccontextmanager
async def following_level(path: Path | None) -> AsyncIterator[None]:
    """Log from the level on that a file names, as soon as it names another, while this lasts."""
    if path is None:
        yield
        return
    following = asyncio.create_task(_follow_level(path))
    try:
        yield
    finally:
        following.cancel()


async def _follow_level(path: Path) -> None:
    before = ""
    while True:
        named = _read(path)
        if named in LEVELS and named != before:
            # Told before it changes: afterwards it might not be logged any more.
            LOGGER.warning("logging from %s on, as %s says", named, path)
            set_level(named)
        elif named != before:
            LOGGER.warning("%s: %r is no level; write one of %s", path, named, ", ".join(LEVELS))
        before = named
        await asyncio.sleep(LOOK_SECONDS)


def _read(path: Path) -> str:
    """Return what the file names; nothing while it cannot be read."""
    try:
        return path.read_text(errors="replace").strip().upper()[:20]
    except OSError:
        return ""
