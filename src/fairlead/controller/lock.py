"""One controller a home: a lock that the kernel lets go of when its holder dies, however it dies.

Used by the controller's entry point. The store's epoch is the second line: a controller that somehow lost the lock
can write nothing any more.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairlead.errors import ControllerError


@contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Hold the lock while the block runs; the file says who holds it.

    :raises ControllerError: somebody else holds it.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode(errors="replace").strip() or "unknown"
            raise ControllerError(
                f"a controller already runs in {path.parent} (pid {holder})",
                hint="`fairlead controller status` shows it; FAIRLEAD_HOME names another home",
            ) from None
        os.truncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)
