"""Releases that cannot succeed: one clear error, a telling exit code, and the old revision still serving."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .load import Load, shown
from .sandbox import Sandbox, occupied, quickstart

pytestmark = pytest.mark.slow

PROJECT = "shop"
LIGHT = ("--rate=50", "--mix=60,20,20,0", "--websockets=5", "--event-streams=3", "--stream-life=3", "--versions=v1")

CRASHES = [sys.executable, "-c", "import sys; print('no database'); sys.exit(3)"]
NEVER_LISTENS = [sys.executable, "-c", "import time; time.sleep(600)"]
NO_SUCH_COMMAND = ["no-such-command-anywhere", "$$PORT"]


def release(sandbox: Sandbox, file: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    return sandbox.fairlead("up", "-d", "-f", str(file), "-p", PROJECT, "--engine", "process", check=check)


def pids(sandbox: Sandbox) -> set[int]:
    return {row["pid"] for row in sandbox.replicas(PROJECT, state="ready")}


def broken(port: int, command: list[str]) -> dict[str, Any]:
    # Only of one that never listens the time is to run out, and not of one that this machine is slow to start.
    start_timeout = "3s" if command is NEVER_LISTENS else "60s"
    probes = {"readiness": {"http": "/health", "interval": "250ms"}, "start_timeout": start_timeout}
    return quickstart(port, replicas=2, command=command, **{"x-fairlead": {"probes": probes}})


@pytest.mark.parametrize(
    ("command", "said", "code"),
    [(CRASHES, "status 3", 5), (NEVER_LISTENS, "health", 5), (NO_SUCH_COMMAND, "no-such-command-anywhere", 8)],
    ids=["crashes", "never-listens", "no-such-command"],
)
def test_the_old_revision_goes_on_serving(
    sandbox: Sandbox, port: int, url: str, command: list[str], said: str, code: int
) -> None:
    release(sandbox, sandbox.write({"api": quickstart(port, replicas=2)}))
    before = pids(sandbox)
    with Load(url, *LIGHT) as load:
        failed = release(sandbox, sandbox.write({"api": broken(port, command)}), check=False)
        load.wait_until_flowing(50)
    assert failed.returncode == code, failed.stdout + failed.stderr
    assert said in failed.stderr
    assert failed.stderr.lower().count("error:") == 1, failed.stderr
    assert "Traceback" not in failed.stderr
    assert load.report["failed"] == 0, shown(load.report)
    assert pids(sandbox) == before
    sandbox.wait_for(lambda: len(sandbox.replicas(PROJECT)) == 2, "the failed replicas to be cleared away")


def test_a_first_release_is_gated_too(sandbox: Sandbox, port: int) -> None:
    failed = release(sandbox, sandbox.write({"api": broken(port, CRASHES)}), check=False)
    assert failed.returncode == 5, failed.stdout + failed.stderr
    assert "status 3" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_taken_port_is_refused_by_the_name_of_its_owner(sandbox: Sandbox, port: int) -> None:
    file = sandbox.write({"api": quickstart(port, replicas=1)})
    with occupied(port):
        failed = release(sandbox, file, check=False)
    assert failed.returncode != 0
    assert str(port) in failed.stderr
    assert str(os.getpid()) in failed.stderr, "it says which process has the port"
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services:\n  api: [unclosed\n", "compose.yaml:"),
        ("services:\n  api:\n    comand: x\n", "command"),
        ("services:\n  api:\n    command: x\n    image: ${NOT_SET_ANYWHERE:?set it}\n", "set it"),
    ],
    ids=["broken-yaml", "unknown-key", "missing-variable"],
)
def test_a_wrong_file_is_refused_before_anything_starts(sandbox: Sandbox, text: str, said: str) -> None:
    file = sandbox.directory / "compose.yaml"
    file.write_text(text)
    failed = release(sandbox, file, check=False)
    assert failed.returncode == 3, failed.stdout + failed.stderr
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
    assert sandbox.processes() == []


def test_a_release_that_dies_soon_after_is_taken_back(sandbox: Sandbox, port: int, url: str) -> None:
    release(sandbox, sandbox.write({"api": quickstart(port, replicas=2)}))
    (original,) = {row["revision"] for row in sandbox.replicas(PROJECT)}
    dies_later = """
import os, sys, threading, time, uvicorn
def die():
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.05)
    os._exit(7)
threading.Thread(target=die, daemon=True).start()
uvicorn.run("app:app", port=int(os.environ["PORT"]), log_level="warning")
"""
    now = sandbox.directory / "now"
    changed = quickstart(port, replicas=2, version="v2", command=[sys.executable, "-c", dies_later, str(now)])
    release(sandbox, sandbox.write({"api": changed}))
    now.touch()

    def taken_back() -> bool:
        newest = sandbox.json("history", "-p", PROJECT)[0]
        return bool(newest["number"] == 2 and newest["state"] == "rolled-back")

    sandbox.wait_for(taken_back, "release 2 to be taken back")
    sandbox.wait_for(lambda: len(sandbox.replicas(PROJECT, state="ready")) == 2, "two replicas")
    assert {row["revision"] for row in sandbox.replicas(PROJECT, state="ready")} == {original}
    assert "status 7" in sandbox.fairlead("history", "-p", PROJECT).stdout
    with Load(url, "--rate=50", "--versions=v1") as load:
        load.wait_until_flowing(50)
    assert load.report["failed"] == 0, shown(load.report)
