"""Everything that belongs to one replica: found, and killed to the last process. Called by `engine`.

A replica's processes are those of its session and group, those in its cgroup, and those that carry its mark in
their environment: a child that made a session of its own to get away is still found.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Mapping, Sequence

from fairlead.engines.base import ReplicaStats
from fairlead.engines.process import cgroups
from fairlead.engines.process.procfs import PAGE_BYTES, TICKS_PER_S, Stat, all_stats, carries, read_stat
from fairlead.engines.process.rundir import Launch, ProcessRecord

KILL_TIMEOUT_S = 10.0
MARK = "FAIRLEAD_RUN"


def kill_all(record: ProcessRecord, launch: Launch, *, held: bool) -> bool:
    """SIGKILL to every process of the replica until none is left; False: one would not die in time.

    ``held``: the replica's own process lives or is kept by its guard. That keeps its pid, and so the ids of its
    session and group, from being anybody else's; without it they say nothing.
    """
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while True:
        cgroups.kill(launch.cgroups)
        left = _living(record, launch, held)
        if not left:
            return True
        for stat in left:
            _kill(stat)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)


def usage(replicas: Mapping[str, tuple[ProcessRecord, Launch]]) -> dict[str, ReplicaStats]:
    """CPU and resident memory of each replica's whole tree, from one pass over all processes."""
    stats, children = _everything()
    found = {}
    for replica_id, (record, launch) in replicas.items():
        mine = [stats[pid] for pid in _members(record, launch, stats, children)]
        cpu_s = cgroups.cpu_s(launch.cgroups)
        found[replica_id] = ReplicaStats(
            cpu_s=sum(stat.cpu_ticks for stat in mine) / TICKS_PER_S if cpu_s is None else cpu_s,
            memory_bytes=sum(stat.resident_pages for stat in mine) * PAGE_BYTES,
            memory_limit_bytes=launch.memory_limit_bytes,
            pids=len(mine),
        )
    return found


def pids_of(record: ProcessRecord, launch: Launch) -> list[int]:
    """The pids of the replica's whole tree, in order."""
    return _members(record, launch, *_everything())


def _everything() -> tuple[dict[int, Stat], dict[int, list[Stat]]]:
    """Every process of this machine by pid, and by the pid of its parent."""
    stats = {stat.pid: stat for stat in all_stats()}
    children: dict[int, list[Stat]] = {}
    for stat in stats.values():
        children.setdefault(stat.parent, []).append(stat)
    return stats, children


def _members(
    record: ProcessRecord, launch: Launch, stats: Mapping[int, Stat], children: Mapping[int, Sequence[Stat]]
) -> list[int]:
    grouped = cgroups.members(launch.cgroups) & stats.keys()
    return sorted(grouped | _tree(record, stats.values(), children))


def _tree(record: ProcessRecord, stats: Collection[Stat], children: Mapping[int, Sequence[Stat]]) -> set[int]:
    found = {stat.pid for stat in stats if record.pid in (stat.session, stat.group, stat.pid)}
    pending = list(found)
    while pending:
        for child in children.get(pending.pop(), ()):
            if child.pid not in found:
                found.add(child.pid)
                pending.append(child.pid)
    return found


def _living(record: ProcessRecord, launch: Launch, held: bool) -> list[Stat]:
    grouped = cgroups.members(launch.cgroups)
    mark = f"{MARK}={launch.environment[MARK]}".encode()
    return [
        stat
        for stat in all_stats()
        if stat.state not in "ZX"
        and ((held and record.pid in (stat.session, stat.group)) or stat.pid in grouped or carries(stat.pid, mark))
    ]


def _kill(stat: Stat) -> None:
    try:
        pidfd = os.pidfd_open(stat.pid)
    except ProcessLookupError:
        return
    try:
        now = read_stat(stat.pid)
        if now is not None and now.start_ticks == stat.start_ticks:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        os.close(pidfd)
