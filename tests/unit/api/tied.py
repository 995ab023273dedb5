"""A process that ends with the test run, also where that is killed and can clean up nothing.

Called by `scripted` and by the commands that start it in the background: those are nobody's children for long.
"""

from __future__ import annotations

import os
import select
import signal
import threading


def end_with(pid: int) -> None:
    """Kill this process as soon as ``pid`` has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGKILL)
        return

    def watch() -> None:
        select.select([pidfd], [], [])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end with the tests", daemon=True).start()
