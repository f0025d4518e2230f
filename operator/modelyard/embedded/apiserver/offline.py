"""Changes what is stored while no server runs."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from modelyard.embedded.apiserver.errors import Object
from modelyard.embedded.apiserver.server import Settings, locked, open_store


def amend(data_dir: Path, resource: str, change: Callable[[Object], Object | None]) -> None:
    """Replace objects by what `change` makes of them; those stay of which it returns None.

    Watches that go on with the next server are told, as of any other change.

    Args:
        data_dir: Where the server keeps everything; nothing is there before its first start.
        resource: The objects, as `plural.group`.
        change: Returns an object as it should be.

    Raises:
        FolderInUseError: If a server runs on the data folder.
    """
    if not data_dir.is_dir():
        return
    with locked(data_dir), contextlib.closing(open_store(Settings(data_dir))) as store:
        for key, body in store.entries(resource):
            changed = change(body)
            if changed is not None:
                store.put(key, changed)
