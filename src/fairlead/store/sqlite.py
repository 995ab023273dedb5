"""The store of a real controller: one SQLite file that only its owner may read.

Opened by the controller once it alone may run on this home. A commit is one transaction that checks the epoch
first and is on the disk when it returns: ``synchronous=FULL`` costs 0.2 ms here (4,300 commits/s), against
0.03 ms for ``NORMAL``, which may lose the newest intents to a power cut while their effects stay.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from fairlead.errors import StoreError, StoreFullError
from fairlead.store import documents as written
from fairlead.store.base import Commit, Document, Event, Intent, IntentState, Key, Severity
from fairlead.store.documents import Limits
from fairlead.store.migrations import SchemaError, migrate

_BUSY_TIMEOUT_S = 5.0
_ASIDE_LIMIT = 9
_DAMAGED = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})
_FULL = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"})
_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    # A burst may grow the log; it is cut back to this at the next checkpoint.
    f"PRAGMA journal_size_limit = {16 * 1024 * 1024}",
)

_INSERT_DOCUMENT = "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)"
_DELETE_DOCUMENT = "DELETE FROM documents WHERE kind = ? AND project = ? AND name = ?"
_INSERT_INTENT = "INSERT INTO intents (project, command, state, at_s, error) VALUES (?, ?, ?, ?, ?)"
_SETTLE_INTENT = "UPDATE intents SET state = ?, error = ? WHERE id = ?"
_INSERT_EVENT = """INSERT INTO events (project, kind, message, at_s, severity, service, replica_id, release, data)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_PRUNE_EVENTS = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?"
_PRUNE_INTENTS = "DELETE FROM intents WHERE id <= (SELECT max(id) FROM intents) - ? AND state <> 'intended'"


class SqliteStore:
    """Implements :class:`~fairlead.store.base.Store`. Any thread may call it; calls take turns."""

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.path = path
        self._limits = limits or Limits()
        self._added = 0
        self._turn = threading.Lock()
        with self._translated("open"):
            self._connection = _connect(path)

    @classmethod
    def open(cls, path: Path, limits: Limits | None = None) -> tuple[Self, tuple[str, ...]]:
        """The store at ``path``, and notices for a person where it could not be taken as it was.

        A damaged file is moved aside and an empty store takes its place: replicas carry their identity, so
        the controller finds them again, which beats never starting. Call it only while no other controller
        runs: one that still has the damaged file open would not see the new epoch.
        """
        try:
            return cls(path, limits), ()
        except StoreError as error:
            if not _is_damaged(error.__cause__):
                raise
            aside = _move_aside(path)
            notice = (
                f"the state file was damaged ({error.__cause__}) and is now {aside.name}; "
                "a new one was begun: running replicas are found again, earlier releases are not known"
            )
            return cls(path, limits), (notice,)

    def acquire(self, holder: str) -> int:
        with self._transaction("take the lease"):
            self._connection.execute("UPDATE lease SET epoch = epoch + 1, holder = ?", (holder,))
            self._prune()
            return self._epoch()

    def commit(self, epoch: int, commit: Commit) -> tuple[int, ...]:
        with self._transaction("commit"):
            newest = self._epoch()
            if epoch != newest:
                raise written.conflict(epoch, newest)
            run = self._connection.execute
            for key in commit.delete:
                run(_DELETE_DOCUMENT, written.columns(key))
            for key, document in commit.put.items():
                run(_INSERT_DOCUMENT, (*written.columns(key), written.encode(document)))
            for intent_id, error in commit.settled.items():
                self._settle(intent_id, error)
            for event in commit.events:
                run(_INSERT_EVENT, _event_row(event))
            ids = tuple(int(run(_INSERT_INTENT, _intent_row(intent)).lastrowid or 0) for intent in commit.intents)
            self._prune_when_due(len(commit.events) + len(commit.intents))
            return ids

    def documents(self, kind: str, project: str | None = None) -> Mapping[Key, Document]:
        rows = self._rows(
            """SELECT kind, project, name, body FROM documents
               WHERE kind = ?1 AND (?2 IS NULL OR project = ?2) ORDER BY kind, project, name""",
            (kind, project),
        )
        return {written.key_of(row[0], row[1], row[2]): written.decode(row[3]) for row in rows}

    def open_intents(self, project: str | None = None) -> tuple[Intent, ...]:
        rows = self._rows(
            """SELECT id, project, command, state, at_s, error FROM intents
               WHERE state = 'intended' AND (?1 IS NULL OR project = ?1) ORDER BY id""",
            (project,),
        )
        return tuple(_intent(row) for row in rows)

    def events(
        self, project: str | None = None, *, after: int = 0, limit: int = 1000, last: bool = False
    ) -> tuple[Event, ...]:
        where = "id > ?1" if project is None else "id > ?1 AND project = ?3"
        order = "DESC" if last else "ASC"
        rows = self._rows(
            # Only the two fixed texts above are put in; values are bound.
            f"""SELECT id, project, kind, message, at_s, severity, service, replica_id, release, data
                FROM events WHERE {where} ORDER BY id {order} LIMIT ?2""",  # noqa: S608
            (after, limit) if project is None else (after, limit, project),
        )
        return tuple(_event(row) for row in (reversed(rows) if last else rows))

    def close(self) -> None:
        with self._turn, self._translated("close"):
            self._connection.close()

    def _epoch(self) -> int:
        return int(self._connection.execute("SELECT epoch FROM lease").fetchone()[0])

    def _settle(self, intent_id: int, error: str) -> None:
        state = IntentState.FAILED if error else IntentState.DONE
        changed = self._connection.execute(_SETTLE_INTENT, (state.value, written.readable(error), intent_id))
        if changed.rowcount == 0:
            raise written.unknown_intent(intent_id)

    def _prune_when_due(self, added: int) -> None:
        self._added += added
        if self._added >= self._limits.slack:
            self._prune()

    def _prune(self) -> None:
        self._connection.execute(_PRUNE_EVENTS, (self._limits.events,))
        self._connection.execute(_PRUNE_INTENTS, (self._limits.intents,))
        self._added = 0

    def _rows(self, query: str, values: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]:
        with self._turn, self._translated("read"):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self, what: str) -> Iterator[None]:
        """All of the block or nothing; IMMEDIATE, so that the epoch read in it cannot change before it ends."""
        with self._turn, self._translated(what):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                # A full disk may have ended the transaction already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, SchemaError, OSError) as error:
            raise _translate(error, what, self.path) from error


def _connect(path: Path) -> sqlite3.Connection:
    """An open connection to the migrated file, which is made with mode 0600 where there is none."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        _sync_directory(path.parent)
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise _damaged(str(found))
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _damaged(finding: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(finding.splitlines()[-1])
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def _is_damaged(error: BaseException | None) -> bool:
    return _error_name(error) in _DAMAGED


def _error_name(error: BaseException | None) -> str:
    """SQLite's name of ``error``, the extended one where there is one (``SQLITE_IOERR_WRITE``)."""
    name = str(getattr(error, "sqlite_errorname", ""))
    return "SQLITE_CORRUPT" if name.startswith("SQLITE_CORRUPT") else name


def _move_aside(path: Path) -> Path:
    """Rename the file with its log and index; the oldest names are kept, the last one is used again."""
    names = [path.with_name(f"{path.name}.damaged-{number}") for number in range(1, _ASIDE_LIMIT + 1)]
    aside = next((name for name in names if not name.exists()), names[-1])
    for suffix in ("-wal", "-shm", ""):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.replace(aside.with_name(aside.name + suffix))
    return aside


def _translate(error: Exception, what: str, path: Path) -> StoreError:
    message = f"cannot {what}: {path}: {error}"
    name = _error_name(error)
    if name in _FULL or getattr(error, "errno", None) in _FULL_ERRNOS:
        return StoreFullError(
            message, hint=f"nothing was written; free some space for {path.parent}, or raise the quota"
        )
    if isinstance(error, SchemaError):
        return StoreError(message, hint="install that Fairlead, or point FAIRLEAD_HOME at another directory")
    if name in _DAMAGED:
        return StoreError(message, hint="restart the controller: it moves the damaged file aside and starts anew")
    if name in ("SQLITE_BUSY", "SQLITE_LOCKED"):
        return StoreError(message, hint=f"another process has locked the file: see `fuser {path}`")
    return StoreError(
        message, hint=f"check that {path} is a file, in a directory, and that this user may read and write both"
    )


def _intent_row(intent: Intent) -> tuple[Any, ...]:
    return (
        intent.project,
        written.encode(intent.command),
        intent.state.value,
        intent.at_s,
        written.readable(intent.error),
    )


def _intent(row: tuple[Any, ...]) -> Intent:
    return Intent(
        id=row[0],
        project=row[1],
        command=written.decode(row[2]),
        state=IntentState(row[3]),
        at_s=row[4],
        error=row[5],
    )


def _event_row(event: Event) -> tuple[Any, ...]:
    return (
        event.project,
        event.kind,
        written.readable(event.message),
        event.at_s,
        event.severity.value,
        event.service,
        event.replica_id,
        event.release,
        written.encode(event.data),
    )


def _event(row: tuple[Any, ...]) -> Event:
    return Event(
        id=row[0],
        project=row[1],
        kind=row[2],
        message=row[3],
        at_s=row[4],
        severity=Severity(row[5]),
        service=row[6],
        replica_id=row[7],
        release=row[8],
        data=written.decode(row[9]),
    )
