"""Objects on disk: every acknowledged write survives ``kill -9``, and the database is never half written.

SQLite in WAL mode with one connection that writes. A commit runs on the event loop, because that was the fastest in
measurements: with ``synchronous=NORMAL`` a commit is a few ``write`` calls (20 µs for a 3 kB object), handing it to a
thread costs 160 µs, and only batches of ten or more would win that back. The checkpoint with its ``fsync`` does block,
so it runs in a worker thread on a second connection. NORMAL survives the death of the process. FULL also survives power
loss and costs one ``fsync`` (a quarter of a millisecond on an SSD) per write, on the loop.

Errors: ``StorageError`` and its subclasses. After each of them the transaction has been rolled back, the next write may
succeed, and reads were not affected.

    StorageError
     ├─ StorageFullError      retry, once there is space
     ├─ StorageReadOnlyError  user: the directory or the file system must become writable
     └─ StorageCorruptError   user: not a database of ours, or a damaged one
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import trio

FORMAT_VERSION: Final = 1
"""Written to ``PRAGMA user_version``; a database with another number is refused."""
APPLICATION_ID: Final = 0x62756275
CHECKPOINT_INTERVAL_SECONDS: Final = 2.0
CHECKPOINT_PAGES: Final = 1000
"""WAL pages (4 KiB each) after which the log is copied into the database; the default of SQLite."""

_SCHEMA = """
CREATE TABLE objects (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE revision (id INTEGER PRIMARY KEY CHECK (id = 0), value INTEGER NOT NULL);
INSERT INTO revision VALUES (0, 1);
"""
_UPSERT = (
    "INSERT INTO objects VALUES (?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, data = excluded.data"
)


class StorageError(Exception):
    """The disk refused; nothing was changed."""


class StorageFullError(StorageError):
    """No space left, or the database reached its size limit."""


class StorageReadOnlyError(StorageError):
    """The database file or its directory cannot be written."""


class StorageCorruptError(StorageError):
    """The file is not a database of ours, is damaged, or was written by another format version."""


class Durability(StrEnum):
    """The failures that an acknowledged write survives; the value is SQLite's ``synchronous`` setting."""

    PROCESS_DEATH = "NORMAL"
    POWER_LOSS = "FULL"


@dataclass(frozen=True, slots=True)
class Write:
    """One change in a transaction; ``data`` None deletes the key."""

    key: str
    revision: int
    data: bytes | None


class Storage:
    """The open database. Its methods are synchronous and run on the event loop; only ``keep_checkpointed`` waits."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self._connection = connection
        self._path = path
        self._revision = _read_revision(connection)
        self._pages_written = 0

    @classmethod
    def open(cls, path: Path | None, *, durability: Durability = Durability.PROCESS_DEATH) -> Storage:
        """Open or create the database file; None keeps everything in memory until ``close``.

        Raises:
            StorageError: the file cannot be created, read or written, or is not ours.
        """
        try:
            connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
            try:
                _prepare(connection, durability)
                return cls(connection, path)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise _storage_error(error, path) from error

    @property
    def revision(self) -> int:
        """The revision of the last committed write; each write raises it by at least one."""
        return self._revision

    def load(self) -> Iterator[tuple[str, int, bytes]]:
        """Every object as ``(key, revision, data)`` in key order."""
        yield from self._connection.execute("SELECT key, revision, data FROM objects ORDER BY key")

    def commit(self, writes: Sequence[Write]) -> None:
        """Make all of ``writes`` durable, or none.

        Raises:
            StorageError: nothing was changed.
        """
        execute = self._connection.execute
        last = max(write.revision for write in writes)
        try:
            execute("BEGIN IMMEDIATE")
            try:
                for write in writes:
                    if write.data is None:
                        execute("DELETE FROM objects WHERE key = ?", (write.key,))
                    else:
                        execute(_UPSERT, (write.key, write.revision, write.data))
                execute("UPDATE revision SET value = ?", (last,))
                execute("COMMIT")
            except sqlite3.Error:
                if self._connection.in_transaction:
                    execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _storage_error(error, self._path) from error
        self._revision = last
        self._pages_written += sum(2 + len(write.data or b"") // 4096 for write in writes)

    def rewrite(self, writes: Sequence[Write]) -> None:
        """Replace the data of stored objects that keep their revisions: all, or none.

        Raises:
            StorageError: nothing was changed.
        """
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(_UPSERT, [(write.key, write.revision, write.data) for write in writes])
        except sqlite3.Error as error:
            raise _storage_error(error, self._path) from error

    def setting(self, name: str) -> bytes | None:
        """A value that is not an API object, such as the token signing key."""
        row = self._connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def set_setting(self, name: str, value: bytes) -> None:
        """Store ``value`` under ``name``.

        Raises:
            StorageError: nothing was changed.
        """
        try:
            self._connection.execute(
                "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )
        except sqlite3.Error as error:
            raise _storage_error(error, self._path) from error

    async def keep_checkpointed(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Copy the write-ahead log into the database from time to time, in a thread, until cancelled.

        If a checkpoint fails (full disk), nothing is lost: the log stays, and the next checkpoint tries again.
        """
        task_status.started()
        if self._path is None:
            return
        limiter = trio.CapacityLimiter(1)
        while True:
            await trio.sleep(CHECKPOINT_INTERVAL_SECONDS)
            written = self._pages_written
            if written >= CHECKPOINT_PAGES and await trio.to_thread.run_sync(_checkpoint, self._path, limiter=limiter):
                self._pages_written -= written

    def close(self) -> None:
        """Release the file. Committed writes are already on disk; this only merges the log into the database."""
        self._connection.close()


def _prepare(connection: sqlite3.Connection, durability: Durability) -> None:
    execute = connection.execute
    application, version = (execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    fresh = not execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if not fresh and (application, version) != (APPLICATION_ID, FORMAT_VERSION):
        raise StorageCorruptError(
            f"the file is not a database of a local cluster, format {FORMAT_VERSION} (application id {application:#x},"
            f" format {version}); point the data directory elsewhere or remove it"
        )
    execute("PRAGMA journal_mode = WAL")
    execute(f"PRAGMA synchronous = {durability.value}")
    execute("PRAGMA wal_autocheckpoint = 0")
    execute("PRAGMA busy_timeout = 5000")
    if fresh:
        connection.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT_VERSION};{_SCHEMA} COMMIT;"
        )


def _read_revision(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT value FROM revision").fetchone()[0])


def _checkpoint(path: Path) -> bool:
    """Do a checkpoint; returns whether it succeeded. If not, the log is still there and still valid."""
    try:
        with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error:
        return False
    return True


def _storage_error(error: sqlite3.Error, path: Path | None) -> StorageError:
    where = f"{path}: " if path else ""
    match (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StorageFullError(f"{where}no space left for the write ({error}); free some disk space and try again")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return StorageReadOnlyError(f"{where}cannot be written ({error}); make the data directory writable")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StorageCorruptError(f"{where}damaged or not a database ({error}); restore it or remove it")
        case _:
            return StorageError(f"{where}the write failed ({error}); check the disk, and your quota on it")
