"""Logs: text for people, or one JSON object a line; what is logged while reconciling says for whom.

Only Modelyard's own loggers go below INFO: at DEBUG the Kubernetes client logs whole answers, and
with them the data of Secrets.
"""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from modelyard.api.resources import Key

TEXT = "%(asctime)s %(levelname)s %(name)s: %(about)s%(message)s"
FORMATS = ("text", "json")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

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
    own = logging.getLevelNamesMapping()[level]
    logging.basicConfig(level=max(own, logging.INFO), handlers=[handler], force=True)
    logging.getLogger("modelyard").setLevel(own)
    logging.getLogger("kopf").setLevel(logging.WARNING)
