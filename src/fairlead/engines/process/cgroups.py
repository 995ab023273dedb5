"""Limits, group kill and OOM counters through cgroups, where this user may make them.

Used by `engine`. Version 2 where its tree is writable (for root at its top, for others below their own
``user@.service``), version 1 for each controller that only exists there. What cannot be had is said in
:attr:`Cgroups.missing`, never passed over.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.engines.process.limits import Limits

CONTROLLERS = ("memory", "cpu", "pids")
PERIOD_US = 100_000
OUR_NAME = "fairlead"
REMOVE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Setting:
    """One limit, as version 1 and version 2 spell it; ``new_value`` empty: the same value in both."""

    old_name: str
    new_name: str
    value: str
    new_value: str = ""

    def write(self, directory: Path, *, version_2: bool) -> None:
        if version_2:
            (directory / self.new_name).write_text(self.new_value or self.value, encoding="ascii")
        else:
            (directory / self.old_name).write_text(self.value, encoding="ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroups:
    """Where groups are made. ``unified``: the parent of every replica's group in the version 2 tree.

    ``parents``: the parent directory for each controller at hand. ``missing``: why one is not.
    """

    unified: Path | None = None
    parents: Mapping[str, Path] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def create(self, name: str, limits: Limits) -> tuple[str, ...]:
        """Make the groups of one replica with its limits; the directories, in a stable order.

        :raises OSError: the kernel refused one.
        """
        wanted = _settings(limits)
        directories = {self.unified / name} if self.unified is not None else set()
        directories |= {self.parents[key] / name for key in wanted if wanted[key] and key in self.parents}
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)
        for key, settings in wanted.items():
            if key in self.parents:
                for setting in settings:
                    setting.write(self.parents[key] / name, version_2=self.parents[key] == self.unified)
        return tuple(sorted(str(directory) for directory in directories))


def members(directories: Iterable[str]) -> set[int]:
    found: set[int] = set()
    for directory in directories:
        with contextlib.suppress(OSError):
            found |= {int(line) for line in Path(directory, "cgroup.procs").read_text(encoding="ascii").split()}
    return found


def kill(directories: Iterable[str]) -> None:
    """SIGKILL to everything inside, in one step where the kernel can (version 2)."""
    for directory in directories:
        try:
            Path(directory, "cgroup.kill").write_text("1", encoding="ascii")
        except OSError:
            for pid in members([directory]):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)


def oom_kills(directories: Iterable[str]) -> int:
    """How many processes inside the kernel has killed for want of memory."""
    count = 0
    for directory in directories:
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                for line in Path(directory, name).read_text(encoding="ascii").splitlines():
                    key, _, value = line.partition(" ")
                    count += int(value) if key == "oom_kill" else 0
    return count


def cpu_s(directories: Iterable[str]) -> float | None:
    """CPU seconds of everything that ever ran inside; None: version 1 keeps no such count for us."""
    for directory in directories:
        with contextlib.suppress(OSError):
            for line in Path(directory, "cpu.stat").read_text(encoding="ascii").splitlines():
                key, _, value = line.partition(" ")
                if key == "usage_usec":
                    return int(value) / 1e6
    return None


def remove(directories: Iterable[str]) -> None:
    """Take the groups away; a process that is just dying keeps its group busy for a moment."""
    deadline = time.monotonic() + REMOVE_TIMEOUT_S
    for directory in directories:
        while True:
            try:
                Path(directory).rmdir()
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.005)
            else:
                break


def detect() -> Cgroups:
    """What this user may do on this machine. Makes our own (empty) parent groups."""
    mounts = _mounts()
    own = _own_paths()
    unified, available = _detect_unified(mounts.get("cgroup2", []), own.get("", "/"))
    parents = {key: unified for key in available if unified is not None}
    missing: dict[str, str] = {}
    for key in CONTROLLERS:
        if key in parents:
            continue
        mount = next((Path(point) for point, options in mounts.get("cgroup", []) if key in options), None)
        parent = None if mount is None else _writable([mount / own.get(key, "/").lstrip("/"), mount])
        if parent is not None:
            parents[key] = parent
        else:
            missing[key] = _why(key, mounts)
    return Cgroups(unified=unified, parents=parents, missing=missing)


def _why(key: str, mounts: Mapping[str, list[tuple[str, set[str]]]]) -> str:
    if not mounts:
        return "no cgroups are mounted here"
    if os.geteuid() != 0:
        return f"the {key} controller is not delegated to this user (systemd: Delegate=yes for user@.service)"
    return f"the {key} controller cannot be used in this cgroup namespace"


def _mounts() -> dict[str, list[tuple[str, set[str]]]]:
    """Type of file system to its mount points, each with its options."""
    found: dict[str, list[tuple[str, set[str]]]] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            _, point, kind, options, *_ = line.split()
            if kind in ("cgroup", "cgroup2"):
                found.setdefault(kind, []).append((point, set(options.split(","))))
    return found


def _own_paths() -> dict[str, str]:
    """Controller to our own group's path; the key ``""`` stands for version 2."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, names, path = line.split(":", 2)
            for name in names.split(","):
                found[name] = path
    return found


def _detect_unified(mounts: list[tuple[str, set[str]]], own: str) -> tuple[Path | None, list[str]]:
    if not mounts:
        return None, []
    top = Path(mounts[0][0])
    uid = os.geteuid()
    candidates = [top / own.lstrip("/")]
    candidates.insert(0, top if uid == 0 else top / f"user.slice/user-{uid}.slice/user@{uid}.service")
    parent = _writable(candidates)
    if parent is None:
        return None, []
    for directory in (parent.parent, parent):
        for key in CONTROLLERS:
            with contextlib.suppress(OSError):
                (directory / "cgroup.subtree_control").write_text(f"+{key}", encoding="ascii")
    with contextlib.suppress(OSError):
        enabled = (parent / "cgroup.subtree_control").read_text(encoding="ascii").split()
        return parent, [key for key in CONTROLLERS if key in enabled]
    return parent, []


def _writable(candidates: Iterable[Path]) -> Path | None:
    """Our own group below the first candidate where one can be made and processes may be moved into it."""
    for candidate in candidates:
        directory = candidate / OUR_NAME
        try:
            directory.mkdir(exist_ok=True)
        except OSError:
            continue
        if os.access(directory / "cgroup.procs", os.W_OK) and os.access(directory, os.W_OK):
            return directory
    return None


def _settings(limits: Limits) -> dict[str, list[Setting]]:
    """What to write, for each controller."""
    memory, cpu, pids = [], [], []
    if limits.memory_bytes is not None:
        memory.append(Setting("memory.limit_in_bytes", "memory.max", str(limits.memory_bytes)))
    if limits.memory_low_bytes is not None:
        memory.append(Setting("memory.soft_limit_in_bytes", "memory.low", str(limits.memory_low_bytes)))
    if limits.cpus is not None:
        quota = str(max(int(limits.cpus * PERIOD_US), 1000))
        cpu.append(Setting("cpu.cfs_quota_us", "cpu.max", quota, f"{quota} {PERIOD_US}"))
    if limits.cpu_shares is not None:
        weight = min(max(1 + (limits.cpu_shares - 2) * 9999 // 262142, 1), 10_000)
        cpu.append(Setting("cpu.shares", "cpu.weight", str(limits.cpu_shares), str(weight)))
    if limits.pids is not None:
        pids.append(Setting("pids.max", "pids.max", str(limits.pids)))
    return {"memory": memory, "cpu": cpu, "pids": pids}
