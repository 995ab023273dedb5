"""What the kernel says of a process: who it is, whether it lives, how it ended, who belongs to it.

A process is named by pid, start time and boot: a pid that was given to somebody else, or a machine that was
started again, is never mistaken for a replica.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One process for all time."""

    pid: int
    start_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """The part of ``/proc/<pid>/stat`` that is used here. ``status`` is the wait status of an ended process."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    cpu_ticks: int
    start_ticks: int
    resident_pages: int
    status: int


@cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def read_stat(pid: int) -> Stat | None:
    """None: there is no such process any more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    return Stat(
        pid=pid,
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        cpu_ticks=sum(int(ticks) for ticks in fields[11:15]),
        start_ticks=int(fields[19]),
        resident_pages=int(fields[21]),
        status=int(fields[49]),
    )


def open_process(identity: Identity) -> int | None:
    """A pidfd of exactly that process, living or ended and not yet reaped; None: it is gone."""
    if identity.boot_id != boot_id():
        return None
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    # The descriptor holds on to one process; only now is it safe to ask which one the number meant.
    stat = read_stat(identity.pid)
    if stat is None or stat.start_ticks != identity.start_ticks:
        os.close(pidfd)
        return None
    return pidfd


def has_ended(pidfd: int, wait_s: float = 0.0) -> bool:
    """Whether every thread of the process is gone, within ``wait_s`` (which blocks)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


def exit_code(identity: Identity) -> int | None:
    """The exit status of an ended process that its guard still holds, minus a signal's number; None: unknown.

    The kernel shows a status of 0 for a process that we may not inspect, hence the question who owns it.
    """
    try:
        owner = Path(f"/proc/{identity.pid}").stat().st_uid
    except FileNotFoundError:
        return None
    stat = read_stat(identity.pid)
    if stat is None or stat.start_ticks != identity.start_ticks or stat.state not in "ZX":
        return None
    if os.geteuid() not in (0, owner):
        return None
    return os.waitstatus_to_exitcode(stat.status)


def all_stats() -> Iterator[Stat]:
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    for pid in pids:
        stat = read_stat(pid)
        if stat is not None:
            yield stat


def carries(pid: int, variable: bytes) -> bool:
    """Whether ``NAME=value`` stood in the environment that ``pid`` was started with."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return variable in file.read().split(b"\0")
    except OSError:
        return False
