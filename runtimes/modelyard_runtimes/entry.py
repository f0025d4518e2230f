"""What all runtimes start with: the configuration, the log, and how a run ends.

A run ends with one of two files beside each other in the store: record.json (exit status 0) or
failure.json (exit status 1); with neither where the store takes none (exit status 75). A run whose
record is there already is not run again; one that may succeed later is, and then the record counts.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn, TypeVar

from modelyard.api.artifacts import FAILURE, RECORD, Failure, run_key
from modelyard.api.identity import canonical_json
from modelyard.api.meta import Model
from modelyard.api.runtime import CONFIG_VARIABLE, UNTOLD_STATUS
from pydantic import ValidationError

from modelyard_runtimes.store import (
    DigestMismatch,
    Store,
    StoreError,
    StoreUnavailable,
    open_store,
)

if TYPE_CHECKING:  # a model server, which starts from here as well, needs none of the kinds
    from modelyard.api.runs import BatchConfig, DatasetConfig, TrainConfig

log = logging.getLogger("modelyard")

AnyConfig = TypeVar("AnyConfig", bound=Model)
RunConfig = TypeVar("RunConfig", "DatasetConfig", "TrainConfig", "BatchConfig")


class RunFailure(Exception):
    """Ends a run without a result; becomes failure.json.

    Attributes:
        reason: One CamelCase word, for example UnreadableSource.
        message: For a person, with the field's path and the next step; no values of the data.
        retryable: Whether the same run may succeed when tried again.
    """

    def __init__(self, reason: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retryable = retryable


class JsonLines(logging.Formatter):
    """Formats a log record as one line of JSON; `extra={"fields": {...}}` adds fields to it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_json_lines(level: int = logging.INFO) -> None:
    """Send the log to standard error, one JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def read_config(model: type[AnyConfig]) -> AnyConfig:
    """Return the configuration in MODELYARD_CONFIG, or exit with status 2 without one to use."""
    text = os.environ.get(CONFIG_VARIABLE)
    if text is None:
        _refuse(f"{CONFIG_VARIABLE} is not set; it holds the {model.__name__} as JSON")
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        _refuse(f"{CONFIG_VARIABLE} is not a {model.__name__}: {faults}")


def now() -> datetime:
    """Return the present time, in UTC."""
    return datetime.now(UTC)


def run(config_model: type[RunConfig], main: Callable[[RunConfig, Store], Model]) -> NoReturn:
    """Run `main` once for the configuration in MODELYARD_CONFIG, and exit.

    Args:
        config_model: DatasetConfig, TrainConfig or BatchConfig.
        main: Does the run and returns its record, which is then written last. It raises RunFailure
            to end without one.

    Raises:
        SystemExit: always; status 0 with a record, 1 with a failure, 2 without configuration,
            75 when the store takes neither.
    """
    log_json_lines()
    config = read_config(config_model)
    try:
        store = open_store(config.store)
    except StoreError as error:
        _refuse(f"store: {error}")
    folder = run_key(config.namespace, config.kind, config.name, config.identity)
    try:
        if store.exists(f"{folder}/{RECORD}"):
            log.info("the record of this run exists; nothing to do")
            sys.exit(0)
        record = main(config, store)
        store.write_record(f"{folder}/{RECORD}", canonical_json(record.to_json()))
    except Exception as error:  # every end of a run is told
        failure = failure_of(error)
        sys.exit(tell(failure, store, folder))
    log.info("record written", extra={"fields": {"key": f"{folder}/{RECORD}"}})
    sys.exit(0)


def tell(failure: Failure, store: Store, folder: str) -> int:
    """Log a failure and write it as failure.json; return the exit status that tells of it.

    Args:
        failure: Why there is no result.
        store: The artifact store; it may be what failed.
        folder: Key of the folder that failure.json belongs into.
    """
    log.error(failure.message, extra={"fields": {"reason": failure.reason}})
    try:
        store.write_record(f"{folder}/{FAILURE}", canonical_json(failure.to_json()))
    except (StoreError, OSError) as error:
        log.error("failure.json could not be written: %s", error)  # noqa: TRY400 - all is said
        return UNTOLD_STATUS
    return 1


def failure_of(error: Exception) -> Failure:
    """Return what is told about an exception.

    The text of an unforeseen exception may quote values of the data, so it is not repeated.
    """
    if isinstance(error, RunFailure):
        return Failure(reason=error.reason, message=error.message, retryable=error.retryable)
    if isinstance(error, StoreUnavailable):
        message = f"spec.artifactStore of the Project: {error}"
        return Failure(reason="StoreUnavailable", message=message, retryable=True)
    if isinstance(error, DigestMismatch):
        return Failure(reason="DigestMismatch", message=str(error))
    if isinstance(error, StoreError | FileNotFoundError):
        return Failure(reason="StoreError", message=str(error))
    if isinstance(error, OSError):
        return Failure(reason="StoreUnavailable", message=str(error), retryable=True)
    log.error(
        "unforeseen %s at: %s",
        type(error).__name__,
        " > ".join(
            f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)
        ),
    )
    return Failure(
        reason="InternalError",
        message=f"unforeseen {type(error).__name__}; the log names the place in the code. "
        "This is a fault of Modelyard: report it with the log",
    )


def _refuse(message: str) -> NoReturn:
    """Exit with status 2: there is no store that a failure could be written to."""
    log.error(message)
    sys.exit(2)
