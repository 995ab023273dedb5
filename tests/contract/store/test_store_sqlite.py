"""What only the file can show: other processes, damage, a full disk, older and newer schemas."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fairlead.errors import StoreConflictError, StoreError
from fairlead.store.base import Commit, Event, Intent
from fairlead.store.migrations import MIGRATIONS, SchemaError, migrate
from fairlead.store.sqlite import SqliteStore

KEY = ("service", "shop", "web")

WRITER = """
import sys
from pathlib import Path
from fairlead.store.base import Commit, Event, Intent
from fairlead.store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
epoch = store.acquire("writer")
number = 0
while True:
    number += 1
    event = Event(project="shop", kind="test", message=str(number), at_s=0.0)
    intent = Intent(id=0, project="shop", command={"number": number})
    store.commit(epoch, Commit(put={("service", "shop", "web"): {"n": number}}, intents=[intent], events=[event]))
    print(number, flush=True)
"""

FULL_DISK = """
import resource
import sys
from pathlib import Path
from fairlead.errors import StoreFullError
from fairlead.store.base import Commit, Event
from fairlead.store.sqlite import SqliteStore

KEY = ("service", "shop", "web")
store = SqliteStore(Path(sys.argv[1]))
epoch = store.acquire("a")
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
written = 0
try:
    for number in range(1, 1000):
        event = Event(project="shop", kind="test", message="x" * 4000, at_s=0.0)
        store.commit(epoch, Commit(put={KEY: {"n": number}}, events=[event]))
        written = number
except StoreFullError as error:
    assert error.retryable and "cannot commit" in error.message and "free some space" in str(error.hint), error
assert 0 < written < 999, written
assert store.documents("service") == {KEY: {"n": written}}
assert len(store.events()) == written
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
store.commit(epoch, Commit(put={KEY: {"n": -1}}))
print(written)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def files(path: Path) -> set[str]:
    return {found.name for found in path.parent.iterdir()}


def test_the_state_survives_a_new_controller(path: Path) -> None:
    store = SqliteStore(path)
    epoch = store.acquire("a")
    store.commit(epoch, Commit(put={KEY: {"n": 1}}, intents=[Intent(id=0, project="shop", command={})]))
    store.close()
    again, notices = SqliteStore.open(path)
    assert notices == ()
    assert again.documents("service") == {KEY: {"n": 1}}
    assert [found.id for found in again.open_intents()] == [1]
    assert again.acquire("b") == epoch + 1
    again.close()


def test_only_the_owner_may_read_the_files(path: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore(path)
        store.commit(store.acquire("a"), Commit(put={KEY: {}}))
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((path.parent / name).stat().st_mode) for name in files(path)}
    store.close()
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_a_lease_taken_in_another_process_stops_this_one(path: Path) -> None:
    store = SqliteStore(path)
    epoch = store.acquire("a")
    other = SqliteStore(path)
    newer = other.acquire("b")
    with pytest.raises(StoreConflictError):
        store.commit(epoch, Commit(put={KEY: {}}))
    other.commit(newer, Commit(put={KEY: {"n": 2}}))
    assert store.documents("service") == {KEY: {"n": 2}}
    store.close()
    other.close()


def test_everything_committed_survives_kill_9(path: Path) -> None:
    """The writer says a number only after its commit returned; whatever was said must be there, and be whole."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 50:
                break
        writer.send_signal(signal.SIGKILL)
        said = [int(line) for line in writer.stdout.read().split()]
    finally:
        writer.kill()
        writer.wait(30)
        if writer.stdout is not None:
            writer.stdout.close()
    last = max([50, *said])
    store, notices = SqliteStore.open(path)
    assert notices == ()
    there = store.documents("service")[KEY]["n"]
    assert there >= last
    assert [int(found.message) for found in store.events()] == list(range(1, there + 1))
    assert [found.command["number"] for found in store.open_intents()] == list(range(1, there + 1))
    store.close()


def test_a_torn_log_loses_only_the_commit_it_tore(path: Path, tmp_path: Path) -> None:
    store = SqliteStore(path)
    epoch = store.acquire("a")
    store.commit(epoch, Commit(put={KEY: {"n": 1}}))
    whole = path.with_name("state.db-wal").stat().st_size
    store.commit(epoch, Commit(put={KEY: {"n": 2}}))
    torn = tmp_path / "torn"
    torn.mkdir()
    log = path.with_name("state.db-wal").read_bytes()
    (torn / "state.db").write_bytes(path.read_bytes())
    (torn / "state.db-wal").write_bytes(log[: whole + (len(log) - whole) // 2])
    store.close()
    found, notices = SqliteStore.open(torn / "state.db")
    assert notices == ()
    assert found.documents("service") == {KEY: {"n": 1}}
    found.close()


def test_a_full_disk_is_said_and_nothing_is_half_written(path: Path) -> None:
    """A limit on the size of files stands in for the full disk; lifting it is the retry that helps."""
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    again, notices = SqliteStore.open(path)
    assert notices == ()
    assert again.documents("service") == {KEY: {"n": -1}}
    assert len(again.events()) == int(ended.stdout)
    again.close()


def test_a_writer_that_holds_the_file_too_long_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairlead.store.sqlite._BUSY_TIMEOUT_S", 0.05)
    store = SqliteStore(path)
    epoch = store.acquire("a")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked") as caught:
        store.commit(epoch, Commit(put={KEY: {}}))
    assert caught.value.hint is not None
    assert "fuser" in caught.value.hint
    assert store.documents("service") == {}
    blocker.execute("ROLLBACK")
    blocker.close()
    store.commit(epoch, Commit(put={KEY: {}}))
    store.close()


def test_threads_take_turns(path: Path) -> None:
    store = SqliteStore(path)
    epoch = store.acquire("a")

    def write(name: str) -> None:
        for number in range(50):
            store.commit(epoch, Commit(put={("service", "shop", name): {"n": number}}))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [document["n"] for document in store.documents("service").values()] == [49] * 4
    store.close()


@pytest.mark.parametrize("damage", ["not a database", "torn page", "bad index"])
def test_a_damaged_file_is_moved_aside(path: Path, damage: str) -> None:
    store = SqliteStore(path)
    epoch = store.acquire("a")
    events = [Event(project="shop", kind="test", message="x" * 500, at_s=0.0)] * 500
    store.commit(epoch, Commit(put={KEY: {}}, events=events))
    store.close()
    body = bytearray(path.read_bytes())
    match damage:
        case "not a database":
            body[:] = b"this was never a database\n" * 500
        case "torn page":
            body[8192:] = bytes(len(body) - 8192)
        case "bad index":
            del body[len(body) // 2 :]
    path.write_bytes(body)

    with pytest.raises(StoreError) as caught:
        SqliteStore(path)
    assert caught.value.hint is not None
    assert "aside" in caught.value.hint

    found, (notice,) = SqliteStore.open(path)
    assert "state.db.damaged-1" in notice
    assert found.documents("service") == {}
    found.commit(found.acquire("b"), Commit(put={KEY: {"n": 1}}))
    found.close()
    assert (path.parent / "state.db.damaged-1").read_bytes() == bytes(body)
    again, notices = SqliteStore.open(path)
    assert (again.documents("service"), notices) == ({KEY: {"n": 1}}, ())
    again.close()


def test_the_number_of_files_moved_aside_is_bounded(path: Path) -> None:
    for _ in range(12):
        path.write_bytes(b"this was never a database\n" * 500)
        found, notices = SqliteStore.open(path)
        found.close()
        assert len(notices) == 1
    assert files(path) == {"state.db", *(f"state.db.damaged-{number}" for number in range(1, 10))}


@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
def test_every_older_schema_is_brought_forward(path: Path, version: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    if version:
        migrate(connection, MIGRATIONS[:version])
    connection.close()
    store, notices = SqliteStore.open(path)
    assert notices == ()
    store.commit(store.acquire("a"), Commit(put={KEY: {"n": 1}}))
    assert store.documents("service") == {KEY: {"n": 1}}
    store.close()


def test_a_migration_keeps_the_state_and_a_failing_one_changes_nothing(path: Path) -> None:
    store = SqliteStore(path)
    store.commit(store.acquire("a"), Commit(put={KEY: {"n": 1}}))
    store.close()
    connection = sqlite3.connect(path, isolation_level=None)
    broken = (*MIGRATIONS, ("ALTER TABLE documents ADD COLUMN note TEXT", "this is not SQL"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, broken)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    migrate(connection, (*MIGRATIONS, ("ALTER TABLE documents ADD COLUMN note TEXT",)))
    assert connection.execute("SELECT body, note FROM documents").fetchall() == [('{"n":1}', None)]
    with pytest.raises(SchemaError, match="newer Fairlead"):
        migrate(connection)
    connection.close()


def test_the_state_of_a_newer_fairlead_is_refused_untouched(path: Path) -> None:
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"newer Fairlead \(schema 99") as caught:
        SqliteStore.open(path)
    assert caught.value.hint is not None
    assert "FAIRLEAD_HOME" in caught.value.hint
    assert path.read_bytes() == before


def test_the_database_of_somebody_else_is_refused_untouched(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE customers (name TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="not one of Fairlead's"):
        SqliteStore.open(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]
    connection.close()


def test_a_file_that_cannot_be_opened_is_an_error_with_a_fix(tmp_path: Path) -> None:
    directory = tmp_path / "state.db"
    directory.mkdir()
    for path in (directory, tmp_path / "nowhere" / "state.db"):
        with pytest.raises(StoreError, match="cannot open") as caught:
            SqliteStore.open(path)
        assert caught.value.hint is not None
        assert "read and write" in caught.value.hint
