"""Start the controller on demand, in the background, and wait until it answers.

Called by `cli.session` when a verb needs a controller and none runs. The controller gets a session of its own,
so that neither Ctrl-C nor the end of the terminal reaches it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from fairlead.api import unix
from fairlead.api.client import Client, ConnectionLostError, NotRunningError
from fairlead.errors import ControllerError, DeadlineError
from fairlead.settings import Settings

START_TIMEOUT_S = 20.0
_LOOK_INTERVAL_S = 0.05
_ANSWER_TIMEOUT_S = 5.0
_TAIL_LINES = 12
_TAIL_BYTES = 16384


def start_controller(settings: Settings) -> Client:
    """A client of the controller that this call, or another one at the same time, has started.

    :raises ControllerError: it ended at once, or does not answer within :data:`START_TIMEOUT_S`; with the end
        of its log.
    """
    settings.prepare()
    log_path = settings.log_path
    start_bytes = log_path.stat().st_size if log_path.exists() else 0
    process = _spawned(settings, log_path)
    client = Client(settings.socket_path, timeout_s=_ANSWER_TIMEOUT_S)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if _answers(client):
            return Client(settings.socket_path)
        # One that ended may have found another that is still on its way up: that one answers soon.
        if process.poll() is not None and not is_alive(settings):
            raise _failed(f"the controller ended at once (status {process.returncode})", log_path, start_bytes)
        time.sleep(_LOOK_INTERVAL_S)
    raise _failed(f"the controller does not answer after {START_TIMEOUT_S:.0f} s", log_path, start_bytes)


def is_alive(settings: Settings) -> bool:
    """Whether a controller of this home lives, be it that it answers yet, or no longer."""
    return unix.is_locked(settings.home / "controller.lock") or unix.is_claimed(settings.socket_path)


def _answers(client: Client) -> bool:
    try:
        client.status()
    except (NotRunningError, ConnectionLostError, DeadlineError):
        return False
    return True


def controller_command() -> list[str]:
    """The command that runs a controller in the foreground."""
    # -P: a file of the current folder must never be imported in place of a module.
    return [sys.executable, "-P", "-m", "fairlead", "controller", "run"]


def _spawned(settings: Settings, log_path: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"FAIRLEAD_HOME": str(settings.home)}
    with open(os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab") as log:
        process = subprocess.Popen(
            controller_command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=settings.home,
            env=environment,
            start_new_session=True,
        )
    # A command that stays attached would keep a controller that died meanwhile as a zombie.
    threading.Thread(target=process.wait, name="reap the controller", daemon=True).start()
    return process


def _failed(message: str, log_path: Path, start_bytes: int) -> ControllerError:
    tail = _tail(log_path, start_bytes)
    if tail:
        message += "; the end of its log:\n" + "\n".join(f"    {line}" for line in tail)
    return ControllerError(message, hint=f"its log is {log_path}; `fairlead controller run` shows it at work")


def _tail(log_path: Path, start_bytes: int) -> list[str]:
    """The last lines that were written after ``start_bytes``."""
    try:
        with log_path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(min(start_bytes, end), end - _TAIL_BYTES))
            return log.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        return []
