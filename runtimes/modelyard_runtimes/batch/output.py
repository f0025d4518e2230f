"""The folder that a run writes its files into; what goes wrong there names its field."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from modelyard.api.runs import BatchConfig

from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import StoreError, StoreUnavailable, open_store

OUTPUT_CREDENTIALS = "OUTPUT_AWS"
_ANOTHER = "choose a folder that can be made"
_ALLOW = "let the runtime write there, or choose another folder"
_REMEDIES = {
    errno.EEXIST: "a file lies where the folder would; choose another folder",
    errno.ENOTDIR: "a file lies where the folder would; choose another folder",
    errno.EISDIR: _ANOTHER,
    errno.ENOENT: _ANOTHER,
    errno.ENAMETOOLONG: _ANOTHER,
    errno.EACCES: _ALLOW,
    errno.EPERM: _ALLOW,
    errno.EROFS: _ALLOW,
}
"""What to do about an error that does not go away by itself."""


class Output:
    """The folder of one run: in the artifact store, or where it is declared."""

    def __init__(self, config: BatchConfig) -> None:
        """Open it.

        Raises:
            RunFailure: the declared place is none.
        """
        self._declared = config.batch.output.uri
        reach = config.output_store or config.store
        credentials = OUTPUT_CREDENTIALS if config.output_store else "AWS"
        with self._told():
            at_folder = reach.model_copy(update={"uri": config.output_uri})
            self._store = open_store(at_folder, os.environ, credentials)

    def exists(self, name: str) -> bool:
        """Return whether a file lies there.

        Raises:
            RunFailure: the declared place cannot be reached.
        """
        with self._told():
            return self._store.exists(name)

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, replacing what was there; durable on return.

        Raises:
            RunFailure: the declared place takes none.
        """
        with self._told():
            self._store.write_record(name, data)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn an error of the declared place into a failure that names its field."""
        try:
            yield
        except (StoreError, OSError) as error:
            if self._declared is None:  # the artifact store, which the Project declares
                raise
            field = f"spec.batch.output.uri ({self._declared})"
            raise _failure(field, error) from error


def _failure(field: str, error: StoreError | OSError) -> RunFailure:
    if isinstance(error, StoreError):
        message = f"{field}: {error}; see the connection that spec.batch.output.connectionRef names"
        retryable = isinstance(error, StoreUnavailable)
    else:
        known = _REMEDIES.get(error.errno or 0)
        remedy = known or "it is tried again; free space there, or mend the disk"
        message = f"{field}: not writable: {error.strerror or error}; {remedy}"
        retryable = known is None
    return RunFailure("UnwritableOutput", message, retryable=retryable)
