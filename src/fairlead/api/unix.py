"""The unix socket: bound so that only its owner may open it, and claimed so that only one process serves on it.

Called by `api.server`, which binds, by `api.client`, which connects, and by `cli.spawn`, which waits.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairlead.errors import ControllerError


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A connected socket.

    :raises OSError: nobody listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def way_in(path: Path, mode: str) -> str:
    """The hint for somebody who may not open ``path``; ``mode``: what its owner should have."""
    try:
        own = path.stat().st_uid == os.geteuid()
    except OSError:
        own = False
    if own:
        return f"it is yours: chmod {mode} {path}"
    return "it belongs to another user; run the command as that user, or set FAIRLEAD_HOME"


def answers(path: Path) -> bool:
    """Whether a process accepts connections on the socket."""
    try:
        connect(path, timeout_s=5.0).close()
    except OSError:
        return False
    return True


def is_claimed(path: Path) -> bool:
    """Whether a process that lives has claimed ``path``, be it that it listens yet or not."""
    return is_locked(_lock_path(path))


def is_locked(path: Path) -> bool:
    """Whether a process that lives holds the lock on the file ``path``."""
    try:
        with open(path, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def listener(path: Path) -> Iterator[socket.socket]:
    """A socket bound to ``path`` while the block runs; what a dead process left there is taken away first.

    The claim on ``path`` is a lock that the kernel gives back with the process, so none is ever left behind.

    :raises ControllerError: another process serves there.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _served(path) from None
        if answers(path):
            raise _served(path)
        path.unlink(missing_ok=True)
        with _bound(path) as bound:
            try:
                yield bound
            finally:
                path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    """A bound socket that its owner alone may open (0600)."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mask, not a chmod afterwards: between bind and chmod another user could connect.
    previous = os.umask(0o177)
    try:
        bound.bind(str(path))
    except BaseException:
        bound.close()
        raise
    finally:
        os.umask(previous)
    return bound


def _served(path: Path) -> ControllerError:
    return ControllerError(
        f"another controller serves on {path}",
        hint="`fairlead controller status` shows it; set FAIRLEAD_HOME to run a second one beside it",
    )


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")
