"""The command line against scripted controls behind a real server on a real socket."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "api"))

from background import end_controllers
from serving import DEADLINE_S, Served

from fairlead.cli.main import command
from fairlead.settings import Settings

Invoke = Callable[..., Result]

COMPOSE = """\
name: shop
services:
  api:
    command: serve --port $PORT
    ports: ["8080:8000"]
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a path short enough for a socket in it, as one that has had a controller before."""
    with tempfile.TemporaryDirectory(prefix="fairlead-test-") as folder:
        Settings(home=Path(folder)).database_path.touch()
        yield Path(folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the Compose file of the project `shop` in it."""
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("COMPOSE_", "FAIRLEAD_"))]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def invoke(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run one command line in this process, in ``folder`` and with ``home``."""
    monkeypatch.setenv("FAIRLEAD_HOME", str(home))

    def call(*args: str, **options: str) -> Result:
        return CliRunner().invoke(command, args, prog_name="fairlead", **options)  # type: ignore[arg-type]

    return call


@pytest.fixture
def serve(home: Path) -> Iterator[Callable[..., Served]]:
    """Start the scripted server of this home."""
    servers: list[Served] = []

    def start(**script: object) -> Served:
        server = Served(Settings(home=home).socket_path, **script)
        server.__enter__()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture
def spawned(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `fairlead` as a process of its own, whose controllers follow a script; see drive.py."""
    processes: list[subprocess.Popen[str]] = []

    def start(
        *args: str, script: str = "SUCCESS", interval_s: float | str = 0.02, **options: object
    ) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
        environment |= {"FAIRLEAD_HOME": str(home), "SCRIPT": script, "INTERVAL_S": str(interval_s)}
        environment["TESTS_PID"] = str(os.getpid())
        environment |= options.pop("environment", {})  # type: ignore[arg-type]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "drive.py"), *args],
            env=environment,
            text=True,
            **(pipes | options),  # type: ignore[call-overload]
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=DEADLINE_S)
    end_controllers(home)
