"""Objects and their history on SQLite.

Every write is one transaction that changes the object, appends to the history and advances the
revision. Watches read the same history, so that what a client is told and what is stored cannot
differ, and a restart loses neither.

WAL with `synchronous=NORMAL`: a committed transaction is in the operating system's hands before
it is acknowledged, so killing the process at any moment loses nothing. Only a crash of the
machine may take back the last commits, never corrupt the file; a laptop's plane prefers that to
an fsync on each write.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from modelyard.embedded.apiserver.errors import Object

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    uid TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
);
CREATE UNIQUE INDEX IF NOT EXISTS objects_by_uid ON objects (uid);
CREATE TABLE IF NOT EXISTS owners (
    dependent TEXT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (owner, dependent)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS owners_by_dependent ON owners (dependent);
CREATE TABLE IF NOT EXISTS history (
    revision INTEGER PRIMARY KEY, type TEXT NOT NULL,
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    body BLOB NOT NULL, previous BLOB
);
CREATE INDEX IF NOT EXISTS history_by_resource ON history (resource, revision);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counters VALUES ('revision', 1), ('compacted', 0);
"""
_COMPACTION_STEP = 100


@dataclass(frozen=True)
class Key:
    """Where an object is stored: `resource` is `plural` or `plural.group`, for all versions."""

    resource: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Change:
    """One step of history.

    Attributes:
        revision: The revision that this change created.
        type: `ADDED`, `MODIFIED` or `DELETED`.
        key: Which object changed.
        object: The object after the change; for a deletion its last state.
        previous: The object before the change, or None if it was not there.
    """

    revision: int
    type: str
    key: Key
    object: Object
    previous: Object | None


class Store:
    """The objects of one server. Not for use by several threads or processes at once."""

    def __init__(self, path: Path, history_limit: int) -> None:
        """Open or create the database.

        Args:
            path: The database file.
            history_limit: How many changes watches can look back on, at least.
        """
        self._database = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        self._database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-1000;"
        )
        self._database.executescript(_SCHEMA)
        self._history_limit = history_limit
        self._listeners: list[Callable[[Change], None]] = []
        self.revision = self._counter("revision")
        self.compacted = self._counter("compacted")

    def close(self) -> None:
        """Checkpoint and close the file."""
        self._database.close()

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Have `listener` called after each committed change."""
        self._listeners.append(listener)

    def get(self, key: Key) -> Object | None:
        """The object at `key`, or None."""
        row = self._database.execute(
            "SELECT body FROM objects WHERE resource=? AND namespace=? AND name=?",
            (key.resource, key.namespace, key.name),
        ).fetchone()
        return None if row is None else _load(row[0])

    def entries(self, resource: str, namespace: str | None = None) -> Iterator[tuple[Key, Object]]:
        """The objects of a resource in order of namespace and name."""
        query = "SELECT namespace, name, body FROM objects WHERE resource=?"
        arguments: tuple[str, ...] = (resource,)
        if namespace is not None:
            query += " AND namespace=?"
            arguments += (namespace,)
        rows = self._database.execute(query + " ORDER BY namespace, name", arguments).fetchall()
        return ((Key(resource, row[0], row[1]), _load(row[2])) for row in rows)

    def in_namespace(self, namespace: str) -> list[Key]:
        """The keys of all objects in a namespace."""
        rows = self._database.execute(
            "SELECT resource, namespace, name FROM objects WHERE namespace=?", (namespace,)
        )
        return [Key(*row) for row in rows]

    def find_uid(self, uid: str) -> tuple[Key, Object] | None:
        """The object with that uid, wherever it is."""
        row = self._database.execute(
            "SELECT resource, namespace, name, body FROM objects WHERE uid=?", (uid,)
        ).fetchone()
        return None if row is None else (Key(*row[:3]), _load(row[3]))

    def dependents(self, uid: str) -> list[Key]:
        """The keys of the objects that name `uid` as an owner."""
        rows = self._database.execute(
            "SELECT resource, namespace, name FROM objects JOIN owners ON dependent=uid"
            " WHERE owner=? ORDER BY resource, namespace, name",
            (uid,),
        )
        return [Key(*row) for row in rows]

    def with_owners(self) -> list[Key]:
        """The keys of all objects that name any owner."""
        rows = self._database.execute(
            "SELECT DISTINCT resource, namespace, name FROM objects JOIN owners ON dependent=uid"
        )
        return [Key(*row) for row in rows]

    def keys(self) -> list[Key]:
        """The keys of all objects."""
        return [
            Key(*row)
            for row in self._database.execute("SELECT resource, namespace, name FROM objects")
        ]

    def put(self, key: Key, body: Object) -> Object:
        """Create or replace the object at `key`, stamping its resourceVersion.

        Returns:
            The object as stored.
        """
        previous = self.get(key)
        kind = "ADDED" if previous is None else "MODIFIED"
        return self._commit(key, kind, body, previous)

    def delete(self, key: Key, body: Object) -> Object:
        """Remove the object at `key`; `body` is its last state, as watches are told.

        Returns:
            The last state with the revision of the deletion.
        """
        return self._commit(key, "DELETED", body, self.get(key))

    def changes(self, resource: str, after: int, limit: int = 500) -> list[Change]:
        """The history of a resource after a revision, oldest first."""
        rows = self._database.execute(
            "SELECT revision, type, namespace, name, body, previous FROM history"
            " WHERE resource=? AND revision>? ORDER BY revision LIMIT ?",
            (resource, after, limit),
        )
        return [
            Change(
                row[0],
                row[1],
                Key(resource, row[2], row[3]),
                _load(row[4]),
                None if row[5] is None else _load(row[5]),
            )
            for row in rows
        ]

    def undone(self, resource: str, revision: int) -> dict[Key, Object | None]:
        """What must be put back to see the resource as it was at `revision`.

        Returns:
            For each object that changed since, its state at that revision (None: not there).
        """
        rows = self._database.execute(
            "SELECT namespace, name, previous FROM history WHERE resource=? AND revision>?"
            " ORDER BY revision DESC",
            (resource, revision),
        )
        return {
            Key(resource, row[0], row[1]): None if row[2] is None else _load(row[2]) for row in rows
        }

    def _counter(self, name: str) -> int:
        row = self._database.execute("SELECT value FROM counters WHERE name=?", (name,)).fetchone()
        return int(row[0])

    def _commit(self, key: Key, kind: str, body: Object, previous: Object | None) -> Object:
        revision = self.revision + 1
        metadata = {**body["metadata"], "resourceVersion": str(revision)}
        stamped = {**body, "metadata": metadata}
        blob = orjson.dumps(stamped)
        with self._transaction() as database:
            if kind == "DELETED":
                self._remove_row(key, metadata["uid"])
            else:
                self._write_row(key, metadata, revision, blob)
            database.execute(
                "INSERT INTO history VALUES (?,?,?,?,?,?,?)",
                (
                    revision,
                    kind,
                    key.resource,
                    key.namespace,
                    key.name,
                    blob,
                    None if previous is None else orjson.dumps(previous),
                ),
            )
            database.execute("UPDATE counters SET value=? WHERE name='revision'", (revision,))
            compacted = self._compact(revision)
        self.revision, self.compacted = revision, compacted
        change = Change(revision, kind, key, stamped, previous)
        for listener in self._listeners:
            listener(change)
        return stamped

    def _write_row(self, key: Key, metadata: Object, revision: int, blob: bytes) -> None:
        self._database.execute(
            "INSERT INTO objects VALUES (?,?,?,?,?,?) ON CONFLICT (resource, namespace, name)"
            " DO UPDATE SET uid=excluded.uid, revision=excluded.revision, body=excluded.body",
            (key.resource, key.namespace, key.name, metadata["uid"], revision, blob),
        )
        self._database.execute("DELETE FROM owners WHERE dependent=?", (metadata["uid"],))
        self._database.executemany(
            "INSERT OR IGNORE INTO owners (dependent, owner) VALUES (?,?)",
            [(metadata["uid"], owner["uid"]) for owner in metadata.get("ownerReferences") or ()],
        )

    def _remove_row(self, key: Key, uid: str) -> None:
        self._database.execute(
            "DELETE FROM objects WHERE resource=? AND namespace=? AND name=?",
            (key.resource, key.namespace, key.name),
        )
        self._database.execute("DELETE FROM owners WHERE dependent=?", (uid,))

    def _compact(self, revision: int) -> int:
        floor = revision - self._history_limit
        if floor < self.compacted + _COMPACTION_STEP:
            return self.compacted
        self._database.execute("DELETE FROM history WHERE revision<=?", (floor,))
        self._database.execute("UPDATE counters SET value=? WHERE name='compacted'", (floor,))
        return floor

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            self._database.rollback()
            raise


def _load(blob: bytes) -> Object:
    loaded: Object = orjson.loads(blob)
    return loaded
