"""The port that runs replicas. Each adapter is a sibling of this file; `memory` is the fake shipped beside them.

Called by `controller` only. Adapters raise :class:`~fairlead.errors.EngineError` and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fairlead.capabilities import EngineCapabilities, KeySupport, Support
from fairlead.observed import CommandResult, Exit, ObservedReplica, ReplicaSpec
from fairlead.spec.model import Project
from fairlead.spec.revision import Revision

__all__ = [
    "CommandResult",
    "Engine",
    "EngineCapabilities",
    "EngineEvent",
    "EngineEventKind",
    "KeySupport",
    "LogLine",
    "ReplicaProcess",
    "ReplicaStats",
    "Report",
    "Support",
]

Report = Callable[[str], None]
"""Takes one line of progress (a build's step, a pull's layer); never raises."""


class EngineEventKind(StrEnum):
    STARTED = "started"
    EXITED = "exited"
    HEALTH = "health"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEvent:
    """Something happened: a reason to observe, never a fact to act on by itself."""

    kind: EngineEventKind
    replica_id: str
    exit: Exit | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStats:
    """``cpu_s``: CPU seconds used since the start. ``memory_bytes``: resident now."""

    cpu_s: float
    memory_bytes: int
    memory_limit_bytes: int | None = None
    pids: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaProcess:
    """One process of a replica, with its pid as the machine that runs it counts. ``cpu_s``: used since its start.

    None: the engine does not know. ``command``: program and arguments, as a person would read them.
    """

    pid: int
    parent: int | None = None
    user: str = ""
    started_at_s: float | None = None
    cpu_s: float | None = None
    memory_bytes: int | None = None
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """``stream``: stdout or stderr. ``time_s``: seconds since the epoch, when the line was read."""

    replica_id: str
    stream: str
    time_s: float
    text: str


class Engine(Protocol):
    """Runs replicas. Every method is idempotent by replica id and has a deadline of its own."""

    @property
    def capabilities(self) -> EngineCapabilities: ...

    async def observe(self, project: str) -> tuple[ObservedReplica, ...]:
        """Every replica of ``project`` that exists, sorted by id, ended ones included until removed."""
        ...

    async def projects(self) -> tuple[str, ...]:
        """The names of all projects that have a replica here, sorted."""
        ...

    async def recall(self, project: str) -> tuple[ReplicaSpec, ...]:
        """What the replicas of ``project`` were started from, where they carry it; for a store that was lost."""
        return ()

    async def start(self, replica: ReplicaSpec) -> None:
        """Start ``replica``; nothing happens if it runs. One that has ended is not started again.

        :raises StartFailedError: it cannot be started, and trying again will not help (no such command …).
        """
        ...

    async def signal(self, replica_id: str, signal: str) -> None:
        """Send a signal by its name (``SIGHUP``); nothing happens if the replica does not run."""
        ...

    async def stop(self, replica_id: str, grace_s: float, signal: str | None = None) -> None:
        """Ask it to end (``signal``, SIGTERM as a rule), wait ``grace_s``, then kill. Returns when it has ended."""
        ...

    async def remove(self, replica_id: str) -> None:
        """Forget an ended replica (its logs too); nothing happens if there is none."""
        ...

    def events(self) -> AsyncIterator[EngineEvent]:
        """Events of every project, pushed as they happen. Ends only when the engine is closed."""
        ...

    async def stats(self, replica_ids: Sequence[str]) -> Mapping[str, ReplicaStats]:
        """Usage of those replicas that run; the others are left out."""
        ...

    async def processes(self, replica_id: str) -> tuple[ReplicaProcess, ...]:
        """Every process of the replica, by pid; empty where it does not run or the engine cannot tell."""
        return ()

    def logs(self, replica_id: str, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[LogLine]:
        """The replica's output, oldest first; with ``follow`` it goes on until the replica is removed."""
        ...

    async def run(self, replica_id: str, argv: Sequence[str], timeout_s: float) -> CommandResult:
        """Run ``argv`` (or ``("CMD-SHELL", script)``) where the replica runs, with its environment."""
        ...

    async def close(self) -> None:
        """Let go of every watch and file; replicas go on running."""
        ...

    async def resolve(self, project: Project) -> Project:
        """``project`` with what is known here pinned (an image's digest), nothing changed anywhere.

        Called before a plan is shown. An engine with nothing to pin answers with the same value.
        """
        return project

    async def prepare(self, project: Project, report: Report) -> Project:
        """Make what replicas of ``project`` need before the first starts, and pin it.

        Builds and pulls images, makes networks and volumes that are missing; idempotent, removes nothing. The
        planner must plan the project that is returned: its images are content-addressed, so a rebuilt image is
        a new revision. An engine that needs none of this answers with the same value.

        :raises StartFailedError: an image cannot be built or pulled; nothing that runs has been touched.
        """
        return project

    async def check(self, project: str, revisions: Sequence[Revision]) -> None:
        """Find what could never start, before anything that runs is touched.

        :raises StartFailedError: no replica of one of ``revisions`` can start on this machine as it is now.
        """
        return

    async def cleanup(self, project: str, *, volumes: bool) -> None:
        """After the last replica of ``project`` is gone: remove its networks; its volumes only if ``volumes``.

        Nothing else of the project may be left running by Fairlead; what others still use stays.
        """
        return
