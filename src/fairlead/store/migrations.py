"""The schema of the state file, as the steps that lead to it.

Called by `sqlite` when it opens a file. ``PRAGMA user_version`` counts the steps taken; a step is never edited
once it has been released, the next one is appended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

APPLICATION_ID = 0x464C4541
"""``FLEA`` in the file's header: this SQLite file is Fairlead's, not somebody else's."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE lease (
            only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
            epoch INTEGER NOT NULL,
            holder TEXT NOT NULL
        ) STRICT""",
        "INSERT INTO lease VALUES (1, 0, '')",
        """CREATE TABLE documents (
            kind TEXT NOT NULL,
            project TEXT NOT NULL,
            name TEXT NOT NULL,
            body TEXT NOT NULL,
            PRIMARY KEY (kind, project, name)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE intents (
            id INTEGER PRIMARY KEY,
            project TEXT NOT NULL,
            command TEXT NOT NULL,
            state TEXT NOT NULL,
            at_s REAL NOT NULL,
            error TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX open_intents ON intents (id) WHERE state = 'intended'",
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY,
            project TEXT NOT NULL,
            kind TEXT NOT NULL,
            message TEXT NOT NULL,
            at_s REAL NOT NULL,
            severity TEXT NOT NULL,
            service TEXT,
            replica_id TEXT,
            release INTEGER,
            data TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX events_by_project ON events (project, id)",
    ),
)


class SchemaError(Exception):
    """The file cannot be brought to this schema: it is newer, or not ours."""


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Take every step that ``connection``'s file lacks, each in a transaction of its own.

    :raises SchemaError: nothing was changed.
    """
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = _checked_version(connection, len(migrations))
            if version == len(migrations):
                return
            for statement in migrations[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1:d}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _checked_version(connection: sqlite3.Connection, known: int) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if tables and application != APPLICATION_ID:
        raise SchemaError("it is a SQLite database, but not one of Fairlead's")
    if version > known:
        raise SchemaError(f"it was written by a newer Fairlead (schema {version}, this one knows {known})")
    return version
