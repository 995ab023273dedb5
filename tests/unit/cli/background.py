"""Processes that a command leaves in the background: whether they run, and their end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from serving import DEADLINE_S

from fairlead.api.client import Client
from fairlead.settings import Settings


def end_controller(home: Path) -> None:
    """Kill the controller that a command has started in the background."""
    client = Client(Settings(home=home).socket_path, timeout_s=DEADLINE_S)
    try:
        pid = client.status().pid
    except Exception:
        # None runs.
        return
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_running(pid), f"the end of the controller {pid}")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for(fact: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not fact():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
