"""How a replica ended: read from the kernel, written to its run directory, and only then forgotten there.

Called by `engine` in a thread, once a pidfd has said that the process is gone, or that there is none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal

from fairlead.engines.process import cgroups
from fairlead.engines.process.members import kill_all
from fairlead.engines.process.procfs import boot_id, exit_code, has_ended, open_process
from fairlead.engines.process.rundir import ProcessRecord, RunDirectory
from fairlead.observed import Exit, ExitCause

OOM_CODES = (-signal.SIGKILL, 128 + signal.SIGKILL)
GUARD_TIMEOUT_S = 5.0
STOPPING = "stopping"
SIGNALLED = "signalled"

_log = logging.getLogger(__name__)


def settle(directory: RunDirectory, record: ProcessRecord) -> Exit:
    """Read how it ended, kill what is left of it, write the ending down, let the guard go: in this order.

    Killed between any two steps, the next caller finds everything again. Where the ending cannot be written
    (a full disk) the guard stays, and with it the kernel's own record, until the replica is removed.
    """
    code = exit_code(record.identity)
    known = directory.exit
    if known is not None:
        return known  # Another engine over the same home was faster: it writes, and lets the guard go after that.
    kill_all(record, directory.launch, held=code is not None)
    ended = _ending(directory, record, code)
    try:
        directory.record_exit(ended)
    except OSError as error:
        if directory.exists():
            _log.warning("%s: how it ended cannot be written: %s", directory.replica_id, error)
            return ended
    release_guard(record)
    return ended


def release_guard(record: ProcessRecord) -> None:
    """End the guard; whoever adopts the ended replica then collects it, and its pid is free again."""
    pidfd = open_process(record.guard_identity)
    if pidfd is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        has_ended(pidfd, GUARD_TIMEOUT_S)
        os.close(pidfd)


def _ending(directory: RunDirectory, record: ProcessRecord, code: int | None) -> Exit:
    if code is None:
        if record.boot_id != boot_id():
            return Exit(cause=ExitCause.GONE, detail="this machine was started again")
        return Exit(cause=ExitCause.GONE, detail="its guard was killed, so how it ended is unknown")
    by_us = directory.has(STOPPING) or directory.has(SIGNALLED)
    starved = cgroups.oom_kills(directory.launch.cgroups)
    if starved and code in OOM_CODES and not by_us:
        limit = directory.launch.memory_limit_bytes
        return Exit(cause=ExitCause.OOM, code=code, detail=f"its limit is {limit} bytes" if limit else "")
    detail = f"{starved} of its processes were killed: out of memory" if starved else ""
    cause = ExitCause.KILLED if code < 0 and not by_us else ExitCause.EXITED
    return Exit(cause=cause, code=code, detail=detail)
