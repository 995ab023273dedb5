"""The processes of one replica, each as a person would know it: for `fairlead top`. Called by `engine`."""

from __future__ import annotations

import shlex

import psutil

from fairlead.engines.base import ReplicaProcess
from fairlead.engines.process.members import pids_of
from fairlead.engines.process.rundir import Launch, ProcessRecord

LONGEST_COMMAND = 4096


def processes(record: ProcessRecord, launch: Launch) -> tuple[ReplicaProcess, ...]:
    """Every process of the replica that lives, by pid; those that end meanwhile are left out."""
    found = (_described(pid) for pid in pids_of(record, launch))
    return tuple(process for process in found if process is not None)


def _described(pid: int) -> ReplicaProcess | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            times = process.cpu_times()
            return ReplicaProcess(
                pid=pid,
                parent=process.ppid(),
                user=process.username(),
                started_at_s=process.create_time(),
                cpu_s=times.user + times.system,
                memory_bytes=process.memory_info().rss,
                command=_command(process),
            )
    except psutil.NoSuchProcess:
        return None


def _command(process: psutil.Process) -> str:
    """What it was started as; the kernel's name for it where that cannot be read."""
    try:
        words = process.cmdline()
    except psutil.AccessDenied:
        words = []
    return shlex.join(words)[:LONGEST_COMMAND] or f"[{process.name()}]"
