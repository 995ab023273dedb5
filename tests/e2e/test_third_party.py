"""An application that nobody here wrote: Datasette on a real SQLite file, released and rolled back under load."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from .load import Load, shown
from .sandbox import BIN, Sandbox

pytestmark = pytest.mark.slow

PROJECT = "facts"


@pytest.fixture
def database(sandbox: Sandbox) -> Path:
    path = sandbox.directory / "facts.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("create table facts (id integer primary key, text text)")
        connection.executemany("insert into facts (text) values (?)", [(f"fact {n}",) for n in range(500)])
        connection.commit()
    return path


def compose(sandbox: Sandbox, database: Path, port: int, page_size: int) -> Path:
    settings = ["--setting", "default_page_size", str(page_size)]
    service = {
        "command": [str(BIN / "datasette"), str(database), "--host", "127.0.0.1", "--port", "$$PORT", *settings],
        "ports": [f"127.0.0.1:{port}:8001"],
        "deploy": {"replicas": 2},
        "x-fairlead": {"probes": {"readiness": {"http": "/-/versions.json", "interval": "500ms"}}},
    }
    return sandbox.write({"web": service})


def test_datasette_is_released_and_rolled_back(sandbox: Sandbox, port: int, url: str, database: Path) -> None:
    def up(page_size: int) -> None:
        file = compose(sandbox, database, port, page_size)
        sandbox.fairlead("up", "-d", "-f", str(file), "-p", PROJECT, "--engine", "process")

    def answers(*contents: str) -> None:
        """Every answer has all of ``contents``, so all of them come from the revision that is meant."""
        for content in contents:
            with Load(page, "--app=any", "--rate=20", f"--contains={content}") as check:
                check.wait_until_flowing(20)
            assert check.report["failed"] == 0, shown(check.report)

    page = f"{url}/facts/facts.json?_shape=objects"
    up(10)
    with Load(page, "--app=any", "--rate=40", "--contains=fact 9") as load:
        answers('"next": "10"')
        up(25)
        answers('"next": "25"')
        sandbox.fairlead("rollback", "-p", PROJECT)
        answers('"next": "10"')
    assert load.report["failed"] == 0, shown(load.report)
    assert len(sandbox.replicas(PROJECT, state="ready")) == 2
